//! What is deployed (docker-compose.yml, deploy/) against the code: the same services, roles, topics, ports and versions.

use crate::binary;
use crate::running::{Running, SMALL};
use hearthline::up::SERVICES;
use hearthline_contracts::topics;
use hearthline_eventing::READER_REVISION;
use hearthline_runtime::config::{Config, Sources};
use hearthline_runtime::connect::opens_keys;
use hearthline_tests::until;
use serde_yaml_ng::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// A file of the repository.
fn file(name: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// docker-compose.yml with its anchors followed.
fn compose() -> Value {
    let mut compose: Value = serde_yaml_ng::from_str(&file("docker-compose.yml")).expect("YAML");
    // What is merged in may itself be made by merging: three deep here.
    for _ in 0..4 {
        compose.apply_merge().expect("merge keys name mappings");
    }
    compose
}

fn containers(compose: &Value) -> BTreeMap<&str, &Value> {
    let services = compose["services"].as_mapping().expect("services");
    services.iter().map(|(name, container)| (name.as_str().expect("a name"), container)).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_sequence().into_iter().flatten().map(|text| text.as_str().expect("text")).collect()
}

fn environment(container: &Value) -> BTreeMap<&str, &str> {
    let pairs = container["environment"].as_mapping().into_iter().flatten();
    pairs.map(|(key, value)| (key.as_str().expect("a key"), value.as_str().expect("a quoted value"))).collect()
}

fn role(service: &str) -> String {
    format!("hearthline_{}", service.replace('-', "_"))
}

#[test]
fn every_service_has_a_container_of_its_own() {
    let compose = compose();
    let serving: BTreeMap<&str, &str> = containers(&compose)
        .into_iter()
        .filter_map(|(name, container)| match texts(&container["command"]).as_slice() {
            ["serve", service] => Some((name, *service)),
            _ => None,
        })
        .collect();
    assert_eq!(serving, SERVICES.iter().map(|service| (*service, *service)).collect());
    let replicated = containers(&compose).into_iter().filter(|(_, container)| container["deploy"]["replicas"].as_u64() == Some(2));
    assert_eq!(replicated.map(|(name, _)| name).collect::<Vec<_>>(), ["call-intake", "kpi-projection"]);
}

#[test]
fn a_service_has_its_own_secrets_and_no_other() {
    let compose = compose();
    for (name, container) in containers(&compose).into_iter().filter(|(name, _)| SERVICES.contains(name)) {
        let (role, kafka) = (role(name), format!("kafka_{name}"));
        let wanted: &[&str] = if opens_keys(name) { &["ca", "kek", &role, &kafka] } else { &["ca", &role, &kafka] };
        assert_eq!(texts(&container["secrets"]), wanted, "{name}");
        let environment = environment(container);
        assert_eq!(environment["HEARTHLINE__KAFKA__USERNAME"], name);
        assert_eq!(environment["HEARTHLINE__KAFKA__PASSWORD_FILE"], format!("/run/secrets/{kafka}"));
        assert_eq!(environment["HEARTHLINE__POSTGRES__PASSWORD_FOLDER"], "/run/secrets");
    }
}

/// Each process's settings, read as it reads them; a mounted secret is a file with something in it.
#[test]
fn the_settings_of_every_container_are_accepted() {
    let compose = compose();
    let secrets = tempfile::tempdir().expect("a folder");
    for name in compose["secrets"].as_mapping().expect("secrets").keys() {
        std::fs::write(secrets.path().join(name.as_str().expect("a name")), "0123456789abcdef").expect("written");
    }
    let dockerfile = file("deploy/Dockerfile");
    let of_the_image = dockerfile.split_whitespace().filter(|word| word.starts_with("HEARTHLINE__")).filter_map(|word| word.split_once('='));
    let mut seen = 0;
    for (name, container) in containers(&compose).into_iter().filter(|(_, container)| container["image"].as_str().is_some_and(|i| i.starts_with("hearthline:")))
    {
        let mut settings: BTreeMap<String, String> = of_the_image.clone().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        for (key, value) in environment(container) {
            let value = value.replace("/run/secrets", &secrets.path().display().to_string());
            let default = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).and_then(|rest| rest.split_once(":-"));
            settings.insert(key.to_owned(), default.map_or(value.clone(), |(_, default)| default.to_owned()));
            if let Some(wanted) = value.strip_prefix(&format!("{}/", secrets.path().display())) {
                let mounted = texts(&container["secrets"]);
                assert!(mounted.contains(&wanted) || key == "HEARTHLINE__KEYRING__KEK_FILE", "{name}: {key} names a secret that it does not have");
            }
        }
        let sources = Sources { file: None, environment: settings.into_iter().collect(), overrides: Vec::new() };
        Config::load(&sources).unwrap_or_else(|error| panic!("{name}: {error}"));
        seen += 1;
    }
    assert_eq!(seen, SERVICES.len() + 3, "the services, migrate, topics and issuer");
}

#[test]
fn every_secret_is_made_by_the_script_and_none_is_in_the_file() {
    let compose = compose();
    let declared: BTreeMap<&str, &str> = compose["secrets"]
        .as_mapping()
        .expect("secrets")
        .iter()
        .map(|(name, secret)| (name.as_str().expect("a name"), secret["file"].as_str().expect("a file")))
        .collect();
    for (name, file) in &declared {
        assert_eq!(*file, format!("./deploy/.secrets/{name}"));
    }
    let made = Command::new("bash").args(["deploy/secrets", "--list"]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).output().expect("bash");
    let made = String::from_utf8(made.stdout).expect("text");
    assert_eq!(made.lines().collect::<BTreeSet<_>>(), declared.keys().copied().collect());
    let used: BTreeSet<&str> = containers(&compose).values().flat_map(|container| texts(&container["secrets"])).collect();
    assert_eq!(used, declared.keys().copied().collect(), "every secret is used, and every one used is declared");
    for (name, container) in containers(&compose) {
        for (key, value) in environment(container) {
            let names_a_secret = ["PASSWORD", "SECRET", "TOKEN", "KEY"].iter().any(|word| key.contains(word)) && !key.contains("KEYRING_DATABASE");
            assert!(!names_a_secret || value.starts_with("/run/secrets"), "{name}: {key} holds a value instead of naming a file");
        }
    }
    assert!(file(".gitignore").lines().any(|line| line == "/deploy/.secrets"));
}

#[test]
fn every_container_is_held_tight() {
    let compose = compose();
    for (name, container) in containers(&compose) {
        assert_eq!(container["read_only"].as_bool(), Some(true), "{name}");
        assert_eq!(texts(&container["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&container["security_opt"]), ["no-new-privileges:true"], "{name}");
        let user = container["user"].as_str().unwrap_or_else(|| panic!("{name} names no user"));
        assert!(!user.is_empty() && !user.starts_with("root") && !user.starts_with("0"), "{name} runs as {user}");
        for never in ["privileged", "network_mode", "pid", "ipc", "cap_add", "devices"] {
            assert!(container[never].is_null(), "{name} has {never}");
        }
        let mounts = texts(&container["volumes"]).into_iter();
        for mount in mounts.filter(|mount| mount.starts_with('.') && !mount.starts_with("./deploy/.secrets/issuer")) {
            assert!(mount.ends_with(":ro"), "{name} may write to {mount}");
        }
    }
}

#[test]
fn ports_are_published_on_loopback_alone_and_are_those_of_the_dev_services() {
    let compose = compose();
    let mut taken = BTreeSet::new();
    for (name, container) in containers(&compose) {
        for published in texts(&container["ports"]) {
            let (address, ports) = published.split_once(':').expect("an address");
            assert_eq!(address, "127.0.0.1", "{name} is published to others");
            let outside = ports.split_once(':').expect("two ports").0;
            let (from, to) = outside.split_once('-').unwrap_or((outside, outside));
            for port in from.parse::<u16>().expect("a port")..=to.parse().expect("a port") {
                assert!(taken.insert(port), "{name}: port {port} is published twice");
            }
        }
    }
    let dev = file("deploy/dev/settings.sh");
    let port = |name: &str| -> u16 { dev.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).expect("a default").parse().expect("a port") };
    let kafka_with_users = port("kafka_port") + 2;
    assert_eq!(texts(&compose["services"]["kafka"]["ports"]), [format!("127.0.0.1:{kafka_with_users}:{kafka_with_users}")]);
    assert_eq!(compose["services"]["kafka"]["environment"]["KAFKA_HOST_PORT"].as_str(), Some(kafka_with_users.to_string().as_str()));
    assert_eq!(texts(&compose["services"]["postgres"]["ports"]), [format!("127.0.0.1:{}:5432", port("postgres_port"))]);
}

#[test]
fn images_are_pinned_and_kafka_is_the_one_that_tests_use() {
    let compose = compose();
    let kafka = file("deploy/dev/pom.xml");
    let kafka = kafka.split_once("<kafka.version>").and_then(|(_, rest)| rest.split_once('<')).expect("a version").0;
    for (name, container) in containers(&compose) {
        let (image, tag) = container["image"].as_str().expect("an image").split_once(':').unwrap_or_else(|| panic!("{name}'s image has no version"));
        assert!(tag.split('.').count() >= 2 && tag.starts_with(|c: char| c.is_ascii_digit()), "{name}: {tag} is no version");
        match image {
            "apache/kafka" => assert_eq!(tag, kafka),
            "hearthline" => assert_eq!(tag, env!("CARGO_PKG_VERSION")),
            _ => {}
        }
    }
    for stage in file("deploy/Dockerfile").lines().filter_map(|line| line.strip_prefix("FROM ")) {
        assert!(stage.contains(':') && !stage.contains("latest"), "{stage}");
    }
}

#[test]
fn roles_users_and_lists_of_services_are_the_same_everywhere() {
    let roles = file("deploy/postgres/roles.sql");
    let named: BTreeSet<String> = roles
        .split('\'')
        .filter(|word| word.starts_with("hearthline_") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .map(str::to_owned)
        .collect();
    let mut wanted: BTreeSet<String> = SERVICES.iter().map(|service| role(service)).collect();
    wanted.insert("hearthline_ddl".to_owned());
    wanted.insert("hearthline_kpi_reader".to_owned());
    assert_eq!(named, wanted);
    // Who enters the keyring's database: whoever may open a key in it.
    let kept_out = roles.split_once("(:'keyring_database', '").and_then(|(_, rest)| rest.split_once("')")).expect("who does not enter the keyring").0;
    for service in SERVICES {
        assert_eq!(opens_keys(service), role(service) != kept_out, "{service}");
    }
    let list = format!("services=({})", SERVICES.join(" "));
    for script in ["deploy/dev/settings.sh", "deploy/secrets"] {
        assert!(file(script).lines().any(|line| line == list), "{script}: {list}");
    }
    let compose = compose();
    let mut users: BTreeSet<String> = SERVICES.iter().map(|service| format!("kafka_{service}")).collect();
    users.insert("kafka_admin".to_owned());
    users.insert("kafka_keystore".to_owned());
    assert_eq!(texts(&compose["services"]["kafka"]["secrets"]).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), users);
}

#[test]
fn brokers_everywhere_leave_topics_to_the_catalogue() {
    let shared = file("deploy/kafka/broker.properties");
    assert!(shared.lines().any(|line| line == "auto.create.topics.enable=false"));
    assert!(shared.lines().any(|line| line == format!("num.partitions={}", topics::PARTITIONS)));
    for start in ["deploy/kafka/start", "deploy/dev/kafka"] {
        let script = file(start);
        assert!(script.contains("broker.properties") && script.contains("secured.properties"), "{start}");
        let again = shared.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| script.lines().any(|line| line.starts_with(&format!("{key}="))));
        assert_eq!(again, None, "{start} sets what broker.properties sets");
    }
    let compose = compose();
    assert_eq!(texts(&compose["services"]["topics"]["command"]), ["topics", "apply"]);
}

#[test]
fn rights_at_the_broker_are_those_of_the_catalogue() {
    let script = file("deploy/kafka/rights");
    let given: BTreeSet<Vec<&str>> =
        script.split_once("<<'RIGHTS'\n").expect("a table").1.lines().take_while(|line| *line != "RIGHTS").map(|line| line.split(' ').collect()).collect();
    let wanted = topics::FLOWS.iter().map(|flow| {
        let contexts = [flow.writes].into_iter().chain(flow.reads.iter().copied()).map(|topic| topic.context.name());
        [flow.service].into_iter().chain(contexts).collect()
    });
    assert_eq!(given, wanted.collect());
    let compose = compose();
    assert_eq!(texts(&compose["services"]["rights"]["entrypoint"]), ["/bin/bash", "/etc/hearthline/rights"]);
    for service in SERVICES {
        assert!(!compose["services"][*service]["depends_on"]["rights"].is_null(), "{service} starts without its rights");
    }
}

#[test]
fn consumers_of_ones_own_are_told_the_revision_that_this_reader_has() {
    let topics: serde_json::Value = serde_json::from_str(&file("proto/topics.json")).expect("JSON");
    assert_eq!(topics["reader_revision"], READER_REVISION);
}

#[test]
fn figures_and_telemetry_find_what_they_read() {
    let compose = compose();
    let source: Value = serde_yaml_ng::from_str(&file("deploy/grafana/provisioning/datasources/hearthline.yaml")).expect("YAML");
    let source = &source["datasources"][0];
    let user = source["user"].as_str().expect("a user");
    assert_eq!(source["secureJsonData"]["password"].as_str(), Some(format!("$__file{{/run/secrets/{user}}}").as_str()));
    assert!(texts(&compose["services"]["grafana"]["secrets"]).contains(&user));
    assert_eq!(source["url"].as_str(), Some("postgres:5432"));

    let views = file("services/kpi-projection/src/kpi_v1.sql");
    let dashboard: serde_json::Value = serde_json::from_str(&file("deploy/grafana/dashboards/hearthline.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() >= 6);
    for panel in panels {
        let sql = panel["targets"][0]["rawSql"].as_str().expect("a query");
        let view = sql.split_once(" kpi_v1.").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_else(|| panic!("{sql} reads no view"));
        let select = views.split_once(&format!("view if not exists kpi_v1_{view} as")).unwrap_or_else(|| panic!("there is no view {view}")).1;
        let select = select.split_once(';').expect("a whole statement").0;
        for column in sql
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.contains('_') && !word.starts_with("__") && !["kpi_v1", "date_trunc"].contains(word))
        {
            assert!(select.contains(column), "{view} has no {column}");
        }
        assert_eq!(panel["datasource"]["uid"].as_str(), source["uid"].as_str());
    }

    let collector: Value = serde_yaml_ng::from_str(&file("deploy/otel/collector.yaml")).expect("YAML");
    let listens = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].as_str().expect("an address");
    let (_, port) = listens.rsplit_once(':').expect("a port");
    for service in SERVICES {
        assert_eq!(environment(&compose["services"][*service])["HEARTHLINE__TELEMETRY__OTLP_ENDPOINT"], format!("http://otel-collector:{port}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containers_health_check_tells_ready_from_gone() {
    let compose = compose();
    for service in SERVICES {
        assert_eq!(texts(&compose["services"][*service]["healthcheck"]["test"]), ["CMD", "/usr/local/bin/hearthline", "ready"]);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let hub = Running::start(SMALL, folder.path(), false).await;
    let ask = |listen: String| tokio::task::spawn_blocking(move || binary::run(&["ready", "--set", &format!("server.listen={listen}")]));
    // Readiness is looked at twice a second, so the first look may still see the start.
    until("it is ready", async || ask(hub.http.to_string()).await.expect("it runs").status.success().then_some(())).await;
    hub.stop().await;
    // Not the port it had: another test beside this one may have it by now.
    let output = ask("127.0.0.1:1".to_owned()).await.expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", binary::said(&output));
    assert!(binary::said(&output).contains("nothing answers at http://"), "{}", binary::said(&output));
}

/// Compose's own judgement, where it is installed; it needs no engine for it.
#[test]
fn compose_itself_accepts_the_file() {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let programs: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let works = |program: &&&[&str]| Command::new(program[0]).args(&program[1..]).arg("version").output().is_ok_and(|output| output.status.success());
    let Some(program) = programs.iter().find(works) else {
        let is_required = std::env::var("HEARTHLINE_REQUIRE").is_ok_and(|list| list.split(',').any(|one| one.trim() == "compose"));
        assert!(!is_required, "HEARTHLINE_REQUIRE names compose, and neither `docker compose` nor `docker-compose` works");
        println!("skipped: neither `docker compose` nor `docker-compose` is here");
        return;
    };
    let output = Command::new(program[0]).args(&program[1..]).args(["-f", "docker-compose.yml", "config", "-q"]).current_dir(top).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
