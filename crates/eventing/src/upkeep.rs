//! What the kernel remembers of itself in a service's store: how far the topic reached, a republish under way, the deployment's
//! incarnation and finalised level, the processes that live. Written by units like everything else.

use crate::ports::{Store, StoreError};
use crate::unit::{Answer, Unit};
use crate::value::Script;

/// A change of the kernel's own rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upkeep {
    /// For partitions of the service's topic, the offset behind the last record that the store is known to have; never lowered.
    Ends(Vec<(u16, i64)>),
    /// The topic was made anew or cut short: what was noted of it is forgotten, and every event goes out again.
    PublishFromStart,
    /// Every event up to `until` goes out again, beginning behind `next`.
    Republish {
        next: u64,
        until: u64,
    },
    /// So far it has; done where that is all.
    Republished {
        next: u64,
    },
    /// The first words about a deployment; nothing where there is a row already.
    Begin {
        level: u32,
    },
    /// A recovery begins: the incarnation rises, and the store opens to nobody until it is over.
    Recovering,
    Recovered,
    /// Events of this level may be written from now on; never lowered.
    Finalise {
        level: u32,
    },
    /// A process lives.
    Seen(Process),
    /// A process has ended.
    Gone([u8; 16]),
    /// Processes not seen since this time, µs, are forgotten.
    Sweep {
        before: i64,
    },
}

/// A process at work on a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub instance: [u8; 16],
    pub release: String,
    /// The highest schema level that it reads and writes.
    pub level: u32,
    pub started_at: i64,
    pub seen_at: i64,
}

impl Upkeep {
    /// Wakes the workers.
    pub fn wakes(&self) -> bool {
        matches!(self, Upkeep::Republish { .. })
    }

    /// The change as statements.
    pub fn statements(&self, script: &mut Script) {
        match self {
            Upkeep::Ends(ends) => script.push_rows(
                "insert into relayed_ends (partition, next_offset)",
                ends.iter().map(|(partition, next)| vec![u32::from(*partition).into(), (*next).into()]).collect(),
                "on conflict (partition) do update set next_offset = excluded.next_offset where relayed_ends.next_offset < excluded.next_offset",
            ),
            Upkeep::PublishFromStart => {
                script.push("delete from relayed_ends", &[]);
                script.push("delete from republish", &[]);
                script.push("update relay set cursor = 0", &[]);
            }
            Upkeep::Republish { next, until } => script.push(
                "insert into republish (one, next, until) values (1, $1, $2) on conflict (one) do update set next = excluded.next, until = excluded.until",
                &[(*next).into(), (*until).into()],
            ),
            Upkeep::Republished { next } => {
                script.push("update republish set next = $1", &[(*next).into()]);
                script.push("delete from republish where next >= until", &[]);
            }
            Upkeep::Begin { level } => script.push(
                "insert into deployment_state (one, incarnation, finalised_level, recovering) values (1, 1, $1, 0) on conflict (one) do nothing",
                &[(*level).into()],
            ),
            Upkeep::Recovering => script.push("update deployment_state set incarnation = incarnation + 1, recovering = 1 where recovering = 0", &[]),
            Upkeep::Recovered => script.push("update deployment_state set recovering = 0", &[]),
            Upkeep::Finalise { level } => script.push("update deployment_state set finalised_level = $1 where finalised_level < $1", &[(*level).into()]),
            Upkeep::Seen(process) => script.push(
                "insert into processes (instance, release, level, started_at, seen_at) values ($1, $2, $3, $4, $5) \
                 on conflict (instance) do update set level = excluded.level, seen_at = excluded.seen_at",
                &[process.instance.into(), process.release.as_str().into(), process.level.into(), process.started_at.into(), process.seen_at.into()],
            ),
            Upkeep::Gone(instance) => script.push("delete from processes where instance = $1", &[(*instance).into()]),
            Upkeep::Sweep { before } => script.push("delete from processes where seen_at < $1", &[(*before).into()]),
        }
    }
}

/// What a store knows of its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeploymentState {
    /// Rises with every recovery; every event carries it.
    pub incarnation: u32,
    /// No event above this level is written.
    pub finalised_level: u32,
    /// A recovery was begun and is not over.
    pub recovering: bool,
}

/// Reads the deployment's state; what a store without one stands for is `1, 1, no`.
pub async fn deployment_state(store: &dyn Store) -> Result<DeploymentState, StoreError> {
    let rows = store.query("select incarnation, finalised_level, recovering from deployment_state", &[]).await?;
    let number = |n: i64| u32::try_from(n).unwrap_or(1);
    Ok(rows.first().map_or(DeploymentState { incarnation: 1, finalised_level: 1, recovering: false }, |r| DeploymentState {
        incarnation: number(r.int(0)),
        finalised_level: number(r.int(1)),
        recovering: r.flag(2),
    }))
}

/// The state of a store at connect: a fresh store starts at this release's level, one with events and no state at the first.
pub(crate) async fn begin(store: &dyn Store, level: u32) -> Result<DeploymentState, StoreError> {
    if store.query("select 1 from deployment_state", &[]).await?.is_empty() {
        let level = if store.committed().borrow().position == 0 { level } else { 1 };
        let answer = store.append(Unit { upkeep: vec![Upkeep::Begin { level }], ..Unit::default() }).await?;
        debug_assert!(matches!(answer, Answer::Committed { .. }));
    }
    deployment_state(store).await
}

/// A republish under way: `(next, until)`, positions.
pub async fn republishing(store: &dyn Store) -> Result<Option<(u64, u64)>, StoreError> {
    let rows = store.query("select next, until from republish", &[]).await?;
    Ok(rows.first().map(|r| (r.int(0).unsigned_abs(), r.int(1).unsigned_abs())))
}

/// What became of a request to republish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// Every event up to here goes out again.
    Begun { until: u64 },
    /// One is under way already.
    UnderWay { next: u64, until: u64 },
    /// Nothing was published yet.
    Nothing,
}

/// Asks the holder of the lease to send every published event again, on the same topic: others see duplicates, a new subscription
/// on a trimmed topic what it lacks.
pub async fn request_republish(store: &dyn Store, also: Unit) -> Result<Requested, StoreError> {
    if let Some((next, until)) = republishing(store).await? {
        return Ok(Requested::UnderWay { next, until });
    }
    let until = store.query("select cursor from relay", &[]).await?.first().map_or(0, |r| r.int(0).unsigned_abs());
    if until == 0 {
        return Ok(Requested::Nothing);
    }
    let mut unit = also;
    unit.upkeep.push(Upkeep::Republish { next: 0, until });
    match store.append(unit).await? {
        Answer::Committed { .. } => Ok(Requested::Begun { until }),
        _ => Err(StoreError::Refused("a request beside something that was refused".to_owned())),
    }
}

/// How long a process counts as living after it was last seen, µs.
pub const LIVING_US: i64 = 30_000_000;

/// The processes at work on a store, the oldest first.
pub async fn processes(store: &dyn Store, now: i64) -> Result<Vec<Process>, StoreError> {
    let rows = store
        .query(
            "select instance, release, level, started_at, seen_at from processes where seen_at > $1 order by started_at, instance",
            &[(now - LIVING_US).into()],
        )
        .await?;
    let process = |r: &crate::value::Row| Process {
        instance: r.id(0),
        release: r.text(1).to_owned(),
        level: u32::try_from(r.int(2)).unwrap_or(0),
        started_at: r.int(3),
        seen_at: r.int(4),
    };
    Ok(rows.iter().map(process).collect())
}
