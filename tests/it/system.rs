//! A whole Hearthline in a temporary folder, on ports of its own, in a runtime and under a telemetry of its own, with the
//! outside systems' stand-ins beside it. The tests are the people around it: they speak HTTP and MLLP.

use bytes::BytesMut;
use hearthline::ops::Ops;
use hearthline::up;
use hearthline_interop::hl7v2::{Message, Reply as Hl7Reply};
use hearthline_interop::mllp;
use hearthline_nhs::{HomeId, OdsCode, StreamId};
use hearthline_runtime::auth::{Grant, Issuer, Role};
use hearthline_runtime::client;
use hearthline_runtime::config::{Config, Sources};
use hearthline_runtime::telemetry::Telemetry;
use hearthline_sandbox::{Ports, Sandbox};
use hearthline_tests::servers::{Kafka, Postgres, server};
use hearthline_tests::{PATIENCE, until};
use serde_json::Value as Json;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The organisation that runs the hub.
pub const HUB: &str = "QRL";
/// The hospital whose messages arrive.
pub const HOSPITAL: &str = "RHU03";
/// How long after a call a visit contradicts, and how much longer messages may take, in hours.
pub const WINDOW_H: i64 = 72;
pub const FEED_LAG_H: i64 = 24;

/// A running system.
pub struct System {
    pub http: SocketAddr,
    pub mllp: SocketAddr,
    /// The prescription service, the shared record and the mail server.
    pub sandbox: Arc<Sandbox>,
    ops: Ops,
    issuer: Issuer,
    client: reqwest::Client,
    stop: CancellationToken,
    running: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
    _servers: Option<Servers>,
}

/// Databases and topics of one system's own.
struct Servers {
    stores: Postgres,
    keys: Postgres,
    log: Kafka,
    passwords: String,
}

impl Servers {
    async fn new() -> Option<Self> {
        let passwords = server("postgres", "HEARTHLINE_TEST_POSTGRES_PASSWORDS")?;
        Some(Servers { stores: Postgres::as_deployed().await?, keys: Postgres::as_deployed().await?, log: Kafka::new().await?, passwords })
    }

    fn toml(&self, folder: &Path) -> String {
        let Servers { stores, keys, log, passwords } = self;
        let (place, options) = (&stores.database, &log.options);
        format!(
            "\n[postgres]\nhost = \"{}\"\nport = {}\ndatabase = \"{}\"\nkeyring_database = \"{}\"\npassword_folder = \"{passwords}\"\ntls = \"disabled\"\n\n\
             [kafka]\nbrokers = \"{}\"\ntopic_prefix = \"{}\"\ngroup_prefix = \"{}\"\nreplication_factor = 1\n\n[keyring]\nkek_file = \"{}\"\n",
            place.host,
            place.port,
            place.name,
            keys.database.name,
            options.brokers,
            options.topic_prefix,
            options.group_prefix,
            folder.join("kek").display()
        )
    }
}

/// What the thread that runs a system tells once it is ready.
struct Ready {
    http: SocketAddr,
    mllp: SocketAddr,
    ops: Ops,
    sandbox: Arc<Sandbox>,
}

/// An answer over HTTP.
pub struct Reply {
    pub status: u16,
    pub body: Json,
    /// The trace that the request began.
    pub trace_id: Option<String>,
}

impl Reply {
    /// The body of an answer that was expected; otherwise the test fails with what came.
    pub fn ok(self) -> Json {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }

    /// The status and code of a refusal.
    pub fn refused(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl System {
    pub async fn start() -> Self {
        Self::start_telling(None).await
    }

    /// With an OTLP receiver that is told of every span and metric.
    pub async fn start_telling(receiver: Option<&str>) -> Self {
        Self::start_on(receiver, None).await
    }

    /// On PostgreSQL and Kafka; `None` where they are not at hand.
    pub async fn start_on_servers() -> Option<Self> {
        let servers = Servers::new().await?;
        Some(Self::start_on(None, Some(servers)).await)
    }

    async fn start_on(receiver: Option<&str>, servers: Option<Servers>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let stop = CancellationToken::new();
        let (ready, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("hearthline".to_owned());
        let (path, receiver, stopped) = (folder.path().to_owned(), receiver.map(str::to_owned), stop.clone());
        let behind = servers.as_ref().map(|s| s.toml(folder.path())).unwrap_or_default();
        let running = thread.spawn(move || run(&path, receiver.as_deref(), &behind, stopped, ready)).expect("a thread");
        let Ready { http, mllp, ops, sandbox } = told.await.expect("it starts; if not, its thread has said why");
        let issuer = Issuer::open(folder.path(), "hearthline", "hearthline").expect("the folder's issuer");
        let client = client::build(|shape| shape).expect("a client");
        System { http, mllp, sandbox, ops, issuer, client, stop, running: Some(running), _folder: folder, _servers: servers }
    }

    /// A token for an hour.
    pub fn token(&self, role: Role, home: Option<&str>) -> String {
        let grant = Grant {
            subject: format!("a person in the role {role}"),
            role,
            org: OdsCode::parse(HUB).expect("a code"),
            home: home.map(|id| HomeId::parse(id).expect("an id")),
            session: role == Role::Prescriber,
        };
        self.issuer.token(&grant, SystemTime::now(), Duration::from_secs(3_600)).expect("a token")
    }

    pub async fn post(&self, role: Role, path: &str, body: Json) -> Reply {
        let request = self.client.post(self.url(path)).json(&body).bearer_auth(self.token(role, None));
        self.send(request).await
    }

    pub async fn get(&self, role: Role, path: &str) -> Reply {
        self.send(self.client.get(self.url(path)).bearer_auth(self.token(role, None))).await
    }

    /// With a token of one's own making.
    pub async fn get_with(&self, token: &str, path: &str) -> Reply {
        self.send(self.client.get(self.url(path)).bearer_auth(token)).await
    }

    /// Loads a register's only row and gives its id.
    pub async fn register(&self, register: &str, csv: &str) -> String {
        let request = self.client.post(self.url(&format!("/registers/{register}"))).header("content-type", "text/csv").body(csv.to_owned());
        let body = self.send(request.bearer_auth(self.token(Role::Operator, None))).await.ok();
        assert_eq!(body["rows"][0]["outcome"], "registered", "{body}");
        text(&body["rows"][0], "id")
    }

    /// What anybody may read.
    pub async fn public(&self, path: &str) -> String {
        let answer = self.client.get(self.url(path)).send().await.expect("an answer");
        answer.text().await.expect("text")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let request = request.header("x-access-reason", "direct care").header("idempotency-key", uuid::Uuid::new_v4().to_string());
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let traceparent = answer.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let trace_id = traceparent.and_then(|value| value.split('-').nth(1)).map(str::to_owned);
        let body = answer.bytes().await.expect("a body");
        Reply { status, body: serde_json::from_slice(&body).unwrap_or(Json::Null), trace_id }
    }

    /// Sends one hospital message on a connection of its own and gives the code of the reply.
    pub async fn hospital_sends(&self, message: &[u8]) -> &'static str {
        let mut stream = TcpStream::connect(self.mllp).await.expect("a connection");
        let mut framed = BytesMut::new();
        mllp::encode(message, &mut framed);
        stream.write_all(&framed).await.expect("sent");
        let mut decoder = mllp::Decoder::new(1 << 20);
        let mut buffer = [0; 4_096];
        loop {
            if let Some(mllp::Event::Frame(frame)) = decoder.poll() {
                let reply = Message::parse(&frame).expect("a readable reply");
                return Hl7Reply::of(&reply).expect("a reply has an MSA").code.code();
            }
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("a reply in time").expect("a reply");
            assert!(read > 0, "the connection was closed without a reply");
            decoder.push(&buffer[..read]);
        }
    }

    /// Waits until nothing is on its way: what was said has had all its consequences.
    pub async fn settled(&self) {
        // One look goes from service to service; only two alike say that nothing moved between them.
        let before = std::sync::Mutex::new(None);
        let look = async || {
            let status = self.get(Role::Operator, "/ops/status").await.ok();
            let services = status["services"].as_array().expect("services");
            let positions: Vec<Json> = services.iter().map(|s| s["position"].clone()).collect();
            let is_same = before.lock().expect("nobody panicked").replace(positions.clone()) == Some(positions);
            (status["settled"] == true && is_same).then_some(())
        };
        until("everything has settled", look).await;
        let parked = self.get(Role::Operator, "/ops/parked").await.ok();
        assert_eq!(parked["records"], serde_json::json!([]), "something was parked");
    }

    /// The figures of the three weeks from the one with this day, as of a moment.
    pub async fn kpi(&self, from: jiff::Timestamp, as_of: jiff::Timestamp) -> Json {
        let day = day(from);
        let to = day.saturating_add(jiff::Span::new().days(14));
        self.get(Role::Analyst, &format!("/kpi?from={day}&to={to}&as_of={as_of}")).await.ok()
    }

    /// The names of a stream's facts, in their order.
    pub async fn timeline(&self, service: &str, stream: &str) -> Vec<String> {
        let stream = StreamId::parse(stream).expect("an id");
        let recorded = self.operated(service).kernel.store.read_stream(stream, 0).await.expect("a stream");
        recorded.into_iter().map(|event| event.name).collect()
    }

    /// The facts of a service, as stream and name, in their order.
    pub async fn facts(&self, service: &str) -> Vec<(String, String)> {
        let recorded = self.operated(service).kernel.store.read_all(0, 1_000).await.expect("facts");
        recorded.into_iter().map(|event| (event.stream.to_string(), event.name)).collect()
    }

    /// A service's store, and how its events are made.
    pub fn kernel(&self, service: &str) -> &hearthline_eventing::Kernel {
        &self.operated(service).kernel
    }

    fn operated(&self, service: &str) -> &hearthline::ops::Operated {
        self.ops.services.iter().find(|s| s.name == service).expect("a service of that name")
    }

    /// Stops in good order.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let running = self.running.take().expect("it runs until it is stopped");
        tokio::task::spawn_blocking(move || running.join()).await.expect("it can be waited for").expect("a stop in good order");
    }
}

impl Drop for System {
    /// A test that failed does not wait.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn run(folder: &Path, receiver: Option<&str>, behind: &str, stop: CancellationToken, ready: oneshot::Sender<Ready>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    // The settings of telemetry do not hang on the sandbox's ports, which only the runtime can give.
    let telemetry = Arc::new(Telemetry::start(&configuration(folder, receiver, behind, None).telemetry).expect("telemetry"));
    telemetry.attach(&mut builder);
    let runtime = builder.build().expect("a runtime");
    let whole = async {
        let sandbox = Arc::new(Sandbox::start(Ports::default()).await.expect("a sandbox"));
        let config = configuration(folder, receiver, behind, Some(&sandbox));
        if !behind.is_empty() {
            up::migrate(&config).await.expect("tables");
        }
        let started = up::start(&config, &telemetry, false, None).await.expect("a start");
        let mllp = started.mllp.expect("the gateway listens");
        let is_wanted = ready.send(Ready { http: started.http, mllp, ops: started.ops.clone(), sandbox }).is_ok();
        if is_wanted {
            started.run(stop.cancelled_owned()).await.expect("a stop in good order");
        }
    };
    telemetry.within(|| runtime.block_on(whole));
    drop(runtime);
    telemetry.stop();
}

/// The configuration as an operator writes it.
fn configuration(folder: &Path, receiver: Option<&str>, behind: &str, sandbox: Option<&Sandbox>) -> Config {
    let data = folder.display();
    let mut toml = format!(
        r#"environment = "test"
controller_ods = "{HUB}"

[server]
listen = "127.0.0.1:0"
requests_per_second = 0

[data]
folder = "{data}"

[hub]
hours = "24/7"

[telemetry]
log_level = "error"
{otlp}

[kpi]
window_hours = {WINDOW_H}
feed_lag_hours = {FEED_LAG_H}

[[kpi.coverage]]
trust_ods = "RHU"
facilities = ["{HOSPITAL}"]
postcode_areas = ["PO"]
from = "2020-01-01"
arrival_mode = true

[mllp]
listen = "127.0.0.1:0"

[[mllp.peer]]
name = "portsmouth"
facility_ods = "{HOSPITAL}"
home_level_visits_from = "2020-01-01"
home_level_visits_purpose = "evaluation of the telemedicine service"
home_level_visits_lawful_basis = "UK GDPR 6(1)(e)"
"#,
        otlp = receiver.map(|url| format!("otlp_endpoint = \"{url}\"")).unwrap_or_default(),
    );
    if let Some(sandbox) = sandbox {
        let (urls, mail) = (sandbox.urls(), sandbox.smtp.addr());
        write!(
            toml,
            "\n[eps]\nurl = \"{}\"\n\n[shared_record]\nurl = \"{}\"\n\n[mail]\nhost = \"{}\"\nport = {}\ntls = \"none\"\nfrom = \"hub@example.nhs.net\"\n",
            urls.eps,
            urls.fhir,
            mail.ip(),
            mail.port()
        )
        .expect("writing to a String cannot fail");
    }
    toml.push_str(behind);
    let file = folder.join("hearthline.toml");
    std::fs::write(&file, toml).expect("a file");
    Config::load(&Sources { file: Some(file), ..Sources::default() }).expect("a configuration")
}

/// A text field of an answer.
pub fn text(body: &Json, field: &str) -> String {
    body[field].as_str().unwrap_or_else(|| panic!("{field} is missing in {body}")).to_owned()
}

/// The day of a moment in London.
pub fn day(at: jiff::Timestamp) -> jiff::civil::Date {
    hearthline_nhs::london_date(at.as_microsecond()).expect("a day")
}
