//! The topic catalogue: one topic for each context. Neither the number of partitions nor the partitioner can change
//! once events have been written, because either would break the order of a stream.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Partitions of every topic.
pub const PARTITIONS: u16 = 12;

/// How librdkafka calls the partitioner that [`crate::partition::partition_of`] computes.
pub const PARTITIONER: &str = "murmur2_random";

/// How long a topic keeps its records: 30 days, in milliseconds. The services' stores are the record.
pub const RETENTION_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// A bounded context: who owns a kind of fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    /// Calls from care homes.
    Call,
    /// Clinical outcomes of calls.
    Outcome,
    /// Prescription orders.
    Prescribing,
    /// Documents to shared care records and homes.
    SharedRecord,
    /// What hospitals' patient administration systems say.
    Hospital,
    /// Homes, residents, practices and pharmacies.
    Directory,
    /// Decisions about measures.
    Kpi,
}

/// A topic of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Name in the log, e.g. `hearthline.shared-record.v1`.
    pub name: &'static str,
    /// Whose facts it carries.
    pub context: Context,
    /// Full name of the protobuf message of its records.
    pub message: &'static str,
    /// Number of partitions: [`PARTITIONS`].
    pub partitions: u16,
}

/// Calls.
pub const CALL: Topic = topic(Context::Call, "hearthline.call.v1", "hearthline.call.v1.CallEvent");
/// Outcomes.
pub const OUTCOME: Topic = topic(Context::Outcome, "hearthline.outcome.v1", "hearthline.outcome.v1.OutcomeEvent");
/// Prescriptions.
pub const PRESCRIBING: Topic = topic(Context::Prescribing, "hearthline.prescribing.v1", "hearthline.prescribing.v1.PrescribingEvent");
/// Documents.
pub const SHARED_RECORD: Topic = topic(Context::SharedRecord, "hearthline.shared-record.v1", "hearthline.shared_record.v1.SharedRecordEvent");
/// Hospital visits.
pub const HOSPITAL: Topic = topic(Context::Hospital, "hearthline.hospital.v1", "hearthline.hospital.v1.HospitalEvent");
/// Directory.
pub const DIRECTORY: Topic = topic(Context::Directory, "hearthline.directory.v1", "hearthline.directory.v1.DirectoryEvent");
/// Measures.
pub const KPI: Topic = topic(Context::Kpi, "hearthline.kpi.v1", "hearthline.kpi.v1.KpiEvent");

/// Every topic, in the order of [`Context::ALL`].
pub const ALL: [Topic; 7] = [CALL, OUTCOME, PRESCRIBING, SHARED_RECORD, HOSPITAL, DIRECTORY, KPI];

/// What one service writes and reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The service, which is also the name of its consumer group.
    pub service: &'static str,
    /// It alone writes this topic.
    pub writes: &'static Topic,
    /// The topics its group subscribes to.
    pub reads: &'static [&'static Topic],
}

/// Who writes and reads what, in the order of [`ALL`]: subscriptions and access rights both come from here.
pub const FLOWS: [Flow; 7] = [
    Flow { service: "call-intake", writes: &CALL, reads: &[&DIRECTORY, &OUTCOME, &PRESCRIBING, &HOSPITAL] },
    Flow { service: "clinical-outcome", writes: &OUTCOME, reads: &[&CALL, &DIRECTORY] },
    Flow { service: "prescribing", writes: &PRESCRIBING, reads: &[&CALL, &DIRECTORY] },
    Flow { service: "shared-record", writes: &SHARED_RECORD, reads: &[&CALL, &OUTCOME, &PRESCRIBING, &DIRECTORY] },
    Flow { service: "pas-gateway", writes: &HOSPITAL, reads: &[&DIRECTORY] },
    Flow { service: "directory", writes: &DIRECTORY, reads: &[&CALL, &HOSPITAL] },
    Flow { service: "kpi-projection", writes: &KPI, reads: &[&CALL, &OUTCOME, &PRESCRIBING, &SHARED_RECORD, &HOSPITAL, &DIRECTORY] },
];

/// The flow of a service, if there is one of that name.
pub const fn flow_of(service: &str) -> Option<&'static Flow> {
    let mut n = 0;
    while n < FLOWS.len() {
        if same(FLOWS[n].service.as_bytes(), service.as_bytes()) {
            return Some(&FLOWS[n]);
        }
        n += 1;
    }
    None
}

/// The topics that a service's group subscribes to; fails to compile in a constant where the service is unknown.
pub const fn read_by(service: &str) -> &'static [&'static Topic] {
    match flow_of(service) {
        Some(flow) => flow.reads,
        None => panic!("no such service"),
    }
}

// Slices are not compared in constants.
const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut n = 0;
    while n < one.len() && n < other.len() && one[n] == other[n] {
        n += 1;
    }
    n == one.len() && n == other.len()
}

/// The topic of that name, if it is one of ours.
pub fn by_name(name: &str) -> Option<&'static Topic> {
    ALL.iter().find(|topic| topic.name == name)
}

/// A name that no context has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such context")]
pub struct UnknownContext;

impl Context {
    /// Every context; the position is the discriminant.
    pub const ALL: [Self; 7] = [Self::Call, Self::Outcome, Self::Prescribing, Self::SharedRecord, Self::Hospital, Self::Directory, Self::Kpi];

    /// Name as in topics, e.g. `shared-record`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Outcome => "outcome",
            Self::Prescribing => "prescribing",
            Self::SharedRecord => "shared-record",
            Self::Hospital => "hospital",
            Self::Directory => "directory",
            Self::Kpi => "kpi",
        }
    }

    /// Name as in protobuf packages and folders, e.g. `shared_record`.
    pub const fn package(self) -> &'static str {
        match self {
            Self::SharedRecord => "shared_record",
            other => other.name(),
        }
    }

    /// The topic that carries this context's facts.
    pub const fn topic(self) -> &'static Topic {
        &ALL[self as usize]
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Context {
    type Err = UnknownContext;

    fn from_str(name: &str) -> Result<Self, UnknownContext> {
        Self::ALL.into_iter().find(|context| context.name() == name).ok_or(UnknownContext)
    }
}

const fn topic(context: Context, name: &'static str, message: &'static str) -> Topic {
    Topic { name, context, message, partitions: PARTITIONS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_is_written_by_one_service_and_read_by_others() {
        for (flow, topic) in FLOWS.iter().zip(&ALL) {
            assert_eq!(flow.writes, topic);
            assert!(!flow.reads.contains(&flow.writes), "{} reads what it writes", flow.service);
            assert_eq!(flow_of(flow.service), Some(flow));
        }
        assert_eq!(flow_of("call"), None);
    }

    #[test]
    fn every_context_has_the_topic_named_after_it() {
        for (position, context) in Context::ALL.into_iter().enumerate() {
            assert_eq!(context as usize, position);
            assert_eq!(context.topic().context, context);
            assert_eq!(context.topic().name, format!("hearthline.{context}.v1"));
            assert!(context.topic().message.starts_with(&format!("hearthline.{}.v1.", context.package())));
            assert_eq!(context.name().parse(), Ok(context));
            assert_eq!(by_name(context.topic().name), Some(context.topic()));
        }
        assert_eq!("billing".parse::<Context>(), Err(UnknownContext));
        assert_eq!(by_name("hearthline.call.v2"), None);
    }
}
