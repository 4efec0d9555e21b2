//! An all-in-one in this process, with its sockets, and people with tokens at them.

use bytes::BytesMut;
use hearthline::ops::Ops;
use hearthline::up;
use hearthline_interop::hl7v2::{Message, Reply};
use hearthline_interop::mllp::{Decoder, Event, encode};
use hearthline_nhs::{HomeId, OdsCode};
use hearthline_runtime::auth::{Grant, Issuer, Role};
use hearthline_runtime::client;
use hearthline_runtime::config::{Config, Sources};
use hearthline_runtime::http::AccessRow;
use hearthline_runtime::telemetry::Telemetry;
use hearthline_tests::PATIENCE;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// The hub's own organisation; not a code in use.
pub const HUB: &str = "ZH100";
const TOKENS_FOR: Duration = Duration::from_secs(3_600);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A hub for tests, with small limits and one hospital.
pub const SMALL: &str = r#"
environment = "test"
controller_ods = "ZH100"
[server]
listen = "127.0.0.1:0"
body_limit_bytes = 16384
[telemetry]
log_level = "debug"
[mllp]
listen = "127.0.0.1:0"
frame_limit_bytes = 4096
[[mllp.peer]]
name = "Southampton"
facility_ods = "RHM"
home_level_visits_from = "2020-01-01"
home_level_visits_purpose = "evaluation of the telemedicine service"
home_level_visits_lawful_basis = "UK GDPR 6(1)(e)"
"#;

pub struct Running {
    pub http: SocketAddr,
    pub mllp: SocketAddr,
    pub access: Vec<AccessRow>,
    pub ops: Ops,
    pub issuer: Issuer,
    pub client: reqwest::Client,
    pub log: Log,
    stop: CancellationToken,
    run: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// Log lines of one instance, kept in memory.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A configuration as TOML, on a data folder.
pub fn config(toml: &str, folder: &Path) -> Config {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), toml).expect("written");
    config_file(file.path().to_owned(), folder)
}

/// A configuration file, on a data folder.
pub fn config_file(file: PathBuf, folder: &Path) -> Config {
    let overrides = vec![format!("data.folder={}", folder.display())];
    Config::load(&Sources { file: Some(file), environment: Vec::new(), overrides }).expect("a sound configuration")
}

impl Running {
    pub async fn start(toml: &str, folder: &Path, sandbox: bool) -> Self {
        Self::configured(&config(toml, folder), sandbox).await
    }

    pub async fn configured(config: &Config, sandbox: bool) -> Self {
        let log = Log::default();
        let writer = log.clone();
        let telemetry = Telemetry::start_logging_to(&config.telemetry, BoxMakeWriter::new(move || writer.clone())).expect("telemetry starts");
        let started = up::start(config, &Arc::new(telemetry), sandbox, None).await.expect("it starts");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        Running {
            http: started.http,
            mllp: started.mllp.expect("hospital messages are listened for"),
            access: started.access.clone(),
            ops: started.ops.clone(),
            issuer: Issuer::open(&config.data.folder, "hearthline", "hearthline").expect("the folder's issuer"),
            client: client::build(|shape| shape.timeout(ANSWER_WITHIN)).expect("a client"),
            log,
            stop,
            run: tokio::spawn(async move { started.run(stopped.cancelled_owned()).await }),
        }
    }

    /// Stops it in order and waits for the end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.run.await.expect("it does not panic").expect("it stops in order");
    }

    pub fn token(&self, role: Role) -> String {
        self.token_of(role, None, SystemTime::now())
    }

    /// A token valid for an hour from `from`, of a home where one is given.
    pub fn token_of(&self, role: Role, home: Option<&str>, from: SystemTime) -> String {
        let home = home.map(|home| HomeId::parse(home).expect("a home's id"));
        let home = home.or((role == Role::CareHome).then(|| HomeId::from_bytes([9; 16])));
        self.issuer.token(&grant(role, home, true), from, TOKENS_FOR).expect("signed")
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.http))
    }

    pub async fn get(&self, role: Role, path: &str) -> Answer {
        let request = self.request(Method::GET, path).bearer_auth(self.token(role)).header("x-access-reason", "looking after a resident");
        Answer::of(request).await
    }

    pub async fn post(&self, role: Role, path: &str, body: &Value) -> Answer {
        let key = uuid::Uuid::new_v4().to_string();
        Answer::of(self.request(Method::POST, path).bearer_auth(self.token(role)).header("idempotency-key", key).json(body)).await
    }

    /// Loads homes by ODS code and returns their ids in order, known to every service.
    pub async fn homes(&self, ods_codes: &[&str]) -> Vec<String> {
        let mut csv = "ods_code,name,address_line_1,town,postcode,beds,home_type,controller_ods,live_from\n".to_owned();
        for (n, ods) in ods_codes.iter().enumerate() {
            csv.push_str(&format!("{ods},Home {n},{} High Street,Southampton,SO16 {n}YD,30,nursing,AZ100,2020-01-01\n", n + 1));
        }
        let request = self.request(Method::POST, "/registers/homes").bearer_auth(self.token(Role::Operator));
        let answer = Answer::of(request.header("idempotency-key", "homes").header("content-type", "text/csv").body(csv)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let ids = answer.body["rows"].as_array().expect("rows").iter().map(|row| row["id"].as_str().unwrap_or_else(|| panic!("{row}")).to_owned()).collect();
        self.settled().await;
        ids
    }

    /// Waits until nothing is on its way any more: two looks in a row see the same, and nothing under way.
    pub async fn settled(&self) {
        let begun = Instant::now();
        let mut before = Value::Null;
        loop {
            let status = self.ops.status().await.expect("the stores answer");
            let positions: Value = status["services"].as_array().into_iter().flatten().map(|service| service["position"].clone()).collect();
            if status["settled"] == true && positions == before {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "it did not come to rest: {status:#}");
            before = positions;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How many rows each table that a command may write has, by service.
    pub async fn rows(&self) -> BTreeMap<(&'static str, &'static str), i64> {
        let mut rows = BTreeMap::new();
        for service in self.ops.services.iter() {
            for table in ["events", "claims", "timers", "deliveries", "blobs", "inbox", "parked", "seen"] {
                let counted = service.kernel.store.query(&format!("select count(*) from {table}"), &[]).await.expect("counted");
                rows.insert((service.name, table), counted[0].int(0));
            }
        }
        rows
    }

    /// The `/metrics` text.
    pub async fn metrics(&self) -> String {
        self.request(Method::GET, "/metrics").send().await.expect("answered").text().await.expect("text")
    }
}

pub fn grant(role: Role, home: Option<HomeId>, session: bool) -> Grant {
    Grant { subject: format!("somebody in the role {role}"), role, org: OdsCode::parse(HUB).expect("an ODS code"), home, session }
}

/// An answer over HTTP.
pub struct Answer {
    pub status: u16,
    pub text: String,
    pub body: Value,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("it answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("the answer is text");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, text, body }
    }

    /// The problem's code; empty where it is none.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The stream of a receipt.
    pub fn stream(&self) -> String {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text);
        self.body["stream"].as_str().expect("a receipt").to_owned()
    }
}

/// A hospital's line.
pub struct Sender {
    stream: TcpStream,
    decoder: Decoder,
}

impl Sender {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        Sender { stream, decoder: Decoder::new(1 << 20) }
    }

    /// As [`Sender::connect`], where nothing may be listening.
    pub async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Sender { stream: TcpStream::connect(address).await?, decoder: Decoder::new(1 << 20) })
    }

    /// As [`Sender::send`], where the line may be gone.
    pub async fn try_send(&mut self, message: &[u8]) -> std::io::Result<()> {
        let mut framed = BytesMut::new();
        encode(message, &mut framed);
        self.stream.write_all(&framed).await
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }

    pub async fn send(&mut self, message: &[u8]) {
        let mut framed = BytesMut::new();
        encode(message, &mut framed);
        self.write(&framed).await;
    }

    /// The next reply and its text; none where the line was closed instead.
    pub async fn reply(&mut self) -> Option<(Reply, String)> {
        let mut chunk = [0; 4_096];
        loop {
            if let Some(event) = self.decoder.poll() {
                let Event::Frame(frame) = event else { panic!("the reply is no frame: {event:?}") };
                let message = Message::parse(&frame).expect("a reply is HL7");
                return Some((Reply::of(&message).expect("a reply acknowledges something"), String::from_utf8_lossy(&frame).into_owned()));
            }
            let read = tokio::time::timeout(ANSWER_WITHIN, self.stream.read(&mut chunk)).await.expect("it answers or closes");
            match read {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.decoder.push(&chunk[..n]),
            }
        }
    }

    pub async fn exchange(&mut self, message: &[u8]) -> (Reply, String) {
        self.send(message).await;
        self.reply().await.expect("the line stays open")
    }
}
