//! The driver as the person who settles what nobody confirmed: it asks the receiver whether the thing arrived, then says so or
//! has it sent again.

use anyhow::bail;
use hearthline_runtime::auth::Role;
use hearthline_sandbox::Sandbox;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::hub::Hub;

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(15);
/// States in which a delivery stays.
const FINAL: [&str; 3] = ["confirmed", "refused", "expired"];

/// Waits until everything that a call's documents set going has come to its end.
pub async fn delivered(hub: &Hub, sandbox: &Sandbox, call_id: &str) -> anyhow::Result<()> {
    hub.pause().await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let share = hub.get_if_there(Role::Operator, &format!("/shares/{call_id}")).await?;
        if share.as_ref().is_some_and(is_final) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the deliveries of a call did not end within {} s: {}", PATIENCE.as_secs(), share.unwrap_or_default());
        }
        unconfirmed(hub, sandbox).await?;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn is_final(share: &Value) -> bool {
    let deliveries = share["deliveries"].as_array().map_or(&[][..], Vec::as_slice);
    match share["status"].as_str() {
        Some("withheld" | "retracted") => true,
        _ => !deliveries.is_empty() && deliveries.iter().all(|delivery| delivery["state"].as_str().is_some_and(|state| FINAL.contains(&state))),
    }
}

/// Waits until nothing in the hub is on its way any more.
pub async fn settled(hub: &Hub, sandbox: &Sandbox) -> anyhow::Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = Value::Null;
    loop {
        unconfirmed(hub, sandbox).await?;
        let status = look(hub).await?;
        // The services are looked at one after the other; only the same picture twice is a whole one.
        let positions: Value = status["services"].as_array().into_iter().flatten().map(|service| service["position"].clone()).collect();
        if status["settled"] == true && positions == before {
            return Ok(status);
        }
        if Instant::now() > deadline {
            bail!("the hub did not come to rest within {} s: {status}", PATIENCE.as_secs());
        }
        before = positions;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What every process says of its services, and whether all are at rest.
async fn look(hub: &Hub) -> anyhow::Result<Value> {
    let (mut services, mut settled) = (Vec::new(), true);
    for process in 0..hub.serving.len() {
        let status = hub.get_at(&[process], Role::Operator, "/ops/status").await?;
        settled &= status["settled"] == true;
        services.extend(status["services"].as_array().into_iter().flatten().cloned());
    }
    Ok(json!({ "services": services, "settled": settled }))
}

/// Settles every email that stands unconfirmed. Prescriptions are the prescriber's to repeat.
pub async fn unconfirmed(hub: &Hub, sandbox: &Sandbox) -> anyhow::Result<()> {
    for at in hub.serving.groups() {
        of_service(hub, sandbox, at).await?;
    }
    Ok(())
}

/// Asks one process of a service alone: another's list of a moment ago would be settled twice.
async fn of_service(hub: &Hub, sandbox: &Sandbox, at: &[usize]) -> anyhow::Result<()> {
    let listed = hub.get_at(at, Role::Operator, "/ops/deliveries?state=unconfirmed").await?;
    for delivery in listed["deliveries"].as_array().into_iter().flatten() {
        let (Some(id), Some(kind)) = (delivery["id"].as_str(), delivery["kind"].as_str()) else { continue };
        let arrived = match kind {
            "care_plan_email" => mail_of(sandbox, id),
            // The shared record is asked by the hub itself.
            _ => continue,
        };
        let key = format!("settle-{id}-{}", delivery["attempt"]);
        match arrived {
            Some(reference) => hub.settle(at, &format!("/ops/deliveries/{id}/confirm"), &key, &json!({ "reference": reference })).await?,
            None => hub.settle(at, &format!("/ops/deliveries/{id}/resend"), &key, &json!({})).await?,
        }
    }
    Ok(())
}

fn mail_of(sandbox: &Sandbox, delivery: &str) -> Option<String> {
    // The Message-ID of every attempt begins with the delivery's id.
    sandbox.smtp.mails().into_iter().filter_map(|mail| mail.message_id).find(|id| id.starts_with(delivery))
}
