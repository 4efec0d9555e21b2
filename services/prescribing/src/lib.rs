//! Prescribing: an order is drafted, given a pharmacy, signed in the prescriber's session, and sent to the NHS Electronic
//! Prescription Service.
//!
//! One fact, walked:
//! 1. `POST /prescriptions` ([`http`]) waits for the call at the version that the prescriber saw, asks [`domain::draft`], and appends
//!    `PrescriptionDrafted`; what the medicine is called and how it is taken is sealed ([`wire`]).
//! 2. `POST /prescriptions/{id}/pharmacy` takes the nearest open one, or another open one for a reason ([`domain::choose_pharmacy`]).
//! 3. `POST /prescriptions/{id}/sign` ([`sign`]): the resident is registered, alive, no merge pending; demographics are opened ([`people`], an
//!    audit row), the message composed ([`order`]), prepared at the service, signed ([`signer`]).
//! 4. One unit: `PrescriptionSigned`, `PrescriptionSubmitted`, the sealed bundle, a delivery `sending`. Then the first byte leaves ([`eps`]).
//! 5. The answer, even a late one, is recorded: `PrescriptionAccepted` or `PrescriptionRejected`. No answer: `unconfirmed` and a task; the
//!    same request again sends the same bundle, and the service's "duplicate" for our own number counts as accepted.
//!
//! What must not happen here: a second signature for one order, a token kept or logged, an order sent without its prescriber.

pub mod domain;
pub mod eps;
pub mod http;
mod inbound;
mod order;
mod people;
mod reference;
mod sign;
pub mod signer;
mod view;
pub mod wire;

use hearthline_contracts::envelope::Environment;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::deliveries::Courier;
use hearthline_eventing::identity::Identities;
use hearthline_eventing::{Kernel, Ports, View, Workers};
use hearthline_runtime::http::{Shell, access_table};
use hearthline_runtime::service::Built;
use std::sync::Arc;

pub use http::routes;

/// The service's name.
pub const NAME: &str = "prescribing";
/// The topic it writes.
pub const TOPIC: &Topic = &topics::PRESCRIBING;

/// What prescribing needs of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Base address of the prescription service, before `/FHIR/R4`; none: nothing can be signed.
    pub eps_url: Option<String>,
    /// The name of the organisation that prescribes, as orders say it.
    pub organisation_name: String,
    /// How many days back a fact may be entered.
    pub late_entry_days: u32,
}

/// The service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the client of the prescription service cannot be made")]
    Client(#[from] hearthline_runtime::client::ClientError),
}

/// The views of prescribing's store.
pub fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(Identities), Arc::new(view::Reference)]
}

/// Builds the service. Signing works in test and training only, until a signing service is connected.
pub async fn build(options: Options, ports: &Ports, shell: &Shell) -> Result<Built, BuildError> {
    let kernel = Kernel::new(NAME, TOPIC, ports);
    let client = options.eps_url.as_deref().map(eps::EpsClient::new).transpose()?;
    let signer: Arc<dyn signer::Signer> = match ports.deployment.environment {
        Environment::Test | Environment::Training => Arc::new(signer::SandboxSigner),
        Environment::Live | Environment::Unspecified => Arc::new(signer::NoSigningService),
    };
    let courier = Arc::new(eps::Eps::new(kernel.clone()));
    let desk = http::Desk { kernel: kernel.clone(), options, eps: client.map(Arc::new), courier: courier.clone(), signer };
    let access = access_table(&routes());
    let couriers: Vec<Arc<dyn Courier>> = vec![courier];
    let workers = Workers { kernel: kernel.clone(), inbound: Some(Arc::new(inbound::Listening)), on_timer: None, couriers, leading: Vec::new() };
    Ok(Built { name: NAME, kernel, router: shell.mount(routes(), desk), access, workers, tasks: Vec::new(), addresses: Vec::new() })
}
