//! Clinical outcome: what a clinician decides in a call, claims to have avoided, and plans.
//!
//! The walk of one outcome through this service:
//! 1. Calls arrive as reference rows ([`inbound`], [`view`]): version, status, counterfactual, resident.
//! 2. `POST /consultations` ([`http`]) names the call and the version that the clinician saw, and waits until it is here.
//! 3. [`domain::decide::decide_outcome`] judges: a clinician has joined, claims rest on a counterfactual and do not contradict the
//!    disposition.
//! 4. [`wire`] encodes `OutcomeDecided`, the claims and the plan; the kernel seals what was written under the consultation's own key and
//!    appends all in one unit, with the claim that keeps a call to one consultation.
//! 5. Claims are withdrawn and plans agreed anew on the same stream.
//! 6. A voided call, or one that turns out to be about another resident, makes the outcome follow ([`inbound`]).
//!
//! What it must not do: prove claims (hospital facts do, in the KPIs), send anything outside.

pub mod domain;
pub mod http;
pub mod inbound;
pub mod view;
mod wire;

use crate::domain::Consultation;
use crate::inbound::Policies;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::identity::Identities;
use hearthline_eventing::{Kernel, NotNow, Ports, View, Workers};
use hearthline_nhs::ConsultationId;
use hearthline_runtime::http::{Shell, access_table};
use hearthline_runtime::service::Built;
use hearthline_runtime::tasks::OpenTasks;
use std::sync::Arc;
use std::time::Duration;

/// The service's name: of its store, its subscription and its keys.
pub const NAME: &str = "clinical-outcome";
/// The topic of its facts.
pub const TOPIC: &Topic = &topics::OUTCOME;
/// Scope of the claim that keeps a call to one consultation; its key is the call's id.
pub const CONSULTATION_OF_CALL: &str = "consultation-of-call";

/// The projections of its store.
pub fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(view::Consultations), Arc::new(OpenTasks(TOPIC)), Arc::new(Identities)]
}

/// What it needs of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// How far back a late entry may lie, in days.
    pub late_entry_days: u32,
    /// Whether this is a live deployment.
    pub live: bool,
    /// How long a command waits for facts of other topics that it names.
    pub patience: Duration,
}

/// The service as its handlers and policies see it.
pub struct Outcomes {
    pub kernel: Kernel,
    pub options: Options,
}

impl Outcomes {
    /// The consultation and its version; `None` where there is no such consultation.
    pub async fn load(&self, id: ConsultationId) -> Result<Option<(Consultation, u64)>, NotNow> {
        let (mut consultation, mut version) = (None, 0);
        for fact in self.kernel.facts(id.into()).await? {
            if let Some(event) = wire::inward(&fact, None).map_err(|e| NotNow::Other(e.to_string()))? {
                consultation = Consultation::evolve(consultation, &event);
            }
            version = fact.version();
        }
        Ok(consultation.map(|consultation| (consultation, version)))
    }
}

/// Builds the service on its ports; nothing runs yet.
pub fn build(options: Options, ports: &Ports, shell: &Shell) -> Built {
    let kernel = Kernel::new(NAME, TOPIC, ports);
    let outcomes = Arc::new(Outcomes { kernel: kernel.clone(), options });
    let policies = Arc::new(Policies(outcomes.clone()));
    let routes = http::routes();
    let access = access_table(&routes);
    Built {
        name: NAME,
        kernel: kernel.clone(),
        router: shell.mount(routes, outcomes),
        access,
        workers: Workers { kernel, inbound: Some(policies.clone()), on_timer: Some(policies), couriers: Vec::new(), leading: Vec::new() },
        tasks: Vec::new(),
        addresses: Vec::new(),
    }
}
