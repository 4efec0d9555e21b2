//! What may stand in clear: codes, times, ids, scores, and the public names and addresses of organisations.

use std::collections::{BTreeMap, BTreeSet};

use hearthline_contracts::DESCRIPTORS;
use hearthline_contracts::facts::FACTS;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

/// Every text field in clear and what keeps it free of personal data.
const CLEAR_TEXT: &[(&str, &str)] = &[
    ("BaselineFrozen", "measure first_day last_day"),
    ("CarePlanEmailFailed", "code"),
    ("DeathReported", "feed facility_ods died_on trigger"),
    ("Envelope", "occurred_zone controller_ods"),
    ("FeedDemoted", "feed facility_ods"),
    ("FeedGapClosed", "feed facility_ods"),
    ("FeedGapOpened", "feed facility_ods"),
    ("FeedPromoted", "feed facility_ods"),
    ("FeedResumed", "feed facility_ods"),
    ("GpAligned", "practice_ods aligned_from"),
    ("HomeRegistered", "ods_code cqc_location_id name address_lines postcode uprn controller_ods"),
    ("IdentifierAdded", "authority_ods"),
    ("IdentifierCorrected", "authority_ods"),
    ("PatientsMerged", "feed facility_ods trigger"),
    ("PharmacyChosen", "pharmacy_ods"),
    ("PharmacyListed", "ods_code name postcode listed_from address_lines"),
    ("PracticeListed", "ods_code name postcode"),
    ("PrescribedItem", "dmd_code quantity unit_code"),
    ("PrescriptionDrafted", "prescriber_type"),
    ("PrescriptionRejected", "code"),
    ("PrescriptionSigned", "order_number"),
    ("PrescriptionSubmitted", "destination"),
    ("RecordUploadFailed", "destination code"),
    ("RecordUploaded", "destination location"),
    ("ResidentDied", "died_on"),
    ("ResidentMovedIn", "moved_in_on"),
    ("ResidentMovedOut", "moved_out_on"),
    ("ResidentRegistered", "practice_ods"),
    ("SecureEmailVerified", "email verified_on"),
    ("TaskClosed", "kind"),
    ("TaskOpened", "kind"),
    ("TreatmentPlanAgreed", "review_on"),
    ("VisitCancelled", "trigger"),
    ("VisitClosed", "discharge_destination discharge_method trigger"),
    ("VisitOpened", "feed facility_ods site_ods arrival_mode_code admission_method source_of_admission trigger nhs_number_status"),
    ("VisitReopened", "trigger"),
    ("VisitReport", "trigger admission_method source_of_admission site_ods arrival_mode_code discharge_destination discharge_method nhs_number_status"),
    ("VisitTransferred", "admission_method site_ods trigger source_of_admission"),
];

#[test]
fn every_text_field_in_clear_is_known_to_hold_no_personal_data() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = CLEAR_TEXT.iter().map(|(message, fields)| (*message, fields.split_whitespace().collect())).collect();
    for message in clear_messages() {
        for field in message.fields().filter(|field| field.kind() == Kind::String) {
            let known = allowed.get(message.name()).is_some_and(|fields| fields.contains(field.name()));
            assert!(known, "{} is text in clear: is it personal?", field.full_name());
        }
    }
}

#[test]
fn no_personal_message_is_part_of_a_fact() {
    let personal = personal_messages();
    assert!(personal.iter().any(|name| name == "hearthline.types.v1.Demographics"));
    for message in clear_messages() {
        assert!(!personal.contains(message.full_name()), "{} is part of a fact", message.full_name());
    }
}

#[test]
fn every_personal_message_belongs_to_a_fact_or_to_another_personal_message() {
    let owned: usize = FACTS.iter().filter(|fact| fact.personal).count();
    let parts = ["hearthline.types.v1.Demographics", "hearthline.prescribing.v1.PrescribedItemPersonal"];
    assert_eq!(personal_messages().len(), owned + parts.len());
}

/// The events and all that they hold.
fn clear_messages() -> Vec<MessageDescriptor> {
    let pool = pool();
    let events = hearthline_contracts::topics::ALL;
    let roots = events.iter().map(|topic| pool.get_message_by_name(topic.message).expect("the event"));
    reachable(roots.collect())
}

fn personal_messages() -> BTreeSet<String> {
    let roots = pool().all_messages().filter(|message| message.name().ends_with("Personal")).collect();
    reachable(roots).iter().map(|message| message.full_name().to_owned()).collect()
}

fn reachable(mut open: Vec<MessageDescriptor>) -> Vec<MessageDescriptor> {
    let mut found: BTreeMap<String, MessageDescriptor> = BTreeMap::new();
    while let Some(message) = open.pop() {
        open.extend(message.fields().filter_map(|field| match field.kind() {
            Kind::Message(held) if !found.contains_key(held.full_name()) => Some(held),
            _ => None,
        }));
        found.insert(message.full_name().to_owned(), message);
    }
    found.into_values().collect()
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).expect("the contracts' own descriptors")
}
