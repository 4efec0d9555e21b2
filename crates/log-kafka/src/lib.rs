//! The log of the distributed edition: Apache Kafka through librdkafka, which no other crate links.
//!
//! - [`options`]: how Kafka is reached, and the client's settings that nobody may change;
//! - `producer`: writing in order;
//! - `member`, `lane`: reading as one of a group;
//! - `reader`: reading without a group;
//! - [`admin`]: topics and rights;
//! - `trouble`: what is wrong and what to do about it.
//!
//! Making a [`KafkaLog`] asks nothing of a broker: one that is away, or is set up wrongly, is an error of the calls that need it,
//! and no longer one when it has come back or was mended.

pub mod admin;
mod lane;
mod member;
mod oauth;
pub mod options;
mod producer;
mod reader;
mod record;
mod trouble;

pub use admin::{Finding, KafkaAdmin, Replication, Verdict};
use async_trait::async_trait;
use hearthline_contracts::topics;
use hearthline_eventing::{Log, LogError, LogRecord, Member, Outgoing, Watermarks};
use member::KafkaMember;
pub use options::{KafkaOptions, OptionsError, Sasl, Security, Tls};
use producer::Writer;
use reader::{At, Reader};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use trouble::{Troubles, lock};

/// The Kafka log. Cheap to clone.
#[derive(Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

struct Shared {
    options: KafkaOptions,
    troubles: Arc<Troubles>,
    writer: Mutex<Option<Arc<Writer>>>,
    reader: Mutex<Option<Arc<Reader>>>,
    /// Topics that were found to be as they must be.
    usable: Mutex<HashSet<&'static str>>,
    living: Living,
}

impl KafkaLog {
    /// Checks the options and connects with the first call that needs a broker.
    pub fn open(options: KafkaOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let living = Living(watch::channel(0).0.into());
        Ok(KafkaLog {
            shared: Arc::new(Shared {
                options,
                troubles: Arc::default(),
                writer: Mutex::default(),
                reader: Mutex::default(),
                usable: Mutex::default(),
                living,
            }),
        })
    }

    pub fn options(&self) -> &KafkaOptions {
        &self.shared.options
    }

    /// What is wrong with the connection, in words for operators; nothing while brokers answer.
    pub fn trouble(&self) -> Option<String> {
        self.shared.troubles.newest()
    }

    /// The first offset of a partition whose record is not older than a time (ms since 1970); its end where all are older.
    pub async fn since(&self, topic: &'static str, partition: u16, since_ms: i64) -> Result<i64, LogError> {
        self.reader(topic)?.since(At { topic, partition }, since_ms).await
    }

    /// Waits until members that were dropped have left their groups, but not longer than `patience`.
    pub async fn close(&self, patience: Duration) {
        *lock(&self.shared.writer) = None;
        *lock(&self.shared.reader) = None;
        let mut living = self.shared.living.0.subscribe();
        if tokio::time::timeout(patience, living.wait_for(|n| *n == 0)).await.is_err() {
            tracing::warn!("Kafka clients did not end in time; their groups will notice after the session's time-out");
        }
    }

    fn writer(&self) -> Result<Arc<Writer>, LogError> {
        let mut writer = lock(&self.shared.writer);
        match &*writer {
            Some(writer) => Ok(writer.clone()),
            None => Ok(writer.insert(Arc::new(Writer::new(&self.shared.options, self.shared.troubles.clone(), self.shared.living.clone())?)).clone()),
        }
    }

    fn discard(&self, failed: &Arc<Writer>) {
        let mut writer = lock(&self.shared.writer);
        if writer.as_ref().is_some_and(|w| Arc::ptr_eq(w, failed)) {
            *writer = None;
        }
    }

    fn reader(&self, topic: &'static str) -> Result<Arc<Reader>, LogError> {
        if topics::by_name(topic).is_none() {
            return Err(LogError::Unavailable(format!("{topic} is not in the topic catalogue")));
        }
        let mut reader = lock(&self.shared.reader);
        let made = || Arc::new(Reader::new(self.shared.options.clone(), self.shared.troubles.clone(), self.shared.living.clone()));
        Ok(reader.get_or_insert_with(made).clone())
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn publish(&self, topic: &'static str, records: Vec<Outgoing>) -> Result<(), LogError> {
        if !lock(&self.shared.usable).contains(topic) {
            self.reader(topic)?.usable(topic).await?;
            lock(&self.shared.usable).insert(topic);
        }
        let writer = self.writer()?;
        let written = writer.write(&self.shared.options.wire_topic(topic), records).await;
        if written.is_err() {
            // It may have been made anew.
            lock(&self.shared.usable).remove(topic);
            self.discard(&writer);
        }
        written
    }

    async fn last(&self, topic: &'static str, partition: u16) -> Result<Option<LogRecord>, LogError> {
        self.reader(topic)?.last(At { topic, partition }).await
    }

    async fn watermarks(&self, topic: &'static str, partition: u16) -> Result<Watermarks, LogError> {
        self.reader(topic)?.watermarks(At { topic, partition }).await
    }

    async fn read(&self, topic: &'static str, partition: u16, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
        self.reader(topic)?.read(At { topic, partition }, offset, max).await
    }

    async fn join(&self, group: &str, topics: &[&'static str]) -> Result<Box<dyn Member>, LogError> {
        let mut reader = None;
        for topic in topics {
            reader = Some(self.reader(topic)?);
        }
        let reader = reader.ok_or_else(|| LogError::Misconfigured(format!("group {group} subscribes to nothing")))?;
        let shared = &self.shared;
        let member = KafkaMember::join(shared.options.clone(), shared.troubles.clone(), reader, shared.living.clone(), group, topics).await?;
        Ok(Box::new(member))
    }
}

/// How many threads of this log are alive.
#[derive(Clone)]
pub(crate) struct Living(Arc<watch::Sender<usize>>);

/// Runs `work` on a thread of its own, with the log subscriber of the caller.
pub(crate) fn thread(name: &str, living: Living, work: impl FnOnce() + Send + 'static) {
    struct Ended(Living);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.0.send_modify(|n| *n -= 1);
        }
    }
    living.0.send_modify(|n| *n += 1);
    let ended = Ended(living);
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ended = ended;
        tracing::dispatcher::with_default(&dispatch, work);
    });
    // Whoever waits for the thread finds its channel closed.
    if let Err(error) = spawned {
        tracing::error!(%error, name, "a thread could not be started");
    }
}
