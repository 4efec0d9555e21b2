//! A visit as its events have it.

use super::events::Event;
use super::{ResolverRule, VisitClass};
use hearthline_nhs::{HomeId, ResidentId};

/// What is known of a visit that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    pub resident: Option<ResidentId>,
    pub home: Option<HomeId>,
    pub class: VisitClass,
    pub admission_method: String,
    pub source: String,
    pub site: String,
    /// What first tied it to anybody.
    pub rule: ResolverRule,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Visit {
    #[default]
    Unknown,
    Open(Stay),
    Closed(Stay),
    Cancelled(Stay),
}

impl Visit {
    pub fn stay(&self) -> Option<&Stay> {
        match self {
            Visit::Unknown => None,
            Visit::Open(stay) | Visit::Closed(stay) | Visit::Cancelled(stay) => Some(stay),
        }
    }

    fn map(self, change: impl FnOnce(Stay) -> Stay) -> Self {
        match self {
            Visit::Unknown => Visit::Unknown,
            Visit::Open(stay) => Visit::Open(change(stay)),
            Visit::Closed(stay) => Visit::Closed(change(stay)),
            Visit::Cancelled(stay) => Visit::Cancelled(change(stay)),
        }
    }

    fn into_stay(self) -> Option<Stay> {
        match self {
            Visit::Unknown => None,
            Visit::Open(stay) | Visit::Closed(stay) | Visit::Cancelled(stay) => Some(stay),
        }
    }

    pub fn evolve(self, event: &Event) -> Self {
        match event {
            Event::VisitOpened(o) => Visit::Open(Stay {
                resident: o.resident,
                home: o.home,
                class: o.class,
                admission_method: o.admission_method.clone(),
                source: o.source.clone(),
                site: o.site.clone(),
                rule: o.rule,
            }),
            Event::VisitTransferred { class, admission_method, source, site, .. } => {
                self.map(|stay| Stay { class: *class, admission_method: admission_method.clone(), source: source.clone(), site: site.clone(), ..stay })
            }
            Event::VisitClosed { .. } => self.into_stay().map_or(Visit::Unknown, Visit::Closed),
            Event::VisitReopened { .. } => self.into_stay().map_or(Visit::Unknown, Visit::Open),
            Event::VisitCancelled { .. } => self.into_stay().map_or(Visit::Unknown, Visit::Cancelled),
            Event::VisitIdentified { resident, home, .. } => self.map(|stay| Stay { resident: Some(*resident), home: home.or(stay.home), ..stay }),
            Event::PatientsMerged { .. } | Event::DeathReported { .. } => self,
        }
    }
}
