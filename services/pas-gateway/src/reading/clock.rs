//! The times of a message, by the clock of its peer and the time of its receipt.

use crate::domain::{Moment, Order};
use crate::peer::Peer;
use crate::profile::Profile;
use hearthline_interop::hl7v2::{Adt, Field, Hl7Time, Hl7TimeError, Precision, TimeSource, VisitTime, Zone};
use jiff::tz::TimeZone;

const LONDON: &str = "Europe/London";

/// The IANA zone of times without an offset: the peer's, then the profile's.
pub(crate) fn zone<'p>(peer: &'p Peer, profile: &'p Profile) -> &'p str {
    if peer.time_zone == LONDON { profile.time_zone.as_deref().unwrap_or(LONDON) } else { &peer.time_zone }
}

/// How the times of one message are read.
pub(super) struct Clock<'p> {
    zone: &'p str,
    /// Where that is not London's.
    wall: Option<TimeZone>,
    /// In µs: of an hour that the clocks show twice it says which is meant.
    received_at: Option<i64>,
}

impl<'p> Clock<'p> {
    pub(super) fn of(peer: &'p Peer, profile: &'p Profile, received_at: Option<i64>) -> Self {
        let zone = zone(peer, profile);
        Clock { zone, wall: if zone == LONDON { None } else { TimeZone::get(zone).ok() }, received_at }
    }

    /// By the wall clock alone. So is PV1-44, which names the visit in messages of any day.
    pub(super) fn parse<'m>(&self, raw: &'m str) -> Result<Hl7Time<'m>, Hl7TimeError> {
        self.wall.as_ref().map_or_else(|| Hl7Time::parse(raw), |wall| Hl7Time::parse_in(raw, wall))
    }

    /// The time of something that happened shortly before the message came.
    fn parse_recent<'m>(&self, raw: &'m str) -> Result<Hl7Time<'m>, Hl7TimeError> {
        let time = self.parse(raw)?;
        Ok(self.received_at.map_or(time, |received_at| time.as_received(received_at, self.wall.as_ref())))
    }

    /// A time without a time of day would come before everything else of its day.
    pub(super) fn order(&self, adt: &Adt<'_>) -> Order {
        let exact = |field: Field<'_>| {
            let time = field.component(1).code().and_then(|raw| self.parse_recent(raw).ok());
            time.filter(|time| time.precision > Precision::Day).map(|time| time.instant_us)
        };
        Order { occurred_us: exact(adt.evn(6)), recorded_us: exact(adt.evn(2)), sent_us: exact(adt.msh(7)) }
    }

    pub(super) fn moment(&self, time: &VisitTime<'_>) -> Moment {
        let read = match time.source {
            TimeSource::Admitted | TimeSource::ExpectedAdmission => self.parse(time.time.raw),
            TimeSource::Discharged | TimeSource::EventOccurred | TimeSource::EventRecorded | TimeSource::MessageSent => self.parse_recent(time.time.raw),
        };
        let time = read.unwrap_or(time.time);
        let zone = match time.zone {
            Zone::EuropeLondon => self.zone.to_owned(),
            Zone::Stated { offset_minutes } => {
                let sign = if offset_minutes < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", offset_minutes.abs() / 60, offset_minutes.abs() % 60)
            }
        };
        Moment { at_us: time.instant_us, zone, ambiguous: time.is_ambiguous() }
    }
}
