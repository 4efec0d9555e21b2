//! Writing: one producer, until the first record that it could not deliver.
//!
//! librdkafka keeps the order of a partition while it retries, but goes on behind a record that it has given up. So a
//! [`Writer`] is never used again after an error: what it still holds is purged, and the caller begins again from the first
//! record that it does not know to be written, with a new one.

use crate::options::KafkaOptions;
use crate::trouble::{Troubles, Voice, Whose, lock};
use hearthline_eventing::{LogError, Outgoing};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a producer that is to go may take to notice.
const POLL: Duration = Duration::from_millis(50);

/// One producer and the thread that serves its delivery reports.
pub(crate) struct Writer {
    producer: Arc<BaseProducer<Voice>>,
    discarded: Arc<AtomicBool>,
    troubles: Arc<Troubles>,
    stall: Duration,
}

impl Writer {
    pub(crate) fn new(options: &KafkaOptions, troubles: Arc<Troubles>, living: crate::Living) -> Result<Self, LogError> {
        let config = options.producer().map_err(misconfigured)?;
        let voice = Voice::new(Whose::Writer, troubles.clone(), options.token_file().map(ToOwned::to_owned));
        let producer: BaseProducer<Voice> = config.create_with_context(voice).map_err(|e| misconfigured(options.refused(e)))?;
        let (producer, discarded) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let serving = (producer.clone(), discarded.clone());
        crate::thread("kafka-producer", living, move || serve(serving.0, &serving.1));
        Ok(Writer { producer, discarded, troubles, stall: options.stall })
    }

    /// Returns when every record is acknowledged by all replicas in sync. After an error the writer must not be used again.
    pub(crate) async fn write(&self, topic: &str, records: Vec<Outgoing>) -> Result<(), LogError> {
        let batch = Arc::new(Batch::new(records.len()));
        let mut progress = Progress { outstanding: records.len(), since: Instant::now() };
        for record in &records {
            while !self.enqueue(topic, record, &batch)? {
                // The queue is full, perhaps of others' records.
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.judge(topic, &batch, &mut progress)?;
            }
        }
        while !self.judge(topic, &batch, &mut progress)? {
            // Time passes without a wake-up only where nothing is delivered.
            let _ = tokio::time::timeout(self.stall, batch.wake.notified()).await;
        }
        self.troubles.over(Whose::Writer);
        Ok(())
    }

    /// False where the queue is full.
    fn enqueue(&self, topic: &str, record: &Outgoing, batch: &Arc<Batch>) -> Result<bool, LogError> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value.as_ref()) });
        }
        let outgoing = BaseRecord::with_opaque_to(topic, batch.clone()).key(&record.key[..]).payload(record.payload.as_ref()).headers(headers);
        match self.producer.send(outgoing) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(self.troubles.failed(Whose::Writer, &error, topic)),
        }
    }

    /// True when all is delivered; an error where a record was given up, or where nothing moves.
    fn judge(&self, topic: &str, batch: &Batch, progress: &mut Progress) -> Result<bool, LogError> {
        if let Some((code, bytes)) = *lock(&batch.failed) {
            return Err(self.troubles.error(Whose::Writer, code, &format!("{topic}: a record of {bytes} bytes was not taken")));
        }
        let outstanding = batch.outstanding.load(Ordering::Acquire);
        if progress.outstanding != outstanding {
            *progress = Progress { outstanding, since: Instant::now() };
        } else if progress.since.elapsed() >= self.stall {
            let about = format!("{topic}: {outstanding} records wait and none was acknowledged for {} s", self.stall.as_secs_f32());
            return Err(self.troubles.error(Whose::Writer, RDKafkaErrorCode::OperationTimedOut, &about));
        }
        Ok(outstanding == 0)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.discarded.store(true, Ordering::Release);
    }
}

/// Serves delivery reports until the writer is discarded; the producer ends here, for its end may wait on a broker.
fn serve(mut producer: Arc<BaseProducer<Voice>>, discarded: &AtomicBool) {
    loop {
        producer.poll(POLL);
        if discarded.load(Ordering::Acquire) {
            match Arc::try_unwrap(producer) {
                // Purges what was not delivered.
                Ok(last) => return drop(last),
                Err(shared) => producer = shared,
            }
        }
    }
}

/// When the number of records not yet delivered changed last.
struct Progress {
    outstanding: usize,
    since: Instant,
}

/// The records of one call.
pub(crate) struct Batch {
    outstanding: AtomicUsize,
    /// The first failure, with its record's size; those behind it are its consequence.
    failed: Mutex<Option<(RDKafkaErrorCode, usize)>>,
    wake: Notify,
}

impl Batch {
    fn new(records: usize) -> Self {
        Batch { outstanding: AtomicUsize::new(records), failed: Mutex::default(), wake: Notify::new() }
    }

    pub(crate) fn delivered(&self, result: &DeliveryResult<'_>) {
        if let Err((error, record)) = result {
            lock(&self.failed).get_or_insert((error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail), record.payload_len()));
            self.wake.notify_one();
        }
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake.notify_one();
        }
    }
}

fn misconfigured(error: crate::OptionsError) -> LogError {
    LogError::Misconfigured(error.to_string())
}
