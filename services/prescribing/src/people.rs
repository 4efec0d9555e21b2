//! A resident's demographics, opened from the directory's sealed events for the one use at hand. Nothing here is kept.

use crate::domain::Rejection;
use crate::reference::{self, SealedDemographics};
use bytes::Bytes;
use hearthline_contracts::directory::{IdentifierAddedPersonal, IdentifierCorrectedPersonal, ResidentRegisteredPersonal};
use hearthline_contracts::types::{AdministrativeGender, Demographics};
use hearthline_contracts::{facts, topics, wire};
use hearthline_eventing::{Fact, Kernel, NotNow, PersonalBytes};
use hearthline_nhs::Personal;
use prost::Message;

/// Demographics in clear; its `Debug` prints nothing of them.
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

/// Why somebody's demographics are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum NotReadable {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    NotNow(#[from] NotNow),
}

/// Opens what the directory says about a registered resident.
pub async fn person(kernel: &Kernel, resident: [u8; 16]) -> Result<Person, NotReadable> {
    let sealed = reference::sealed_demographics(kernel.store.as_ref(), resident).await.map_err(NotNow::from)?.ok_or(Rejection::ResidentProvisional)?;
    let SealedDemographics { details, number, practice_ods } = sealed;
    let (name, bytes) = open(kernel, details).await?;
    let mut demographics = match name {
        "IdentifierCorrected" => decode::<IdentifierCorrectedPersonal>(&bytes)?.demographics,
        _ => decode::<ResidentRegisteredPersonal>(&bytes)?.demographics,
    }
    .ok_or_else(unreadable)?;
    if let Some(number) = number {
        let (name, bytes) = open(kernel, number).await?;
        demographics.nhs_number = match name {
            "IdentifierCorrected" => decode::<IdentifierCorrectedPersonal>(&bytes)?.value,
            _ => decode::<IdentifierAddedPersonal>(&bytes)?.value,
        };
    }
    Ok(Person { demographics, practice_ods })
}

/// The fact's name and its personal part.
async fn open(kernel: &Kernel, payload: Bytes) -> Result<(&'static str, PersonalBytes), NotReadable> {
    let parts = wire::split(&payload).map_err(|_| unreadable())?;
    let name = facts::fact_name(topics::DIRECTORY.context, parts.fact_number).unwrap_or_default();
    let fact = Fact { topic: topics::DIRECTORY.name, envelope: parts.envelope, sealed: parts.sealed, payload };
    let personal = kernel.composer.personal(&fact).await.map_err(NotNow::from)?.ok_or_else(unreadable)?;
    Ok((name, personal))
}

fn decode<M: Message + Default>(personal: &PersonalBytes) -> Result<M, NotReadable> {
    match personal {
        Personal::Known(bytes) => M::decode(bytes.expose().as_slice()).map_err(|_| unreadable()),
        Personal::Destroyed | Personal::Withheld => Err(Rejection::PersonalDataNotReadable.into()),
    }
}

fn unreadable() -> NotReadable {
    NotNow::Other("a stored demographic record does not decode".to_owned()).into()
}
