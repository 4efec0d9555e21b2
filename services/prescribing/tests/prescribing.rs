//! Stories of prescriptions, from the prescriber's request to the prescription service's answer, over real sockets.

mod support;

use hearthline_contracts::directory::{MergeProposed, ResidentDied};
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::types::IdentityStatus;
use hearthline_runtime::auth::Role;
use hearthline_sandbox::Fault;
use serde_json::json;
use support::*;

fn sign(id: &str) -> String {
    format!("/prescriptions/{id}/sign")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_drafted_given_the_nearest_open_pharmacy_signed_and_accepted() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let id = world.draft().await?;
    let open = world.see_pharmacies().await?;
    assert_eq!(open["pharmacies"][0]["ods_code"], "FA001");
    assert_eq!((&open["pharmacies"][0]["nearest"], &open["pharmacies"][1]["nearest"]), (&json!(true), &json!(false)));

    let choose = format!("/prescriptions/{id}/pharmacy");
    let (status, refused) = world.post(&choose, "a", &json!({ "pharmacy_id": uuid(SHUT) })).await?;
    assert_eq!((status, &refused["code"]), (422, &json!("pharmacy_closed")));
    let (status, refused) = world.post(&choose, "b", &json!({ "pharmacy_id": uuid(FAR) })).await?;
    assert_eq!((status, &refused["code"]), (422, &json!("override_reason_needed")));
    let (status, refused) = world.post(&sign(&id), "too-early", &json!({})).await?;
    assert_eq!((status, &refused["code"]), (422, &json!("pharmacy_not_chosen")));
    let (status, chosen) = world.post(&choose, "c", &json!({ "pharmacy_id": uuid(NEAR) })).await?;
    assert_eq!((status, &chosen["version"]), (200, &json!(2)));

    let (status, signed) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!((status, &signed["status"], &signed["version"]), (200, &json!("accepted"), &json!(5)), "{signed}");
    let orders = world.eps.orders();
    assert_eq!(orders.len(), 1);
    assert_eq!(json!(orders[0].prescription_id), signed["order_number"]);

    let (_, again) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!((&again["status"], &again["version"]), (&json!("accepted"), &json!(5)));
    let (status, other) = world.post(&sign(&id), "another-key", &json!({})).await?;
    assert_eq!((status, &other["code"]), (422, &json!("already_signed")));
    // The choice is a repeat of something done before the order was signed.
    let (status, repeat) = world.post(&choose, "c", &json!({ "pharmacy_id": uuid(NEAR) })).await?;
    assert_eq!((status, &repeat["version"]), (200, &json!(2)));
    assert_eq!(world.eps.orders()[0].times_submitted, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_the_order_unconfirmed_and_the_repeat_sends_the_same_bundle() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let id = world.ready().await?;
    world.eps.faults().script(Fault::lost_reply().on("order"))?;
    let (_, first) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!(first["status"], "unconfirmed", "{first}");
    let tasks = world.get("/tasks/prescribing").await?;
    assert_eq!(tasks["tasks"][0]["kind"], "prescription_unconfirmed");

    let (_, second) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!(second["status"], "accepted", "{second}");
    assert_eq!(second["order_number"], first["order_number"]);
    let order = &world.eps.orders()[0];
    assert_eq!((world.eps.orders().len(), order.times_submitted, order.times_differing), (1, 2, 0));
    assert_eq!(world.get("/tasks/prescribing").await?["tasks"], json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_request_is_sent_again_by_the_repeat() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let id = world.ready().await?;
    world.eps.faults().script(Fault::lost_request().on("order"))?;
    let (_, first) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!((&first["status"], world.eps.orders().len()), (&json!("unconfirmed"), 0));
    let (_, second) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!((&second["status"], world.eps.orders().len()), (&json!("accepted"), 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_order_is_rejected_with_the_services_code_and_a_task() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let id = world.ready().await?;
    world.eps.faults().script(Fault::refuse("PATIENT_DECEASED").on("order"))?;
    let (_, signed) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!((&signed["status"], &signed["code"]), (&json!("rejected"), &json!("PATIENT_DECEASED")));
    let shown = world.get(&format!("/prescriptions/{id}")).await?;
    assert_eq!((&shown["status"], &shown["tasks"][0]["kind"]), (&json!("rejected"), &json!("prescription_rejected")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_when_the_service_does_not_prepare() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let id = world.ready().await?;
    world.eps.faults().script(Fault::lost_reply().on("prepare"))?;
    let (status, _) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!(status, 503);
    assert_eq!(world.get(&format!("/prescriptions/{id}")).await?["status"], "draft");
    let (_, signed) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!(signed["status"], "accepted");
    Ok(())
}

/// Signs with a fresh key each time until the code is that of a fact that has just been published.
async fn refused_eventually(world: &World, id: &str, code: &str) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    for n in 0.. {
        let (status, reply) = world.post(&sign(id), &format!("try-{n}"), &json!({ "occurred_at": null })).await?;
        if status == 422 && reply["code"] == code {
            return Ok(());
        }
        anyhow::ensure!(status != 200, "it was signed");
        anyhow::ensure!(begun.elapsed() < std::time::Duration::from_secs(60), "it stays {reply}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    anyhow::bail!("numbers end")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_somebody_unknown_pending_or_dead_is_not_signed() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.register_places().await?;
    world.open_call(IdentityStatus::Provisional).await?;
    let id = world.ready().await?;
    refused_eventually(&world, &id, "resident_provisional").await?;
    world
        .directory([5; 16], "MergeProposed", MergeProposed { from_id: support::id(RESIDENT), into_id: support::id([5; 16]), ..Default::default() }, None)
        .await?;
    refused_eventually(&world, &id, "merge_pending").await?;
    world.register_resident().await?;
    world.directory(RESIDENT, "ResidentDied", ResidentDied { died_on: "2026-01-01".into(), ..Default::default() }, None).await?;
    refused_eventually(&world, &id, "resident_died").await?;
    assert!(world.eps.orders().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_version_that_has_not_arrived_is_waited_for_and_then_not_here_yet() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let (status, reply) = world.post("/prescriptions", "draft", &draft_of(9)).await?;
    assert_eq!((status, &reply["code"]), (503, &json!("not_here_yet")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_prescriber_who_is_present_signs() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let id = world.ready().await?;
    let (status, reply) = world.post_as(&world.token(Role::Prescriber, false), &sign(&id), "sign", &json!({})).await?;
    assert_eq!((status, &reply["code"]), (403, &json!("session_needed")));
    let (status, reply) = world.post_as(&world.token(Role::Clinician, true), &sign(&id), "sign", &json!({})).await?;
    assert_eq!((status, &reply["code"]), (403, &json!("role_not_allowed")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medicine_code_with_a_wrong_check_digit_is_refused_by_its_field() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let mut body = draft_of(1);
    body["items"][0]["dmd_code"] = json!("39732311000001105");
    let (status, reply) = world.post("/prescriptions", "draft", &body).await?;
    assert_eq!((status, &reply["errors"][0]["field"]), (400, &json!("items[0].dmd_code")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_numbers_medicines_and_tokens_are_nowhere_on_disk() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let id = world.ready().await?;
    let token = world.token(Role::Prescriber, true);
    let (_, signed) = world.post_as(&token, &sign(&id), "sign", &json!({})).await?;
    assert_eq!(signed["status"], "accepted");
    for entry in std::fs::read_dir(world.folder.path())? {
        let bytes = std::fs::read(entry?.path())?;
        for secret in [FAMILY, NHS_NUMBER, MEDICINE, token.as_str()] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_deployment_without_a_signing_service_signs_nothing() -> anyhow::Result<()> {
    let world = World::start_in(Environment::Live).await?;
    world.register_places().await?;
    world.register_resident().await?;
    world.open_call(IdentityStatus::Identified).await?;
    let id = world.ready().await?;
    let (status, reply) = world.post(&sign(&id), "past", &json!({ "occurred_at": "2026-01-01T00:00:00Z" })).await?;
    assert_eq!((status, &reply["code"]), (422, &json!("signing_cannot_be_retrospective")));
    let (status, reply) = world.post(&sign(&id), "now", &json!({})).await?;
    assert_eq!((status, &reply["code"]), (422, &json!("no_signing_service")));
    assert!(world.eps.orders().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_process_ended_becomes_unconfirmed_and_can_be_repeated() -> anyhow::Result<()> {
    let world = World::with_a_call().await?;
    let id = world.ready().await?;
    world.eps.faults().script(Fault::lost_reply().on("order"))?;
    world.post(&sign(&id), "sign", &json!({})).await?;
    world.begin_in_another_process(&id).await?;
    world.eventually(&format!("/prescriptions/{id}"), |p| p["delivery"]["state"] == "unconfirmed" && p["delivery"]["attempt"] == 2).await?;
    let (_, again) = world.post(&sign(&id), "sign", &json!({})).await?;
    assert_eq!((&again["status"], world.eps.orders().len()), (&json!("accepted"), 1));
    Ok(())
}
