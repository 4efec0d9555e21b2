//! Speaks with the process that runs on a data folder, found by its `admin.json`.

use anyhow::{Context, bail};
use hearthline_runtime::admin::AdminFile;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// The answer of `/readyz` at `listen`; needs no token. An address that stands for every one of this machine's is asked by loopback.
pub async fn readiness(listen: SocketAddr) -> anyhow::Result<Value> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}/readyz", SocketAddr::new(ip, listen.port()));
    let http = hearthline_runtime::client::build(|c| c.timeout(Duration::from_secs(3)).no_proxy())?;
    let response = http.get(&url).send().await.with_context(|| format!("nothing answers at {url}"))?;
    response.json().await.with_context(|| format!("what answers at {url} is not Hearthline"))
}

/// A client of one running process, with the operator's token of its folder.
pub struct Client {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    pub fn of_folder(folder: &Path) -> anyhow::Result<Self> {
        let admin = AdminFile::read(folder)?;
        if cfg!(target_os = "linux") && !Path::new(&format!("/proc/{}", admin.pid)).exists() {
            bail!("nothing runs on {}: process {} ended without stopping; start it again, nothing acknowledged is lost", folder.display(), admin.pid);
        }
        let token =
            admin.token.context("admin.json holds no operator's token; the process uses another issuer: call its /ops routes with a token of that issuer")?;
        let http = hearthline_runtime::client::build(|c| c.timeout(Duration::from_secs(600)))?;
        Ok(Client { base: format!("http://{}", admin.http), token, http })
    }

    /// In somebody else's name.
    pub fn with_token(self, token: String) -> Self {
        Client { token, ..self }
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Self::answer(self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request =
            self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).header("idempotency-key", uuid::Uuid::new_v4().to_string()).json(body);
        Self::answer(request.send().await).await
    }

    pub async fn get_with_reason(&self, path: &str, reason: &str) -> anyhow::Result<Value> {
        Self::answer(self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).header("x-access-reason", reason).send().await).await
    }

    /// A search: it changes nothing, so that no key is sent.
    pub async fn search(&self, path: &str, body: &Value, reason: &str) -> anyhow::Result<Value> {
        Self::answer(self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).header("x-access-reason", reason).json(body).send().await).await
    }

    async fn answer(response: reqwest::Result<reqwest::Response>) -> anyhow::Result<Value> {
        let response = response.context("the process that admin.json names does not answer; is it still running?")?;
        let status = response.status();
        let body: Value = response.json().await.unwrap_or(Value::Null);
        if !status.is_success() {
            let fields = body["errors"].as_array().into_iter().flatten();
            let errors: Vec<String> =
                fields.map(|e| format!("{}: {}", e["field"].as_str().unwrap_or_default(), e["detail"].as_str().unwrap_or_default())).collect();
            let detail = body["detail"].as_str().map_or_else(|| errors.join("; "), str::to_owned);
            let title = body["title"].as_str().unwrap_or(status.as_str());
            bail!("{title}{}{detail}", if detail.is_empty() { "" } else { ": " });
        }
        Ok(body)
    }
}
