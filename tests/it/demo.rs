//! The demonstration, from the command line: an undisturbed week, the same week with the serving process killed twenty times, and the
//! same week on Kafka and PostgreSQL with a process for each service, seven of them killed.

use crate::binary;
use hearthline_contracts::topics::ALL;
use hearthline_log_kafka::{KafkaAdmin, KafkaOptions, Replication};
use hearthline_sandbox::otlp::{self, Collector, Span};
use hearthline_tests::servers::server;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::io::Write;
use std::net::Ipv4Addr;

const SEED: &str = "20171";

/// Runs the demonstration in a folder of its own and returns its outcome; its exit code must say that all is well.
fn demo(more: &[&str]) -> Value {
    demo_telling(None, more)
}

/// With an OTLP receiver that every process tells.
fn demo_telling(receiver: Option<&str>, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let data = folder.path().join("data");
    let mut args = vec!["demo", "--json", "--seed", SEED, "--folder", data.to_str().expect("a readable path")];
    args.extend(more);
    let mut command = binary::command(&args);
    if let Some(url) = receiver {
        command.env("HEARTHLINE__TELEMETRY__OTLP_ENDPOINT", url);
    }
    let output = command.output().expect("the program can be started");
    assert!(output.status.success(), "{}", binary::said(&output));
    let outcome: Value = serde_json::from_slice(&output.stdout).expect("the outcome is JSON and nothing else");
    assert_eq!(outcome["differences"], Value::Array(Vec::new()));
    outcome
}

fn measure<'o>(outcome: &'o Value, id: &str) -> &'o Value {
    let measures = outcome["kpi"]["measures"].as_array().expect("measures");
    measures.iter().find(|measure| measure["id"] == id).unwrap_or_else(|| panic!("there is no measure {id}"))
}

fn shows_the_week_of_the_scoping_guide(outcome: &Value) {
    assert_eq!(outcome["counts"]["homes"], 104);
    assert_eq!(outcome["counts"]["calls"], 15);
    assert_eq!(measure(outcome, "calls_total")["value"], 15);
    assert_eq!(measure(outcome, "residents_supported")["value"], 15);
    for (id, declared) in [("ambulance_conveyances_avoided", 8), ("ed_attendances_avoided", 6), ("admissions_avoided", 4)] {
        let claims = measure(outcome, id);
        assert_eq!(claims["declared"], declared, "{id}");
        let judged: u64 = ["sustained", "contradicted", "unverifiable", "pending"].iter().map(|word| claims[word].as_u64().expect("a count")).sum();
        assert_eq!(judged, declared, "{id}: every claim is judged once");
        assert_eq!(claims["pending"], 0, "{id}: the week ended long enough ago");
    }
}

#[test]
fn a_week_comes_out_as_it_went_in_and_twenty_kills_change_nothing_of_it() {
    let mut undisturbed = demo(&[]);
    shows_the_week_of_the_scoping_guide(&undisturbed);
    assert_eq!(undisturbed["counts"]["kills"], 0);
    assert_eq!(undisturbed["counts"]["messages_resent"], 0, "nothing had to be sent twice");

    let killed = demo(&["--kills", "20"]);
    assert_eq!(killed["counts"]["kills"], 20);
    shows_the_week_of_the_scoping_guide(&killed);
    if killed["monday"] != undisturbed["monday"] {
        // Another week has begun in between.
        undisturbed = demo(&[]);
    }
    assert_eq!(killed["monday"], undisturbed["monday"]);
    assert_eq!(killed["kpi_checksum"], undisturbed["kpi_checksum"], "the same figures");
    // The outcome compares each destination with the week; here the two runs are compared with each other.
    for what in ["documents", "mails", "orders", "acknowledged", "residents"] {
        assert_eq!(killed["counts"][what], undisturbed["counts"][what], "{what}");
    }
}

/// A configuration that leads to the servers at hand.
fn servers() -> Option<tempfile::NamedTempFile> {
    let (kafka, postgres) = (server("kafka", "HEARTHLINE_TEST_KAFKA"), server("postgres", "HEARTHLINE_TEST_POSTGRES"));
    let passwords = server("postgres", "HEARTHLINE_TEST_POSTGRES_PASSWORDS")?;
    let (kafka, postgres) = (kafka?, postgres?);
    let (_, place) = postgres.rsplit_once('@').expect("the address names a role");
    let (host, port) = place.split('/').next().and_then(|place| place.rsplit_once(':')).expect("the address names host and port");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    write!(
        file,
        "[postgres]\nhost = \"{host}\"\nport = {port}\npassword_folder = \"{passwords}\"\ntls = \"disabled\"\n[kafka]\nbrokers = \"{kafka}\"\nreplication_factor = 1\n"
    )
    .expect("written");
    Some(file)
}

/// Schemas and topics of a run are gone from the servers.
async fn nothing_is_left(schema_prefix: &str) {
    let admin = std::env::var("HEARTHLINE_TEST_POSTGRES").expect("it is at hand");
    let (cluster, _) = admin.rsplit_once('/').expect("the address names a database");
    for database in ["hearthline", "hearthline_keyring"] {
        let mut conn = PgConnection::connect(&format!("{cluster}/{database}")).await.expect("the database answers");
        let left: Vec<String> = sqlx::query_scalar("select nspname::text from pg_namespace where starts_with(nspname::text, $1)")
            .bind(schema_prefix)
            .fetch_all(&mut conn)
            .await
            .expect("the catalogue can be read");
        assert_eq!(left, Vec::<String>::new(), "schemas in {database}");
    }
    let brokers = std::env::var("HEARTHLINE_TEST_KAFKA").expect("it is at hand");
    let topic_prefix = format!("{}.", schema_prefix.trim_end_matches('_').replace('_', "-"));
    let options = KafkaOptions { topic_prefix, ..KafkaOptions::new(brokers, "operator") };
    let findings = KafkaAdmin::new(options).expect("sound options").verify(Replication::of(1)).await;
    let missing = findings.iter().filter(|finding| finding.seen.ends_with("is missing")).count();
    assert_eq!(missing, ALL.len(), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_distributed_edition_comes_to_the_same_figures_although_each_service_is_killed() {
    let Some(config) = servers() else { return };
    let path = config.path().to_str().expect("a readable path").to_owned();
    let receiver = Collector::start((Ipv4Addr::LOCALHOST, 0).into(), otlp::Options::default()).await.expect("a receiver");
    let url = receiver.url();
    let run = move || demo_telling(Some(&url), &["--distributed", "--kills", "7", "--config", &path]);
    let apart = tokio::task::spawn_blocking(run).await.expect("it ran");
    one_trace_spans_processes(&receiver.spans());
    shows_the_week_of_the_scoping_guide(&apart);
    let killed = apart["counts"]["killed"].as_object().expect("kills by service");
    assert_eq!(killed.len(), hearthline::up::SERVICES.len(), "each service: {killed:?}");
    assert!(apart["counts"]["processes"].as_u64() > Some(killed.len() as u64), "some have two processes");
    let together = demo(&[]);
    assert_eq!(apart["monday"], together["monday"]);
    assert_eq!(apart["kpi_checksum"], together["kpi_checksum"], "the same figures");
    for what in ["documents", "mails", "orders", "acknowledged", "residents"] {
        assert_eq!(apart["counts"][what], together["counts"][what], "{what}");
    }
    nothing_is_left(apart["schema_prefix"].as_str().expect("the run names its schemas")).await;
}

/// From the request at one process, through Kafka's headers, to the figures at another and the delivery at a third.
fn one_trace_spans_processes(spans: &[Span]) {
    let of = |service: &str, name: &str| spans.iter().filter(|s| s.service == service && s.name == name).collect::<Vec<_>>();
    let closings = of("hearthline-call-intake", "POST /calls/{call_id}/close");
    let counted = of("hearthline-kpi-projection", "kpi-projection consume CallClosed");
    let delivered = of("hearthline-shared-record", "shared-record deliver record_upload");
    let whole = closings.iter().filter(|root| {
        let is_child = counted.iter().any(|s| s.trace_id == root.trace_id && s.parent_span_id.as_deref() == Some(&root.span_id));
        is_child && delivered.iter().any(|s| s.trace_id == root.trace_id)
    });
    // A killed process takes the spans of its last second with it, but not those of a whole week.
    let n = whole.count();
    assert!(n >= 5, "{n} of {} closings ({} counted, {} delivered) lead through three processes", closings.len(), counted.len(), delivered.len());
}

#[test]
fn a_demonstration_does_not_begin_in_a_folder_that_holds_something() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("letter.txt"), "kept").expect("written");
    let output = binary::run(&["demo", "--json", "--folder", folder.path().to_str().expect("a readable path")]);
    assert_eq!(output.status.code(), Some(1), "{}", binary::said(&output));
    assert!(binary::said(&output).contains("is not empty"));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("listed").collect();
    assert_eq!(left.len(), 1, "nothing was added");
}
