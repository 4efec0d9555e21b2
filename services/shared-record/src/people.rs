//! Sealed parts of others' facts, opened for the one document at hand. Nothing here is kept.

use crate::reference::{self, SealedDemographics};
use bytes::Bytes;
use hearthline_contracts::call::{CallOpenedPersonal, ResidentIdentifiedPersonal};
use hearthline_contracts::directory::{IdentifierAddedPersonal, IdentifierCorrectedPersonal, ResidentRegisteredPersonal};
use hearthline_contracts::topics::Topic;
use hearthline_contracts::types::{AdministrativeGender, Demographics};
use hearthline_contracts::{facts, topics, wire};
use hearthline_eventing::{Fact, Kernel, NotNow};
use hearthline_nhs::Personal;
use prost::Message;

/// Demographics in clear, as far as they open; their `Debug` prints nothing of them.
#[derive(Default)]
pub struct Person {
    pub demographics: Demographics,
    pub practice_ods: String,
}

impl Person {
    /// As FHIR has it; none where it is not stated.
    pub fn gender(&self) -> Option<&'static str> {
        match self.demographics.gender() {
            AdministrativeGender::Unspecified => None,
            AdministrativeGender::Female => Some("female"),
            AdministrativeGender::Male => Some("male"),
            AdministrativeGender::Other => Some("other"),
            AdministrativeGender::Unknown => Some("unknown"),
        }
    }
}

/// What the directory says about a registered resident.
pub async fn registered(kernel: &Kernel, resident: [u8; 16]) -> Result<Person, NotNow> {
    let sealed = reference::sealed_demographics(kernel.store.as_ref(), resident).await?;
    let Some(SealedDemographics { details, number, practice_ods }) = sealed else {
        return Err(NotNow::Other("a registered resident's record is not here yet".to_owned()));
    };
    let mut demographics = match name_of(&topics::DIRECTORY, &details) {
        "IdentifierCorrected" => open::<IdentifierCorrectedPersonal>(kernel, &topics::DIRECTORY, &details).await?.and_then(|p| p.demographics.clone()),
        _ => open::<ResidentRegisteredPersonal>(kernel, &topics::DIRECTORY, &details).await?.and_then(|p| p.demographics.clone()),
    }
    .unwrap_or_default();
    if let Some(number) = number {
        demographics.nhs_number = match name_of(&topics::DIRECTORY, &number) {
            "IdentifierCorrected" => open::<IdentifierCorrectedPersonal>(kernel, &topics::DIRECTORY, &number).await?.map(|p| p.value.clone()),
            _ => open::<IdentifierAddedPersonal>(kernel, &topics::DIRECTORY, &number).await?.map(|p| p.value.clone()),
        }
        .unwrap_or_default();
    }
    Ok(Person { demographics, practice_ods })
}

/// What the caller said about a resident whom the directory does not know. A number that nobody traced is left out.
pub async fn described(kernel: &Kernel, payload: &Bytes) -> Result<Person, NotNow> {
    let said = match name_of(&topics::CALL, payload) {
        "ResidentIdentified" => open::<ResidentIdentifiedPersonal>(kernel, &topics::CALL, payload).await?.and_then(|p| p.provisional_resident.clone()),
        _ => open::<CallOpenedPersonal>(kernel, &topics::CALL, payload).await?.and_then(|p| p.provisional_resident.clone()),
    };
    let mut demographics = said.unwrap_or_default();
    demographics.nhs_number.clear();
    Ok(Person { demographics, practice_ods: String::new() })
}

/// The personal part of a fact as received; none where it has none, or its key is destroyed or not granted.
pub async fn open<M: Message + Default>(kernel: &Kernel, topic: &'static Topic, payload: &Bytes) -> Result<Option<M>, NotNow> {
    let undecodable = || NotNow::Other("a kept event does not decode".to_owned());
    let parts = wire::split(payload).map_err(|_| undecodable())?;
    let fact = Fact { topic: topic.name, envelope: parts.envelope, sealed: parts.sealed, payload: payload.clone() };
    Ok(match kernel.composer.personal(&fact).await? {
        Some(Personal::Known(bytes)) => Some(M::decode(bytes.expose().as_slice()).map_err(|_| undecodable())?),
        Some(Personal::Destroyed | Personal::Withheld) | None => None,
    })
}

fn name_of(topic: &'static Topic, payload: &Bytes) -> &'static str {
    wire::split(payload).ok().and_then(|parts| facts::fact_name(topic.context, parts.fact_number)).unwrap_or_default()
}
