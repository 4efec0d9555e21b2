//! The tables: what is kept of each stream. A row is made from the facts of its own stream alone, so that the order in
//! which streams are mixed cannot change it. Facts only: ids, codes, times (µs UTC), local days and weeks for readers.

use crate::codes::{Alternative, Arrival, Channel, ClaimKind, Disposition, HomeType, Reason, VisitClass};
use hearthline_eventing::{Row, Table, Value};
use hearthline_nhs::{CallId, ClaimId, ConsultationId, HomeId, IsoWeek, PrescriptionId, ResidentId, ShareId, StreamId, VisitId, london_date};

/// A value of one column.
pub trait Column {
    fn value(&self) -> Value;
    /// Panics where the column holds another kind of value, which is a programmer's error.
    fn read(value: Value) -> Self;
}

/// A row of one table.
pub trait Stored: Sized {
    const TABLE: Table;
    fn read(row: Row) -> Self;
    fn values(&self) -> Vec<Value>;
}

macro_rules! stored {
    ($($(#[$doc:meta])* $table:ident = $name:literal, key $key:literal, $row:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $sql:literal,)+
    } then $tail:expr;)+) => {$(
        #[doc = concat!("The table `", $name, "`.")]
        pub const $table: Table = Table {
            name: $name,
            columns: &[$(stringify!($field)),+],
            key: $key,
            ddl: concat!(
                "create table if not exists ", $name, " (\n",
                $("  ", stringify!($field), " ", $sql, ",\n",)+
                $tail
            ),
        };

        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $row {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl Stored for $row {
            const TABLE: Table = $table;

            fn read(row: Row) -> Self {
                let mut values = row.0.into_iter();
                let mut next = || values.next().expect("a row has every column of its table");
                Self { $($field: <$type as Column>::read(next()),)+ }
            }

            fn values(&self) -> Vec<Value> {
                vec![$(self.$field.value()),+]
            }
        }
    )+

        /// Every table, with the views for outsiders behind the last.
        pub const TABLES: &[Table] = &[$($table),+];
    };
}

stored! {
    /// One call of a home, from its opening on.
    CALLS = "calls", key 1, Call {
        call_id: CallId = "blob not null",
        home_id: Option<HomeId> = "blob",
        /// Whom the call names; resolve through the alias edges.
        resident_id: Option<ResidentId> = "blob",
        /// The caller's resident was found in the directory, not only described.
        identified: bool = "integer not null",
        channel: Channel = "text not null",
        /// As last corrected: opening, triage, close.
        reason: Reason = "text not null",
        alternative: Option<Alternative> = "text",
        opened_at: i64 = "integer not null",
        answered_at: Option<i64> = "integer",
        closed_at: Option<i64> = "integer",
        voided: bool = "integer not null",
        late_entry: bool = "integer not null",
        /// First complete NEWS2 total of the call.
        news2: Option<u32> = "integer",
        restore2_used: bool = "integer not null",
        opened_on: String = "text not null",
        local_week: String = "text not null",
    } then "  primary key (call_id)\n);\ncreate index if not exists calls_opened_at on calls (opened_at);";

    /// A live home called while the service was shut.
    ATTEMPTS = "call_attempts", key 1, Attempt {
        attempt_id: StreamId = "blob not null",
        home_id: Option<HomeId> = "blob",
        channel: Channel = "text not null",
        reason: Reason = "text not null",
        attempted_at: i64 = "integer not null",
        attempted_on: String = "text not null",
        local_week: String = "text not null",
    } then "  primary key (attempt_id)\n);\ncreate index if not exists call_attempts_at on call_attempts (attempted_at);";

    /// The outcome of one call.
    CONSULTATIONS = "consultations", key 1, Consultation {
        consultation_id: ConsultationId = "blob not null",
        call_id: Option<CallId> = "blob",
        disposition: Option<Disposition> = "text",
        /// When the outcome was first decided.
        decided_at: Option<i64> = "integer",
        /// No outcome stands any more: the call was voided.
        withdrawn: bool = "integer not null",
        /// When the first plan was agreed.
        plan_agreed_at: Option<i64> = "integer",
        /// The consultation's first fact.
        began_at: i64 = "integer not null",
    } then "  primary key (consultation_id)\n);\ncreate index if not exists consultations_began_at on consultations (began_at);";

    /// A clinician's claim that something was avoided.
    CLAIMS = "avoidance_claims", key 2, Claim {
        consultation_id: ConsultationId = "blob not null",
        claim_id: ClaimId = "blob not null",
        call_id: Option<CallId> = "blob",
        kind: ClaimKind = "text not null",
        alternative: Option<Alternative> = "text",
        claimed_at: i64 = "integer not null",
        withdrawn_at: Option<i64> = "integer",
        claimed_on: String = "text not null",
        local_week: String = "text not null",
    } then "  primary key (consultation_id, claim_id)\n);\ncreate index if not exists avoidance_claims_claimed_at on avoidance_claims (claimed_at);";

    /// One prescription order.
    PRESCRIPTIONS = "prescriptions", key 1, Prescription {
        prescription_id: PrescriptionId = "blob not null",
        call_id: Option<CallId> = "blob",
        /// Medicines of the order, 1 to 4.
        items: u32 = "integer not null",
        drafted_at: i64 = "integer not null",
        signed_at: Option<i64> = "integer",
        accepted_at: Option<i64> = "integer",
        /// Empty again once a later attempt was accepted.
        rejected_at: Option<i64> = "integer",
        nearest_open: Option<bool> = "integer",
        drafted_on: String = "text not null",
        local_week: String = "text not null",
    } then "  primary key (prescription_id)\n);\ncreate index if not exists prescriptions_drafted_at on prescriptions (drafted_at);";

    /// The sharing of one call's outcome.
    SHARES = "shares", key 1, Share {
        share_id: ShareId = "blob not null",
        call_id: Option<CallId> = "blob",
        home_id: Option<HomeId> = "blob",
        /// The share's first fact.
        began_at: i64 = "integer not null",
        composed_at: Option<i64> = "integer",
        /// First time that the home's mail server accepted a version.
        emailed_at: Option<i64> = "integer",
        email_failed_at: Option<i64> = "integer",
        /// First time that a record took a version.
        uploaded_at: Option<i64> = "integer",
        upload_failed_at: Option<i64> = "integer",
        withheld_at: Option<i64> = "integer",
        retracted_at: Option<i64> = "integer",
    } then "  primary key (share_id)\n);\ncreate index if not exists shares_began_at on shares (began_at);";

    /// One hospital visit; without a resident it is known of the home only.
    VISITS = "visits", key 1, Visit {
        visit_id: VisitId = "blob not null",
        resident_id: Option<ResidentId> = "blob",
        home_id: Option<HomeId> = "blob",
        feed: String = "text not null",
        facility_ods: String = "text not null",
        site_ods: String = "text not null",
        /// HL7 trigger of the opening, e.g. A04.
        trigger_event: String = "text not null",
        opened_class: VisitClass = "text not null",
        visit_class: VisitClass = "text not null",
        arrival: Arrival = "text not null",
        /// NHS Data Dictionary ADMISSION METHOD as last sent; empty when never sent.
        admission_method: String = "text not null",
        source_of_admission: String = "text not null",
        resolver_rule: String = "text not null",
        opened_at: i64 = "integer not null",
        /// When it became an inpatient visit.
        inpatient_at: Option<i64> = "integer",
        transferred_at: Option<i64> = "integer",
        closed_at: Option<i64> = "integer",
        cancelled_at: Option<i64> = "integer",
        opened_on: String = "text not null",
        local_week: String = "text not null",
    } then "  primary key (visit_id)\n);\ncreate index if not exists visits_opened_at on visits (opened_at);";

    /// A time in which what a feed would have said is not known.
    FEED_GAPS = "feed_gaps", key 2, FeedGap {
        feed_stream: StreamId = "blob not null",
        gap_id: StreamId = "blob not null",
        feed: String = "text not null",
        facility_ods: String = "text not null",
        from_at: i64 = "integer not null",
        /// From then on the feed spoke again.
        until_at: Option<i64> = "integer",
        /// When it was said for good whether it was filled.
        closed_at: Option<i64> = "integer",
        filled: bool = "integer not null",
        /// From then on nothing can fill it any more; unknown where the feed did not say.
        back_fill_until: Option<i64> = "integer",
    } then "  primary key (feed_stream, gap_id)\n);";

    /// A care home.
    HOMES = "homes", key 1, Home {
        home_id: HomeId = "blob not null",
        ods_code: String = "text not null",
        cqc_location_id: String = "text not null",
        postcode: String = "text not null",
        beds: u32 = "integer not null",
        home_type: HomeType = "text not null",
        registered_at: i64 = "integer not null",
        live_from: Option<i64> = "integer",
    } then "  primary key (home_id)\n);";

    /// A resident that the directory knows, by random id only.
    RESIDENTS = "residents", key 1, Resident {
        resident_id: ResidentId = "blob not null",
        registered: bool = "integer not null",
        /// Local day of death.
        died_on: Option<String> = "text",
        /// When the day of death ends, or the moment itself where it is known.
        died_by: Option<i64> = "integer",
    } then "  primary key (resident_id)\n);";

    /// A resident moved out.
    MOVES_OUT = "moves_out", key 2, MoveOut {
        resident_id: ResidentId = "blob not null",
        version: u64 = "integer not null",
        moved_out_on: String = "text not null",
        /// Midnight at which that local day begins.
        moved_out_at: i64 = "integer not null",
        out_of_area: bool = "integer not null",
    } then "  primary key (resident_id, version)\n);";

    /// Whoever is called `from_id` is `into_id`, while the edge stands.
    ALIAS_EDGES = "alias_edges", key 2, AliasEdge {
        from_id: ResidentId = "blob not null",
        into_id: ResidentId = "blob not null",
        standing: bool = "integer not null",
        merged_at: i64 = "integer not null",
    } then concat!("  primary key (from_id, into_id)\n);\n", include_str!("kpi_v1.sql"));
}

/// The local day (`2026-06-01`) and ISO week (`2026-W23`) of an instant in µs UTC; empty outside the calendar.
pub fn local_day_and_week(at_us: i64) -> (String, String) {
    let Ok(day) = london_date(at_us) else {
        return Default::default();
    };
    let week = IsoWeek::of_date(day).map(|week| week.to_string());
    (day.to_string(), week.unwrap_or_default())
}

impl<T: Column> Column for Option<T> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Column::value)
    }
    fn read(value: Value) -> Self {
        match value {
            Value::Null => None,
            some => Some(T::read(some)),
        }
    }
}

impl Column for i64 {
    fn value(&self) -> Value {
        Value::Int(*self)
    }
    fn read(value: Value) -> Self {
        match value {
            Value::Int(v) => v,
            _ => panic!("a column of numbers holds something else"),
        }
    }
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Column for $type {
            fn value(&self) -> Value {
                (*self).into()
            }
            fn read(value: Value) -> Self {
                i64::read(value).try_into().expect("what was stored fits")
            }
        }
    )+};
}
numbers!(u32, u64);

impl Column for bool {
    fn value(&self) -> Value {
        (*self).into()
    }
    fn read(value: Value) -> Self {
        i64::read(value) != 0
    }
}

impl Column for String {
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn read(value: Value) -> Self {
        match value {
            Value::Text(v) => v,
            _ => panic!("a column of text holds something else"),
        }
    }
}

macro_rules! identifiers {
    ($($type:ty),+) => {$(
        impl Column for $type {
            fn value(&self) -> Value {
                (*self.bytes()).into()
            }
            fn read(value: Value) -> Self {
                match &value {
                    Value::Blob(bytes) => Self::try_from(bytes.as_ref()).expect("identifiers are stored as 16 bytes"),
                    _ => panic!("a column of identifiers holds something else"),
                }
            }
        }
    )+};
}
identifiers!(CallId, ClaimId, ConsultationId, HomeId, PrescriptionId, ResidentId, ShareId, StreamId, VisitId);
