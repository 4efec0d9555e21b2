//! Consuming: each record of each subscribed topic is taken once, in order per stream, and given a disposition.
//!
//! One task follows the membership of the consumer group. For every partition it is assigned it takes the checkpoint row over
//! (the epoch rises, so that a former owner's commits are refused), compares it with the log's watermarks and starts a task that
//! reads from there: *taking over → reading → fenced or revoked*. A partition's task splits, deduplicates and triages records; those that
//! only project are committed in runs, one that makes the service act is committed alone. Every commit begins with a compare-and-set on
//! (next offset, epoch). Back-off pauses one partition while the others go on.

mod partition;

use crate::event::Fact;
use crate::kernel::{Kernel, NotNow};
use crate::ports::{Log, LogError, Member, Membership, TopicPartition};
use crate::unit::{Answer, CheckpointChange, ClaimHolder, Unit};
use async_trait::async_trait;
use hearthline_contracts::topics::{self, Topic};
use hearthline_contracts::{facts, wire};
use hearthline_nhs::StreamId;
use partition::{Ended, Partition};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber;

/// What a fact needs here, judged without IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Triage {
    Ignore(&'static str),
    /// Views take it; nothing else happens.
    Project,
    /// The service does something: [`Inbound::act`] is asked, with everything before it committed.
    Act,
}

/// What a service makes of a fact.
#[derive(Debug)]
pub enum Reaction {
    /// Append this with the checkpoint; the fact is projected too.
    Apply(Box<Unit>),
    /// Projected, nothing else.
    Project,
    Ignore(&'static str),
    /// Not yet: kept, and asked about again every few seconds, or when an operator says so.
    Hold(&'static str),
    /// Cannot be taken.
    Park(String),
    /// What was decided on is no longer so: [`Inbound::act`] is asked anew. For [`Inbound::claimed`].
    Again,
}

/// A service's policies on others' facts (`inbound.rs`).
#[async_trait]
pub trait Inbound: Send + Sync {
    fn topics(&self) -> &'static [&'static Topic];
    fn triage(&self, fact: &Fact) -> Triage;
    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow>;
    /// A unique claim of the reaction is held: by default it was done before.
    fn claimed(&self, _fact: &Fact, _holder: &ClaimHolder) -> Reaction {
        Reaction::Ignore("done before")
    }
    /// Keep every taken fact, without its sealed part, for rebuilds.
    fn archives(&self) -> bool {
        false
    }
}

/// Why consuming stops, by name.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerStopped {
    #[error("TopicTrimmed: {topic}/{partition} begins at {low} but {subscription} stands at {next}; records are missing: republish them")]
    TopicTrimmed { subscription: String, topic: &'static str, partition: u16, next: i64, low: i64 },
    #[error("TopicRecreated: {topic}/{partition} ends at {high} but {subscription} stands at {next}; the topic was made anew")]
    TopicRecreated { subscription: String, topic: &'static str, partition: u16, next: i64, high: i64 },
    #[error("Forked: {topic}/{partition} offset {offset} has another event as version {version} of stream {stream}; a person must choose")]
    Forked { topic: &'static str, partition: u16, offset: i64, stream: StreamId, version: u64 },
    #[error("TooManyParked: {parked} keys of {topic}/{partition} are parked at once; this is a broken schema, not a poison record")]
    TooManyParked { topic: &'static str, partition: u16, parked: usize },
    #[error("the log failed: {0}")]
    Log(#[from] LogError),
    #[error("a partition's task panicked")]
    Panicked,
}

/// How long a partition that could not be taken over rests.
const TAKE_OVER_AGAIN: Duration = Duration::from_millis(50);
/// How long the consumer waits for a log that is away or misconfigured.
const MEMBER_AGAIN: Duration = Duration::from_secs(1);

type Done = (TopicPartition, i64, Result<Ended, ConsumerStopped>);

/// Runs until `shutdown`.
pub async fn run(kernel: Kernel, log: Arc<dyn Log>, inbound: Arc<dyn Inbound>, shutdown: CancellationToken) -> Result<(), ConsumerStopped> {
    let subscription = kernel.store.service().to_owned();
    let names: Vec<&'static str> = inbound.topics().iter().map(|t| t.name).collect();
    let Some(mut member) = join(log.as_ref(), &subscription, &names, &shutdown).await? else { return Ok(()) };
    let mut partitions: JoinSet<Done> = JoinSet::new();
    // The epoch tells a partition's present task from one that is still ending.
    let mut living: HashMap<TopicPartition, (i64, CancellationToken)> = HashMap::new();
    let mut wanted: BTreeMap<TopicPartition, Instant> = BTreeMap::new();
    let outcome = loop {
        let next = wanted.values().min().copied();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break Ok(()),
            Some(ended) = partitions.join_next(), if !partitions.is_empty() => match ended {
                Ok((at, epoch, Ok(ended))) => {
                    if living.get(&at).is_some_and(|(e, _)| *e == epoch) {
                        living.remove(&at);
                        // Lost to another owner, or only its answer was: taken over anew while it is still assigned.
                        if matches!(ended, Ended::Fenced) {
                            wanted.insert(at, Instant::now());
                        }
                    }
                }
                Ok((_, _, Err(stopped))) => break Err(stopped),
                Err(_) => break Err(ConsumerStopped::Panicked),
            },
            change = member.next() => match change {
                Ok(Membership::Assigned(new)) => wanted.extend(new.into_iter().map(|at| (at, Instant::now()))),
                Ok(Membership::Revoked(gone)) => {
                    for at in gone {
                        wanted.remove(&at);
                        if let Some((_, token)) = living.remove(&at) {
                            token.cancel();
                        }
                    }
                }
                Err(error) if is_final(&error) => break Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, subscription, "the consumer group is asked again");
                    tokio::time::sleep(MEMBER_AGAIN).await;
                }
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
        let now = Instant::now();
        let due: Vec<TopicPartition> = wanted.iter().filter(|(_, at)| **at <= now).map(|(p, _)| *p).collect();
        let mut failed = None;
        for at in due {
            let taken = match take_over(&kernel, log.as_ref(), &subscription, at).await {
                Ok(taken) => taken,
                Err(stopped) => {
                    failed = Some(stopped);
                    break;
                }
            };
            let reading = match taken {
                Some((epoch, next)) => match member.read_from(at, next).await {
                    Ok(reader) => Some((epoch, next, reader)),
                    // Revoked in the meantime, as the next change of membership says.
                    Err(LogError::MembershipLost) => {
                        wanted.remove(&at);
                        continue;
                    }
                    Err(error) if is_final(&error) => {
                        failed = Some(error.into());
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, topic = at.0, partition = at.1, "a partition could not be read; it is tried again");
                        None
                    }
                },
                None => None,
            };
            let Some((epoch, next, reader)) = reading else {
                wanted.insert(at, Instant::now() + TAKE_OVER_AGAIN);
                continue;
            };
            wanted.remove(&at);
            let token = shutdown.child_token();
            living.insert(at, (epoch, token.clone()));
            let mut partition = Partition::new(kernel.clone(), inbound.clone(), subscription.clone(), at, epoch, next);
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            partitions.spawn(async move { (at, epoch, partition.run(reader, token).await) }.with_subscriber(dispatch));
        }
        if let Some(stopped) = failed {
            break Err(stopped);
        }
    };
    for (_, token) in living.values() {
        token.cancel();
    }
    while partitions.join_next().await.is_some() {}
    outcome
}

/// Raises the epoch of a checkpoint and compares it with the log. `None` = try again.
async fn take_over(kernel: &Kernel, log: &dyn Log, subscription: &str, (topic, partition): TopicPartition) -> Result<Option<(i64, i64)>, ConsumerStopped> {
    let rows = kernel
        .store
        .query(
            "select epoch, next_offset from checkpoints where subscription = $1 and topic = $2 and partition = $3",
            &[subscription.into(), topic.into(), u32::from(partition).into()],
        )
        .await;
    let (known, from_epoch, next) = match rows {
        Ok(rows) => rows.first().map_or((false, 0, 0), |r| (true, r.int(0), r.int(1))),
        Err(error) => {
            tracing::warn!(%error, "a checkpoint could not be read; it is tried again");
            return Ok(None);
        }
    };
    let marks = match log.watermarks(topic, partition).await {
        Ok(marks) => marks,
        Err(error) if is_final(&error) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, topic, partition, "the log's ends could not be read; it is tried again");
            return Ok(None);
        }
    };
    let next = if known { next } else { marks.low };
    if next < marks.low {
        return Err(ConsumerStopped::TopicTrimmed { subscription: subscription.to_owned(), topic, partition, next, low: marks.low });
    }
    if next > marks.high {
        return Err(ConsumerStopped::TopicRecreated { subscription: subscription.to_owned(), topic, partition, next, high: marks.high });
    }
    let take = CheckpointChange::Take { subscription: subscription.to_owned(), topic, partition, from_epoch, next_offset: next };
    match kernel.store.append(Unit { checkpoint: Some(take), ..Unit::default() }).await {
        Ok(Answer::Committed { .. }) => Ok(Some((from_epoch + 1, next))),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!(%error, "a partition could not be taken over; it is tried again");
            Ok(None)
        }
    }
}

/// Joins the consumer group as soon as the log can be asked. `None` = stopped before.
async fn join(log: &dyn Log, subscription: &str, topics: &[&'static str], shutdown: &CancellationToken) -> Result<Option<Box<dyn Member>>, LogError> {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(None),
            joined = log.join(subscription, topics) => match joined {
                Ok(member) => return Ok(Some(member)),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => tracing::warn!(%error, subscription, "the consumer group could not be joined; it is tried again"),
            },
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(MEMBER_AGAIN) => {}
        }
    }
}

/// Not mended by the log coming back or by somebody who corrects its configuration.
fn is_final(error: &LogError) -> bool {
    matches!(error, LogError::OutOfRange { .. } | LogError::MembershipLost)
}

/// A fact's name, for spans and logs.
pub fn fact_name(fact: &Fact) -> &'static str {
    wire::split(&fact.payload).ok().and_then(|parts| facts::fact_name(topics::by_name(fact.topic)?.context, parts.fact_number)).unwrap_or("Unknown")
}
