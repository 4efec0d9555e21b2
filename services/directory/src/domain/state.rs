//! What the events of one stream come to.

use super::events::Event;
use super::{Alignment, HomeDetails, Person, PharmacyDetails, PracticeDetails, SecureEmail, TaskKind};
use hearthline_nhs::{HomeId, Personal, ResidentId, TaskId};
use std::collections::BTreeSet;

/// A care home.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Home {
    /// None before it is registered.
    pub details: Option<HomeDetails>,
    pub live_from_us: Option<i64>,
    pub email: Option<SecureEmail>,
    pub practice: Option<Alignment>,
}

impl Home {
    pub fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::HomeRegistered(details) => self.details = Some(details.clone()),
            Event::HomeWentLive { live_from_us } => self.live_from_us = Some(*live_from_us),
            Event::SecureEmailVerified(email) => self.email = Some(email.clone()),
            Event::GpAligned { alignment, .. } => self.practice = Some(alignment.clone()),
            _ => {}
        }
        self
    }
}

/// A practice or a pharmacy: the newest listing counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    pub practice: Option<PracticeDetails>,
    pub pharmacy: Option<PharmacyDetails>,
}

impl Listed {
    pub fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::PracticeListed(details) => self.practice = Some(details.clone()),
            Event::PharmacyListed(details) => self.pharmacy = Some(details.clone()),
            _ => {}
        }
        self
    }
}

/// What the directory holds of a registered person.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    pub home: Option<HomeId>,
    pub person: Personal<Person>,
}

/// Whether and how the directory knows a person.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Status {
    /// A provisional resident at most: named by a call, not known here.
    #[default]
    Unregistered,
    Living(Registered),
    Died(Registered),
}

/// A task that is open on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub kind: TaskKind,
    pub subject: Option<ResidentId>,
}

/// A resident, known or provisional.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resident {
    pub status: Status,
    /// Ids that are this person's too.
    pub aliases: BTreeSet<ResidentId>,
    /// Ids that may be this person's: nobody has decided yet.
    pub proposed: BTreeSet<ResidentId>,
    pub tasks: Vec<Task>,
}

impl Resident {
    /// The registered person, living or dead.
    pub fn registered(&self) -> Option<&Registered> {
        match &self.status {
            Status::Unregistered => None,
            Status::Living(registered) | Status::Died(registered) => Some(registered),
        }
    }

    pub fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::ResidentRegistered { home, person, .. } => self.status = Status::Living(Registered { home: *home, person: person.clone() }),
            Event::ResidentMovedIn { home, .. } => self.with_home(Some(*home)),
            Event::ResidentMovedOut { .. } => self.with_home(None),
            Event::ResidentDied { .. } => {
                self.status = match self.status {
                    Status::Living(registered) | Status::Died(registered) => Status::Died(registered),
                    Status::Unregistered => Status::Unregistered,
                }
            }
            Event::ResidentsMerged { from, .. } => {
                self.proposed.remove(from);
                self.aliases.insert(*from);
            }
            Event::MergeReversed { from, .. } => {
                self.aliases.remove(from);
            }
            Event::MergeProposed { from, .. } => {
                self.proposed.insert(*from);
            }
            Event::MergeDeclined { from, .. } => {
                self.proposed.remove(from);
            }
            Event::TaskOpened { id, kind, subject, .. } => self.tasks.push(Task { id: *id, kind: *kind, subject: *subject }),
            Event::TaskClosed { id, .. } => self.tasks.retain(|task| task.id != *id),
            Event::PersonalDataDestroyed => {
                if let Status::Living(registered) | Status::Died(registered) = &mut self.status {
                    registered.person = Personal::Destroyed;
                }
            }
            Event::HomeRegistered(_)
            | Event::HomeWentLive { .. }
            | Event::SecureEmailVerified(_)
            | Event::GpAligned { .. }
            | Event::PracticeListed(_)
            | Event::PharmacyListed(_) => {}
        }
        self
    }

    fn with_home(&mut self, home: Option<HomeId>) {
        if let Status::Living(registered) | Status::Died(registered) = &mut self.status {
            registered.home = home;
        }
    }
}
