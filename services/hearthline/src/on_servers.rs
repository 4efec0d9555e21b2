//! What operators ask of the whole distributed edition: no one process knows every service, so these commands go to the stores,
//! as each service.

use crate::ops::{republished, standing, who_is_behind};
use crate::up;
use anyhow::bail;
use hearthline_contracts::LEVEL;
use hearthline_eventing::{AuditRow, Store, Unit, now_us, request_republish, upgrade};
use hearthline_runtime::config::Config;
use hearthline_store::Managed;
use serde_json::{Value, json};
use std::sync::Arc;

/// The stores of the services named, or of all.
struct Stores(Vec<(&'static str, Arc<dyn Managed>)>);

impl Stores {
    async fn open(config: &Config, only: Option<&str>) -> anyhow::Result<Self> {
        Ok(Stores(up::stores(config, only).await?))
    }

    fn ports(&self) -> Vec<(&str, Arc<dyn Store>)> {
        self.0.iter().map(|(name, store)| (*name, store.clone() as Arc<dyn Store>)).collect()
    }

    async fn close(self) {
        for (_, store) in self.0 {
            store.close().await;
        }
    }
}

/// Who did it is known to the machine on which it was typed.
fn audit(config: &Config, action: &'static str, why: String) -> AuditRow {
    AuditRow { at: now_us(), role: "operator", pseudonym: [0; 16], organisation: config.controller_ods.to_string(), action, whose: None, why }
}

pub async fn upgrade_status(config: &Config) -> anyhow::Result<Value> {
    let stores = Stores::open(config, None).await?;
    let answer = standing(&stores.ports()).await;
    stores.close().await;
    Ok(answer?)
}

pub async fn upgrade_finalise(config: &Config) -> anyhow::Result<Value> {
    let stores = Stores::open(config, None).await?;
    let done = async {
        let state = match upgrade::finalise(&stores.ports(), LEVEL, now_us()).await? {
            upgrade::Finalised::Behind(behind) => bail!(who_is_behind(&behind)),
            upgrade::Finalised::Already => "already",
            upgrade::Finalised::Done => {
                for (_, store) in &stores.0 {
                    let row = audit(config, "upgrade_finalised", format!("level {LEVEL}"));
                    store.append(Unit { audit: vec![row], ..Unit::default() }).await?;
                }
                "done"
            }
        };
        Ok(json!({ "level": LEVEL, "state": state }))
    }
    .await;
    stores.close().await;
    done
}

pub async fn republish(config: &Config, service: &str) -> anyhow::Result<Value> {
    let stores = Stores::open(config, Some(service)).await?;
    let row = audit(config, "republish", "every event of the service is published again".to_owned());
    let requested = match stores.0.first() {
        Some((_, store)) => request_republish(store.as_ref(), Unit { audit: vec![row], ..Unit::default() }).await,
        None => bail!("there is no service {service:?}"),
    };
    stores.close().await;
    Ok(republished(service, requested?))
}
