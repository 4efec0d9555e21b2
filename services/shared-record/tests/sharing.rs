//! Stories of sharing, from a call's facts to the shared record and the home's mailbox, over real sockets.

mod support;

use hearthline_contracts::call::{CallVoided, ConsentBasis};
use hearthline_contracts::directory::RegistrationSource;
use hearthline_contracts::types::IdentityStatus;
use hearthline_sandbox::Fault;
use serde_json::Value;
use support::*;

fn both_delivered(share: &Value) -> bool {
    state(share, "record_upload") == Some("confirmed") && state(share, "care_plan_email") == Some("confirmed")
}

/// A call about the registered resident with an outcome, a plan and a prescription, closed.
async fn consulted(world: &World) -> anyhow::Result<()> {
    world.open_call(RESIDENT, IdentityStatus::Identified).await?;
    world.decide().await?;
    world.prescribe().await?;
    world.close(&[PRESCRIPTION]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_call_reaches_the_record_and_the_home_once() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    consulted(&world).await?;
    let share = world.share(both_delivered).await?;
    assert_eq!((share["documents"].as_array().map(Vec::len), share["status"].as_str()), (Some(1), Some("composed")), "{share}");
    let documents = world.record.documents();
    assert_eq!(documents.len(), 1);
    let text = documents[0].resource.to_string();
    for said in [PLAN, FAMILY, NHS_NUMBER, "Amoxicillin", "Chest infection"] {
        assert!(text.contains(said), "{said}");
    }
    let mails = world.mail.mails_to(SECURE);
    assert_eq!(mails.len(), 1);
    let body = mails[0].text();
    assert!(body.contains(PLAN) && body.contains(FAMILY) && !body.contains(NHS_NUMBER));
    assert!(mails[0].subject.as_deref().is_some_and(|s| !s.contains(FAMILY)));
    let (status, read) = world.get(&format!("/shares/{}/document", uuid::Uuid::from_bytes(CALL))).await?;
    assert_eq!((status, read["type"].as_str()), (200, Some("document")));
    let audited = world.kernel.store.query("select count(*) from audit where action = 'document_read'", &[]).await?;
    assert_eq!(audited[0].int(0), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_answer_the_record_is_searched_and_nothing_is_created_twice() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.record.faults().script(Fault::lost_reply().on("create"))?;
    consulted(&world).await?;
    let share = world.share(both_delivered).await?;
    let id = share["documents"][0]["document_id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(world.record.times_created(&id), 1);
    assert_eq!(world.record.counts().matched, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_request_is_searched_for_and_sent_again() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.record.faults().script(Fault::lost_request().on("create"))?;
    consulted(&world).await?;
    world.share(both_delivered).await?;
    assert_eq!(world.record.documents().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_busy_is_tried_again() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.record.faults().script(Fault::status(503).on("create"))?;
    consulted(&world).await?;
    let share = world.share(both_delivered).await?;
    let upload = share["deliveries"].as_array().and_then(|d| d.iter().find(|d| d["kind"] == "record_upload").cloned());
    assert_eq!(upload.map(|d| d["attempt"].clone()), Some(2.into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_opens_a_task_and_the_mail_still_goes() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.record.faults().script(Fault::refuse("security").on("create"))?;
    consulted(&world).await?;
    let share = world.share(|s| state(s, "record_upload") == Some("refused") && state(s, "care_plan_email") == Some("confirmed")).await?;
    assert!(has_task(&share, "record_upload_failed"), "{share}");
    assert_eq!(share["deliveries"][0]["code"], "security");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_waits_for_the_consultation_that_it_names() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.open_call(RESIDENT, IdentityStatus::Identified).await?;
    world.close(&[PRESCRIPTION]).await?;
    world.share(|s| s["status"] == "waiting").await?;
    world.prescribe().await?;
    world.decide().await?;
    let share = world.share(both_delivered).await?;
    assert_eq!(share["documents"].as_array().map(Vec::len), Some(1), "the plan is in the first version: {share}");
    assert!(world.mail.mails()[0].text().contains(PLAN));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_was_to_follow_is_shared_when_it_comes() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.open_call(RESIDENT, IdentityStatus::Identified).await?;
    world.close_with_outcome_to_follow().await?;
    world.share(|s| s["status"] == "waiting").await?;
    world.decide().await?;
    world.share(both_delivered).await?;
    assert_eq!(world.mail.counts().mails, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_consent_withholds_and_nothing_leaves() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.open_call(RESIDENT, IdentityStatus::Identified).await?;
    world.consent(ConsentBasis::Refused).await?;
    world.decide().await?;
    world.close(&[]).await?;
    let share = world.share(|s| s["status"] == "withheld").await?;
    assert_eq!(share["deliveries"], serde_json::json!([]));
    assert!(world.record.documents().is_empty() && world.mail.mails().is_empty());
    // Given after all: shared after all.
    world.consent(ConsentBasis::Given).await?;
    world.share(both_delivered).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_voided_after_it_was_shared_is_retracted_with_a_task() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    consulted(&world).await?;
    world.share(both_delivered).await?;
    world.call("CallVoided", CallVoided::default(), None).await?;
    let share = world.share(|s| s["status"] == "withheld").await?;
    assert!(has_task(&share, "document_take_back") && share["documents"][0]["retracted"] == true, "{share}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_without_a_recently_verified_address_gets_a_task_and_no_mail() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.home("2020-01-01").await?;
    world.register(RESIDENT, RegistrationSource::Register).await?;
    consulted(&world).await?;
    let share = world.share(|s| state(s, "record_upload") == Some("confirmed")).await?;
    assert!(has_task(&share, "no_secure_email"), "{share}");
    assert_eq!(state(&share, "care_plan_email"), None);
    assert!(world.mail.mails().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upload_of_a_provisional_resident_waits_for_the_merge_and_the_mail_does_not() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.open_call(PROVISIONAL, IdentityStatus::Provisional).await?;
    world.decide().await?;
    world.close(&[]).await?;
    let share = world.share(|s| state(s, "care_plan_email") == Some("confirmed")).await?;
    assert_eq!(state(&share, "record_upload"), Some("due"), "{share}");
    assert!(world.record.documents().is_empty());
    world.merge(PROVISIONAL, RESIDENT).await?;
    let share = world.share(|s| state(s, "record_upload") == Some("confirmed")).await?;
    assert_eq!(share["documents"].as_array().map(Vec::len), Some(2), "{share}");
    let documents = world.record.documents();
    assert_eq!((documents.len(), documents[0].replaces.len()), (1, 0));
    assert!(documents[0].resource.to_string().contains(NHS_NUMBER));
    assert_eq!(world.mail.counts().mails, 1, "a clearer identity is no reason for a second mail");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisional_resident_who_is_registered_under_the_same_id_is_uploaded() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.open_call(PROVISIONAL, IdentityStatus::Provisional).await?;
    world.decide().await?;
    world.close(&[]).await?;
    world.share(|s| state(s, "care_plan_email") == Some("confirmed")).await?;
    world.register(PROVISIONAL, RegistrationSource::Call).await?;
    world.share(|s| state(s, "record_upload") == Some("confirmed")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_plan_makes_a_version_that_replaces_the_one_before() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    consulted(&world).await?;
    world.share(both_delivered).await?;
    world.plan("Oral antibiotics, review tomorrow", 2).await?;
    let share = world.share(|s| s["documents"][1]["uploaded"] == true && s["documents"][1]["emailed"] == true).await?;
    let documents = world.record.documents();
    assert_eq!((documents.len(), documents[0].superseded, documents[1].superseded), (2, true, false), "{share}");
    assert_eq!(world.mail.counts().mails, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_answer_was_lost_is_left_to_a_person_and_never_sent_twice() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.mail.faults().script(Fault::lost_reply().on("message"))?;
    consulted(&world).await?;
    let share = world.share(|s| state(s, "care_plan_email") == Some("unconfirmed") && state(s, "record_upload") == Some("confirmed")).await?;
    assert!(has_task(&share, "care_plan_email_unconfirmed"), "{share}");
    assert_eq!(world.mail.counts().mails, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_refused_for_good_fails_and_one_put_off_is_tried_again() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    world.mail.faults().script(Fault::status(451).on("message"))?;
    consulted(&world).await?;
    world.share(|s| state(s, "care_plan_email") == Some("confirmed")).await?;
    world.mail.faults().script(Fault::status(554).on("message"))?;
    world.plan("Another plan", 2).await?;
    let share = world.share(|s| state(s, "care_plan_email") == Some("refused")).await?;
    assert!(has_task(&share, "care_plan_email_failed"), "{share}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_numbers_and_plans_are_nowhere_on_disk() -> anyhow::Result<()> {
    let world = World::with_people().await?;
    consulted(&world).await?;
    world.share(both_delivered).await?;
    for entry in std::fs::read_dir(world.folder.path())? {
        let bytes = std::fs::read(entry?.path())?;
        for secret in [FAMILY, NHS_NUMBER, PLAN, "Amoxicillin"] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret}");
        }
    }
    Ok(())
}
