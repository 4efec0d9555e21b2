//! Clinical stories, from the first word to the figures, through the sockets that people and hospitals use.

use crate::people::*;
use crate::system::{FEED_LAG_H, System, WINDOW_H, text};
use hearthline_runtime::auth::Role;
use serde_json::{Value as Json, json};

/// Every story is told on both editions.
macro_rules! stories {
    ($($name:ident),+ $(,)?) => {
        mod on_a_folder {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::System::start().await).await;
            })+
        }
        mod on_servers {
            $(#[tokio::test]
            async fn $name() {
                let Some(hub) = super::System::start_on_servers().await else { return };
                super::$name(hub).await;
            })+
        }
    };
}

stories! {
    a_fall_is_treated_at_home_and_what_was_avoided_is_sustained,
    a_resident_with_sepsis_is_sent_in_and_the_admission_is_seen_on_the_call,
    an_avoided_admission_is_contradicted_by_the_ambulance_forty_hours_later,
    a_provisional_resident_becomes_the_known_one_before_the_prescriber_signs,
    a_message_that_came_before_its_resident_was_known_becomes_a_visit_once_they_are,
    a_home_without_a_secure_mailbox_gets_no_mail_and_somebody_a_task,
}

fn ada() -> Person {
    Person::new("Ada", "Ashdown", "1938-04-12", 1)
}

fn well_after_a_fall() -> Json {
    json!({ "respiratory_rate": 16, "spo2": 97, "spo2_scale": 1, "on_oxygen": false, "systolic": 128, "pulse": 76, "consciousness": "A", "temperature": 36.7, "tool": "restore2" })
}

fn a_fall(resident: &Json) -> Json {
    json!({
        "reason": "fall", "reason_text": "Slipped beside her bed, a graze at the elbow", "caller_name": "Nia", "restore2_used": true,
        "resident": resident, "observations": well_after_a_fall(), "counterfactual": "999", "consent": "given",
    })
}

fn treated_at_home(claims: &[&str]) -> Json {
    let claims: Vec<Json> = claims
        .iter()
        .map(|kind| match *kind {
            "admission" => json!({ "kind": kind, "likely_admitting_problem": "Observation after a fall" }),
            kind => json!({ "kind": kind }),
        })
        .collect();
    json!({
        "disposition": "treated_at_home", "summary": "No head injury, walks as before", "claims": claims,
        "plan": { "text": "Wound dressed; observations every four hours until tomorrow", "actions_for_gp": "Review medicines that raise the risk of falls",
                  "call_back_if": "Drowsy, vomiting or in more pain", "agreed_with_home": true },
    })
}

async fn a_fall_is_treated_at_home_and_what_was_avoided_is_sustained(hub: System) {
    let home = Home::rosewood(&hub).await;
    let ada = ada();
    let resident = home.resident(&hub, &ada).await;

    // Ten days ago she slipped. The home would have dialled 999; the hub treated her where she was.
    let mut call = Call::comes_in(&hub, &home, days_ago(10), a_fall(&json!({ "resident_id": resident }))).await;
    assert_eq!(call.opened["news2"]["total"], 0);
    call.is_answered_and_triaged("urgent").await;
    call.is_joined_by_a_clinician().await;
    let consultation = call.is_decided(treated_at_home(&["conveyance"])).await;
    call.is_closed().await;

    // What happened is on record, in order.
    let said =
        ["CallOpened", "ObservationsRecorded", "CounterfactualRecorded", "ConsentRecorded", "CallAnswered", "CallTriaged", "ClinicianJoined", "CallClosed"];
    assert_eq!(call.timeline().await, said);
    assert_eq!(hub.timeline("clinical-outcome", &consultation.stream).await, ["OutcomeDecided", "AvoidanceClaimed", "TreatmentPlanAgreed"]);
    let share = call.share().await;
    let mut shared = hub.timeline("shared-record", &text(&share, "stream")).await;
    assert_eq!(shared.remove(0), "DocumentComposed");
    shared.sort();
    assert_eq!(shared, ["CarePlanEmailed", "RecordUploaded"]);

    // The home has the plan in its mailbox, the shared record has the document, each once.
    let mails = hub.sandbox.smtp.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].is_to(MAILBOX));
    assert!(mails[0].text().contains("observations every four hours"));
    assert_eq!(hub.sandbox.fhir.documents().iter().map(|document| document.times_submitted).collect::<Vec<_>>(), [1]);
    assert!(hub.sandbox.eps.orders().is_empty(), "nothing was prescribed");

    // Until the window and the hospital's lag are over nobody knows; then it is sustained.
    let over = call.ended() + hours(WINDOW_H + FEED_LAG_H);
    let early = hub.kpi(days_ago(10), over - hours(1)).await;
    assert_eq!(stands(&early, "ambulance_conveyances_avoided"), [1, 0, 0, 0, 1]);
    let late = hub.kpi(days_ago(10), over).await;
    assert_eq!(stands(&late, "ambulance_conveyances_avoided"), [1, 1, 0, 0, 0]);
    assert_eq!((value(&late, "calls_total"), value(&late, "treatment_plans_created"), value(&late, "admissions_avoided")), (json!(1), json!(1), json!(0)));
    // What was entered afterwards was mailed afterwards: today.
    assert_eq!(measure(&late, "care_plans_emailed")["numerator"], 0);
    let now = hub.kpi(days_ago(10), tomorrow()).await;
    assert_eq!((&measure(&now, "care_plans_emailed")["numerator"], &measure(&now, "shared_record_uploads")["numerator"]), (&json!(1), &json!(1)));
    hub.stop().await;
}

async fn a_resident_with_sepsis_is_sent_in_and_the_admission_is_seen_on_the_call(hub: System) {
    let home = Home::rosewood(&hub).await;
    let ada = ada();
    let resident = home.resident(&hub, &ada).await;

    let observed = json!({ "respiratory_rate": 26, "spo2": 91, "spo2_scale": 1, "on_oxygen": false, "systolic": 88, "pulse": 128, "consciousness": "C", "temperature": 39.4, "tool": "restore2" });
    let mut call = Call::comes_in(
        &hub,
        &home,
        days_ago(8),
        json!({ "reason": "suspected_infection", "resident": { "resident_id": resident }, "observations": observed, "counterfactual": "gp", "consent": "best_interests" }),
    )
    .await;
    // 3 for breathing, 3 for oxygen, 3 for pressure, 2 for pulse, 3 for new confusion, 2 for temperature (RCP 2017).
    assert_eq!(call.opened["news2"]["total"], 16);
    call.is_answered_and_triaged("emergency").await;
    call.is_joined_by_a_clinician().await;

    // Whoever goes in by ambulance was not spared the ambulance.
    let sent_in = |claims: Json| json!({ "disposition": "ed_by_ambulance", "summary": "Sepsis suspected, 999 called", "claims": claims });
    assert_eq!(call.cannot_be_decided(sent_in(json!([{ "kind": "conveyance" }]))).await, "claim_contradicts_disposition");
    let consultation = call.is_decided(sent_in(json!([]))).await;
    call.is_closed().await;
    assert_eq!(hub.timeline("clinical-outcome", &consultation.stream).await, ["OutcomeDecided"]);
    assert_eq!(call.shown().await["visits"], json!([]));

    // Two hours later the hospital admits her, and later lets her go.
    let admitted = call.ended() + hours(2);
    assert_eq!(hub.hospital_sends(&Adt::admission(&ada, admitted).write()).await, "AA");
    let discharge = Adt { trigger: "A03", ..Adt::admission(&ada, admitted + hours(96)) };
    assert_eq!(hub.hospital_sends(&discharge.write()).await, "AA");
    hub.settled().await;
    let visits = call.shown().await["visits"].clone();
    let visit = text(&visits[0], "stream");
    assert_eq!(text(&visits[0], "admitted_at").parse::<jiff::Timestamp>().expect("an instant"), admitted);
    assert_eq!(hub.timeline("pas-gateway", &visit).await, ["VisitOpened", "VisitClosed"]);

    let kpi = hub.kpi(days_ago(8), tomorrow()).await;
    assert_eq!((value(&kpi, "calls_total"), value(&kpi, "emergency_admissions")), (json!(1), json!(1)));
    for claimed in ["ambulance_conveyances_avoided", "ed_attendances_avoided", "admissions_avoided"] {
        assert_eq!(stands(&kpi, claimed), [0; 5], "{claimed}");
    }
    assert_eq!(measure(&kpi, "call_dispositions")["by"]["ed_by_ambulance"], 1);
    assert_eq!(kpi["contradicted"], json!([]));
    hub.stop().await;
}

async fn an_avoided_admission_is_contradicted_by_the_ambulance_forty_hours_later(hub: System) {
    let home = Home::rosewood(&hub).await;
    let ada = ada();
    let resident = home.resident(&hub, &ada).await;
    let pharmacy = pharmacy(&hub).await;

    // A chest infection, treated at home with an antibiotic.
    let mut call = Call::comes_in(
        &hub,
        &home,
        days_ago(12),
        json!({ "reason": "breathlessness", "resident": { "resident_id": resident }, "counterfactual": "999", "consent": "given" }),
    )
    .await;
    call.is_answered_and_triaged("urgent").await;
    call.is_joined_by_a_clinician().await;
    call.is_decided(treated_at_home(&["conveyance", "admission"])).await;
    let prescription = call.amoxicillin_is_drafted(&pharmacy).await;
    let order = call.prescription_is_signed(&prescription).await;
    call.is_closed().await;
    assert_eq!(
        hub.timeline("prescribing", &prescription).await,
        ["PrescriptionDrafted", "PharmacyChosen", "PrescriptionSigned", "PrescriptionSubmitted", "PrescriptionAccepted"]
    );
    let orders = hub.sandbox.eps.orders();
    assert_eq!(orders.iter().map(|order| (order.prescription_id.as_str(), order.times_submitted)).collect::<Vec<_>>(), [(order.as_str(), 1)]);

    // Before the hospital has said a word both claims would have stood.
    let hopeful = hub.kpi(days_ago(12), tomorrow()).await;
    assert_eq!(stands(&hopeful, "admissions_avoided"), [1, 1, 0, 0, 0]);

    // It did not work: forty hours later she went in by ambulance.
    assert_eq!(hub.hospital_sends(&Adt::admission(&ada, call.ended() + hours(40)).write()).await, "AA");
    hub.settled().await;
    let visit = text(&call.shown().await["visits"][0], "stream");
    let kpi = hub.kpi(days_ago(12), tomorrow()).await;
    assert_eq!(stands(&kpi, "ambulance_conveyances_avoided"), [1, 0, 1, 0, 0]);
    assert_eq!(stands(&kpi, "admissions_avoided"), [1, 0, 1, 0, 0]);
    assert_eq!((value(&kpi, "prescriptions_issued"), value(&kpi, "prescription_electronic_rate")), (json!(1), json!(100.0)));

    // Both are listed for review, with the visit that speaks against them.
    let listed = kpi["contradicted"].as_array().expect("a list");
    let mut kinds: Vec<&str> = listed.iter().map(|one| one["kind"].as_str().expect("a kind")).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["admission", "conveyance"]);
    for one in listed {
        assert_eq!((text(one, "visit_id"), text(one, "call_id"), text(one, "home_id")), (visit.clone(), call.id.clone(), home.id.clone()));
        assert_eq!(one["hours_after"], 40);
    }
    // As of the evening before the admission, nothing of it is known.
    let before = hub.kpi(days_ago(12), call.ended() + hours(30)).await;
    assert_eq!(stands(&before, "admissions_avoided"), [1, 0, 0, 0, 1]);
    hub.stop().await;
}

async fn a_provisional_resident_becomes_the_known_one_before_the_prescriber_signs(hub: System) {
    let home = Home::rosewood(&hub).await;
    let ada = ada();
    let known = home.resident(&hub, &ada).await;
    let pharmacy = pharmacy(&hub).await;

    // The carer has only a name at hand.
    let named = json!({ "family_name": ada.family, "given_names": ada.given });
    let mut call = Call::comes_in(&hub, &home, days_ago(3), json!({ "reason": "pain", "resident": named, "counterfactual": "111", "consent": "given" })).await;
    assert_eq!(call.opened["resident_status"], "provisional");
    let provisional = text(&call.opened, "resident_id");
    assert_ne!(provisional, known);
    call.is_answered_and_triaged("routine").await;
    call.is_joined_by_a_clinician().await;

    // Drafting may go on; nobody signs for somebody unknown.
    let prescription = call.amoxicillin_is_drafted(&pharmacy).await;
    let refused = hub.post(Role::Prescriber, &format!("/prescriptions/{prescription}/sign"), json!({})).await;
    assert_eq!(refused.refused(), (422, "resident_provisional"));
    assert!(hub.sandbox.eps.orders().is_empty());

    // The carer finds number and date of birth; the directory knows them.
    call.is_about(ada.described()).await;
    hub.settled().await;
    let resident = call.shown().await["resident"].clone();
    assert_eq!((text(&resident, "resolved_id"), resident["registered"].clone()), (known.clone(), json!(true)));
    assert_eq!(hub.timeline("directory", &known).await.last().map(String::as_str), Some("ResidentsMerged"));
    let order = call.prescription_is_signed(&prescription).await;
    call.is_decided(json!({ "disposition": "treated_at_home", "claims": [] })).await;
    call.is_closed().await;

    // The order and the document name her by her number.
    let order = hub.sandbox.eps.order(&order).expect("the order arrived");
    assert!(order.bundle.to_string().contains(ada.nhs_number.as_str()));
    let documents = hub.sandbox.fhir.documents();
    assert_eq!(documents.len(), 1);
    assert!(documents[0].resource.to_string().contains(ada.nhs_number.as_str()));
    assert_eq!(call.share().await["documents"][0]["resident_id"], json!(known));
    let kpi = hub.kpi(days_ago(3), tomorrow()).await;
    assert_eq!((value(&kpi, "residents_supported"), value(&kpi, "resident_match_rate")), (json!(1), json!(100.0)));
    hub.stop().await;
}

async fn a_message_that_came_before_its_resident_was_known_becomes_a_visit_once_they_are(hub: System) {
    let home = Home::rosewood(&hub).await;
    hub.settled().await;
    let ada = ada();

    // To the hub she is a stranger from an address it has no business with: the message is held and nothing is made of it.
    let admitted = days_ago(2);
    let message = Adt::admission(&ada, admitted).write();
    assert_eq!(hub.hospital_sends(&message).await, "AA");
    hub.settled().await;
    assert_eq!(hub.facts("pas-gateway").await, []);
    assert_eq!(value(&hub.kpi(admitted, tomorrow()).await, "emergency_admissions"), 0);

    // The home registers her late: the visit was hers all along.
    home.resident(&hub, &ada).await;
    let names: Vec<String> = hub.facts("pas-gateway").await.into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["VisitOpened"]);
    assert_eq!(value(&hub.kpi(admitted, tomorrow()).await, "emergency_admissions"), 1);

    // The same message again is accepted and changes nothing.
    assert_eq!(hub.hospital_sends(&message).await, "AA");
    hub.settled().await;
    assert_eq!(hub.facts("pas-gateway").await.len(), 1);
    let counted = hub.get(Role::Operator, "/pas/summary").await.ok();
    let counted: Vec<_> = counted["messages"].as_array().into_iter().flatten().map(|m| (m["disposition"].clone(), m["count"].clone())).collect();
    assert_eq!(counted, [(json!("duplicate"), json!(1)), (json!("interpreted"), json!(1))]);
    hub.stop().await;
}

async fn a_home_without_a_secure_mailbox_gets_no_mail_and_somebody_a_task(hub: System) {
    let home = Home::fernside(&hub).await;
    let resident = home.resident(&hub, &ada()).await;
    let mut call = Call::comes_in(&hub, &home, days_ago(2), a_fall(&json!({ "resident_id": resident }))).await;
    call.is_answered_and_triaged("urgent").await;
    call.is_joined_by_a_clinician().await;
    call.is_decided(treated_at_home(&["conveyance"])).await;
    call.is_closed().await;

    assert!(hub.sandbox.smtp.mails().is_empty());
    assert_eq!(hub.sandbox.fhir.documents().len(), 1);
    let tasks = hub.get(Role::CallHandler, "/tasks/shared-record").await.ok();
    let open: Vec<(String, String)> = tasks["tasks"].as_array().expect("tasks").iter().map(|task| (text(task, "kind"), text(task, "call_id"))).collect();
    assert_eq!(open, [("no_secure_email".to_owned(), call.id.clone())]);
    let share = call.share().await;
    let shared = hub.timeline("shared-record", &text(&share, "stream")).await;
    assert_eq!(shared, ["DocumentComposed", "TaskOpened", "RecordUploaded"]);
    let kpi = hub.kpi(days_ago(2), tomorrow()).await;
    assert_eq!((&measure(&kpi, "care_plans_emailed")["numerator"], &measure(&kpi, "care_plans_emailed")["denominator"]), (&json!(0), &json!(1)));
    hub.stop().await;
}

#[tokio::test]
async fn whether_registration_or_admission_came_first_makes_no_difference_to_any_figure() {
    let known_first = figures(Order::RegistrationFirst).await;
    assert_eq!(stands(&known_first, "admissions_avoided"), [1, 0, 1, 0, 0], "the story contradicts a claim");
    for order in [Order::AdmissionFirst(ELSEWHERE), Order::AdmissionFirst(ROSEWOOD)] {
        let figures = figures(order).await;
        assert_eq!(figures, known_first);
    }
}

#[tokio::test]
async fn the_figures_are_the_same_on_a_folder_and_on_servers() {
    let Some(hub) = System::start_on_servers().await else { return };
    assert_eq!(figures_of(hub, Order::RegistrationFirst).await, figures(Order::RegistrationFirst).await);
}

enum Order {
    RegistrationFirst,
    /// From this address.
    AdmissionFirst((&'static str, &'static str)),
}

async fn figures(order: Order) -> Json {
    figures_of(System::start().await, order).await
}

/// A call with a claim that an admission contradicts; every figure, with ids made alike.
async fn figures_of(hub: System, order: Order) -> Json {
    let home = Home::rosewood(&hub).await;
    hub.settled().await;
    let ada = ada();
    let address = if let Order::AdmissionFirst(address) = order { address } else { ELSEWHERE };
    let admission = Adt { address, ..Adt::admission(&ada, days_ago(9) + hours(40)) };
    if matches!(order, Order::AdmissionFirst(_)) {
        assert_eq!(hub.hospital_sends(&admission.write()).await, "AA");
        hub.settled().await;
    }
    let resident = home.resident(&hub, &ada).await;
    let mut call = Call::comes_in(&hub, &home, days_ago(9), a_fall(&json!({ "resident_id": resident }))).await;
    call.is_answered_and_triaged("urgent").await;
    call.is_joined_by_a_clinician().await;
    call.is_decided(treated_at_home(&["conveyance", "admission"])).await;
    call.is_closed().await;
    if matches!(order, Order::RegistrationFirst) {
        assert_eq!(hub.hospital_sends(&admission.write()).await, "AA");
        hub.settled().await;
    }
    let mut kpi = hub.kpi(days_ago(9), tomorrow()).await;
    without_ids(&mut kpi);
    hub.stop().await;
    kpi
}

/// Ids are random, and the only thing that may differ.
fn without_ids(value: &mut Json) {
    match value {
        Json::String(text) if uuid::Uuid::parse_str(text).is_ok() => *text = "an id".to_owned(),
        Json::Array(items) => items.iter_mut().for_each(without_ids),
        Json::Object(fields) => fields.values_mut().for_each(without_ids),
        _ => {}
    }
}
