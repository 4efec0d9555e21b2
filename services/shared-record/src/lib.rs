//! Sharing: what came of a call goes to the shared care record and to the home's own mailbox.
//!
//! One fact, walked:
//! 1. `CallClosed` arrives and names the consultation and the prescriptions, each at a version ([`inbound`]). It is projected ([`view`], read by [`reference`]) and pokes
//!    the call's share: a timer due at once.
//! 2. The timer fires ([`composing`]): everything known of the call is read, and [`domain::review`] says wait, withhold or compose. What it waits
//!    for pokes it again when it arrives; after a minute a task says that it has not.
//! 3. Composing opens what others sealed ([`people`]), makes the document and the mail's text ([`fhir_document`]), seals both, and appends
//!    `DocumentComposed` with one delivery for each way out, in one unit.
//! 4. A delivery is judged at send time ([`delivering`]): still the newest, consent not refused, the resident known and alive. The upload waits for a
//!    provisional resident; the home's mail does not.
//! 5. [`record`] creates the document once; [`mail`] hands the mail over. `RecordUploaded`, `CarePlanEmailed` or their failures follow.
//! 6. A later fact makes the next version, which replaces the one before; a refusal of consent or a voided call withholds and retracts.
//!
//! What must not happen here: a document that mixes versions of its sources, a document about somebody else than the call's resident, a
//! second copy because an answer was lost.

mod composing;
mod delivering;
pub mod domain;
mod fhir_document;
pub mod http;
mod inbound;
pub mod mail;
mod people;
mod record;
mod reference;
mod view;
pub mod wire;

use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::deliveries::Courier;
use hearthline_eventing::identity::Identities;
use hearthline_eventing::{Kernel, Ports, View, Workers};
use hearthline_runtime::http::{Shell, access_table};
use hearthline_runtime::service::Built;
use std::sync::Arc;

pub use composing::share_of;
pub use http::routes;
pub use mail::MailServer;

/// The service's name.
pub const NAME: &str = "shared-record";
/// The topic it writes.
pub const TOPIC: &Topic = &topics::SHARED_RECORD;

/// What sharing needs of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Base address of the record's FHIR endpoint; none: uploads wait.
    pub record_url: Option<String>,
    /// The record's name, in deliveries and measures.
    pub destination: String,
    /// None: mails wait.
    pub mail: Option<MailServer>,
    /// The name of the organisation that answers for the documents.
    pub organisation_name: String,
}

/// The service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the client of the shared record cannot be made")]
    Client(#[from] hearthline_runtime::client::ClientError),
}

/// The views of sharing's store.
pub fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(Identities), Arc::new(view::Reference)]
}

/// Builds the service.
pub async fn build(options: Options, ports: &Ports, shell: &Shell) -> Result<Built, BuildError> {
    let kernel = Kernel::new(NAME, TOPIC, ports);
    let record: Arc<dyn Courier> = Arc::new(record::Record::new(kernel.clone(), options.record_url.as_deref())?);
    let mail: Arc<dyn Courier> = Arc::new(mail::Mail::new(kernel.clone(), options.mail.clone()));
    let workers = Workers {
        kernel: kernel.clone(),
        inbound: Some(Arc::new(inbound::Listening { kernel: kernel.clone() })),
        on_timer: Some(Arc::new(composing::Composing { kernel: kernel.clone(), options })),
        couriers: vec![record, mail],
        leading: Vec::new(),
    };
    let desk = http::Desk { kernel: kernel.clone() };
    Ok(Built { name: NAME, kernel, router: shell.mount(routes(), desk), access: access_table(&routes()), workers, tasks: Vec::new(), addresses: Vec::new() })
}
