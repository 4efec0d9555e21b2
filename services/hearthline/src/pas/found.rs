//! Messages of a selection, page by page: `pas messages` and `pas reprocess`.

use super::MessagesArgs;
use crate::admin_client::Client;
use crate::cli::table;
use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Messages of one request: fewer than the process gives, so that it can say whether there are more.
const PAGE: usize = 500;
const SHOWN: usize = 50;

/// `pas messages`: those that the filters find, and how the next are seen.
pub(super) async fn messages(client: &Client, args: &MessagesArgs) -> anyhow::Result<(Value, String)> {
    let (messages, next) = found(client, args, None, args.limit.map_or(SHOWN, |limit| limit as usize)).await?;
    let hint = if messages.is_empty() { hint(client, args).await? } else { None };
    let answer = json!({ "messages": messages, "next": next });
    let columns = ["id", "received_at", "peer", "type", "control_id", "reply", "outcome", "why", "effect"];
    let mut text = table(&answer, "messages", &columns);
    if let Some(next) = next {
        text.push_str(&format!("\n{} of more: --limit {} shows as many, --before {next} goes on", messages.len(), 10 * messages.len()));
    }
    text.extend(hint.map(|hint| format!(": {hint}")));
    Ok((answer, text))
}

/// `pas reprocess`: the message named, or all that the filters find, the oldest first.
pub(super) async fn reprocess(client: &Client, id: Option<uuid::Uuid>, args: &MessagesArgs, dry_run: bool) -> anyhow::Result<(Value, String)> {
    if id.is_none() && !dry_run && !args.is_selective() {
        bail!(
            "nothing is selected: name a message, or give --peer, --type, --control-id, --nhs-number, --outcome, --from or --to; --dry-run says what would follow"
        );
    }
    let ids = match id {
        Some(id) => vec![json!(id)],
        None => {
            let (messages, _) = found(client, args, Some("in"), args.limit.map_or(usize::MAX, |limit| limit as usize)).await?;
            messages.iter().rev().map(|message| message["id"].clone()).collect()
        }
    };
    let mut judged = Vec::with_capacity(ids.len());
    for page in ids.chunks(PAGE) {
        let answer = client.post("/pas/reprocess", &json!({ "ids": page, "dry_run": dry_run })).await;
        let answer = answer.with_context(|| format!("{} of {} messages were done; doing them again has no second effect", judged.len(), ids.len()))?;
        judged.extend(answer["messages"].as_array().into_iter().flatten().cloned());
    }
    let answer = json!({ "dry_run": dry_run, "messages": judged });
    let text = table(&answer, "messages", &["id", "control_id", "was", "becomes", "events", "why"]);
    Ok((answer, text))
}

/// At most so many messages, the newest first; and where the next begin, if there are more.
async fn found(client: &Client, args: &MessagesArgs, direction: Option<&str>, most: usize) -> anyhow::Result<(Vec<Value>, Option<i64>)> {
    let mut messages: Vec<Value> = Vec::new();
    let mut before = args.before;
    loop {
        let mut body = args.body();
        body["limit"] = json!((most - messages.len()).min(PAGE));
        for (name, value) in [("before", before.map(Value::from)), ("direction", direction.map(Value::from))] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let answer = client.search("/pas/messages/search", &body, args.reason.as_deref().unwrap_or("looking after a feed")).await?;
        messages.extend(answer["messages"].as_array().into_iter().flatten().cloned());
        before = answer["next"].as_i64();
        if before.is_none() || messages.len() >= most {
            return Ok((messages, before));
        }
    }
}

/// Why nothing may have been found.
async fn hint(client: &Client, args: &MessagesArgs) -> anyhow::Result<Option<String>> {
    if args.kind.as_ref().is_some_and(|kind| !kind.contains('^')) {
        return Ok(Some("--type is what MSH-9 says, letter by letter, such as ADT^A01".to_owned()));
    }
    let Some(peer) = &args.peer else { return Ok(None) };
    let answer = client.get("/pas/peers").await?;
    let names: Vec<&str> = answer["peers"].as_array().into_iter().flatten().filter_map(|peer| peer["name"].as_str()).collect();
    Ok((!names.contains(&peer.as_str())).then(|| super::no_peer(peer, &names)))
}
