//! Call intake: calls from care homes, from the first word to the closing.
//!
//! The walk of one call through this service:
//! 1. `POST /calls` ([`http`]) is parsed into domain types; the home comes from memory ([`homes`]) or the reference rows ([`view`]).
//! 2. [`domain::decide::open`] judges home and opening hours at the time of the call, and scores the observations (NEWS2).
//! 3. [`wire`] encodes the facts; the kernel seals what the caller said under the call's own key and appends all in one unit.
//! 4. The reply names stream, version and position; the row of [`view::Calls`] was written in that same unit.
//! 5. Answer, triage, joining and the rest load the stream, fold it ([`domain::state`]), decide and append to it.
//! 6. Consultations and prescriptions arrive as reference rows ([`inbound`]). `POST /calls/{id}/close` names their versions, waits for
//!    them, and `CallClosed` repeats them for readers downstream.
//! 7. A call closed with its outcome to follow sets a timer; a day later, or when the outcome comes, [`inbound`] opens or ends a task.
//!
//! What it must not do: decide outcomes, register residents, send anything outside.

pub mod domain;
pub mod homes;
pub mod http;
pub mod inbound;
pub mod view;
mod wire;

use crate::domain::Call;
use crate::homes::Homes;
use crate::inbound::Policies;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::identity::Identities;
use hearthline_eventing::{Kernel, NotNow, Ports, View, Workers};
use hearthline_nhs::{CallId, OpeningHours};
use hearthline_runtime::http::{Shell, access_table};
use hearthline_runtime::service::Built;
use hearthline_runtime::tasks::OpenTasks;
use std::sync::Arc;
use std::time::Duration;

/// The service's name: of its store, its subscription and its keys.
pub const NAME: &str = "call-intake";
/// The topic of its facts.
pub const TOPIC: &Topic = &topics::CALL;

/// The projections of its store.
pub fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(view::Calls), Arc::new(OpenTasks(TOPIC)), Arc::new(Identities)]
}

/// What it needs of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// When the hub takes calls, in Europe/London civil time.
    pub opening: OpeningHours,
    /// How far back a late entry may lie, in days.
    pub late_entry_days: u32,
    /// Whether this is a live deployment.
    pub live: bool,
    /// How long a command waits for facts of other topics that it names.
    pub patience: Duration,
}

/// The service as its handlers and policies see it.
pub struct Intake {
    pub kernel: Kernel,
    pub options: Options,
    pub homes: Homes,
}

impl Intake {
    /// The call and its version; `None` where there is no such call.
    pub async fn load(&self, id: CallId) -> Result<Option<(Call, u64)>, NotNow> {
        let (mut call, mut version) = (None, 0);
        for fact in self.kernel.facts(id.into()).await? {
            let event = wire::inward(&fact, None).map_err(|e| NotNow::Other(e.to_string()))?;
            call = Call::evolve(call, &event, fact.envelope.occurred_at_us);
            version = fact.version();
        }
        Ok(call.map(|call| (call, version)))
    }
}

/// Builds the service on its ports; nothing runs yet.
pub fn build(options: Options, ports: &Ports, shell: &Shell) -> Built {
    let kernel = Kernel::new(NAME, TOPIC, ports);
    let intake = Arc::new(Intake { kernel: kernel.clone(), options, homes: Homes::default() });
    let policies = Arc::new(Policies(intake.clone()));
    let routes = http::routes();
    let access = access_table(&routes);
    Built {
        name: NAME,
        kernel: kernel.clone(),
        router: shell.mount(routes, intake),
        access,
        workers: Workers { kernel, inbound: Some(policies.clone()), on_timer: Some(policies), couriers: Vec::new(), leading: Vec::new() },
        tasks: Vec::new(),
        addresses: Vec::new(),
    }
}
