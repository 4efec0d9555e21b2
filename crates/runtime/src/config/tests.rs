use super::*;
use secrecy::ExposeSecret;
use std::fs;

struct Given {
    folder: tempfile::TempDir,
    sources: Sources,
}

fn given(toml: &str) -> Given {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("hearthline.toml");
    fs::write(&path, toml).expect("written");
    Given { folder, sources: Sources { file: Some(path), ..Sources::default() } }
}

impl Given {
    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, text: &str) -> Self {
        self.sources.overrides.push(text.to_owned());
        self
    }

    fn load(&self) -> Config {
        Config::load(&self.sources).expect("a usable configuration")
    }

    fn refused(&self) -> Vec<String> {
        let error = Config::load(&self.sources).expect_err("must be refused");
        error.problems.iter().map(ToString::to_string).collect()
    }
}

fn the_one(problems: Vec<String>) -> String {
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().expect("one")
}

#[test]
fn without_any_setting_it_is_a_test_on_loopback() {
    let config = Config::load(&Sources::default()).expect("defaults are usable");
    assert_eq!(config.environment, Environment::Test);
    assert!(config.server.listen.ip().is_loopback() && config.mllp.listen.ip().is_loopback());
    assert_eq!((config.kpi.window_h, config.kpi.feed_lag_h), (72, 24));
    assert_eq!(config.auth.keys, AuthKeys::Own);
    assert!(config.telemetry.otlp_endpoint.is_none());
    assert!(config.check().is_empty());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let given = given("[server]\nlisten = \"127.0.0.1:1\"\nshutdown_seconds = 5\nbody_limit_bytes = 2000\n")
        .variable("HEARTHLINE__SERVER__LISTEN", "127.0.0.1:2")
        .variable("HEARTHLINE__SERVER__SHUTDOWN_SECONDS", "6")
        .variable("HEARTHLINE_REQUIRE", "kafka")
        .variable("HEARTHLINE__MAIL__HOST", "")
        .flag("server.listen=127.0.0.1:3");
    let config = given.load();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.shutdown_s, 6);
    assert_eq!(config.server.body_limit_bytes, 2000);
    assert!(config.mail.host.is_none());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    for (toml, known) in [
        ("[server]\nlisten_adress = \"x\"\n", "server.listen"),
        ("[telemetry]\nloglevel = \"info\"\n", "telemetry.log_level"),
        ("enviroment = \"test\"\n", "environment"),
        ("[mail]\npassword = \"Zyxwv\"\n", "mail.password_file"),
        ("[[mllp.peer]]\nname = \"a\"\nfacility_ods = \"RCB\"\nhome_level_visit_from = \"2026-01-01\"\n", "mllp.peer.0.home_level_visits_from"),
        ("[http]\nbody_limit_bytes = 1\n", "server.body_limit_bytes"),
    ] {
        let problem = the_one(given(toml).refused());
        assert!(problem.contains(&format!("did you mean {known}?")), "{problem}");
        assert!(!problem.contains("Zyxwv"), "{problem}");
    }
    let problem = the_one(given("").variable("HEARTHLINE__QUUX", "1").refused());
    assert_eq!(problem, "quux (set by HEARTHLINE__QUUX): is not a setting");
}

#[test]
fn every_problem_names_key_origin_fault_and_what_is_allowed() {
    let problems = given("environment = \"prod\"\n[server]\nbody_limit_bytes = \"big\"\n")
        .variable("HEARTHLINE__KPI__WINDOW_HOURS", "0")
        .flag("telemetry.log_format=xml")
        .refused();
    let text = problems.join("\n");
    assert_eq!(problems.len(), 4, "{text}");
    assert!(text.contains("environment (set by the file "), "{text}");
    assert!(text.contains("allowed: test, live or training"), "{text}");
    assert!(text.contains("server.body_limit_bytes") && text.contains("is a text"), "{text}");
    assert!(text.contains("(set by HEARTHLINE__KPI__WINDOW_HOURS)") && text.contains("from 1 to 720 hours"), "{text}");
    assert!(text.contains("telemetry.log_format (set by a flag)"), "{text}");
}

#[test]
fn a_broken_file_is_placed_and_not_quoted() {
    let problem = the_one(given("[mail]\nhost = \"x\nsecret = Zyxwv\n").refused());
    assert!(problem.contains("line 2, column"), "{problem}");
    assert!(!problem.contains("Zyxwv"), "{problem}");
    let missing = Sources { file: Some("/nowhere/hearthline.toml".into()), ..Sources::default() };
    let error = Config::load(&missing).expect_err("no such file");
    assert!(error.to_string().contains("/nowhere/hearthline.toml"), "{error}");
}

#[test]
fn an_address_that_others_reach_must_be_meant() {
    let problem = the_one(given("[server]\nlisten = \"0.0.0.0:8080\"\n").refused());
    assert!(problem.starts_with("server.listen") && problem.contains("server.allow_remote"), "{problem}");
    let allowed = given("[server]\nlisten = \"0.0.0.0:8080\"\nallow_remote = true\n");
    assert!(!allowed.load().server.listen.ip().is_loopback());
    let problem = the_one(given("[mllp]\nlisten = \"10.0.0.1:2575\"\n").refused());
    assert!(problem.starts_with("mllp.listen"), "{problem}");
}

#[test]
fn peers_and_coverage_are_read_in_full() {
    let config = given(
        "[[mllp.peer]]\nname = \"north\"\nfacility_ods = \"rcb\"\nhome_level_visits_from = \"2020-01-01\"\nhome_level_visits_purpose = \"evaluation of the telemedicine service\"\nhome_level_visits_lawful_basis = \"UK GDPR 6(1)(e)\"\n\
         [[mllp.peer]]\nname = \"south\"\nfacility_ods = \"RXX\"\n\
         [[kpi.coverage]]\ntrust_ods = \"RCB\"\nfacilities = [\"RCB55\", \"RCB07\"]\nhomes = [\"VM1A2\", \"1-123456789\"]\n\
         postcode_areas = [\"ne8\", \"SR\"]\nfrom = 2024-01-01\nuntil = \"2024-12-31\"\narrival_mode = true\n",
    )
    .load();
    assert_eq!(config.mllp.peers.len(), 2);
    assert_eq!(config.mllp.peers[0].facility_ods.as_str(), "RCB");
    assert!(config.mllp.peers[0].home_level_visits.is_some() && config.mllp.peers[1].home_level_visits.is_none());
    let coverage = &config.kpi.coverage[0];
    assert_eq!(coverage.facilities.len(), 2);
    assert!(matches!(&coverage.homes[..], [HomeCode::Ods(_), HomeCode::Cqc(_)]));
    assert_eq!(coverage.postcode_areas, ["NE8", "SR"]);
    assert_eq!(coverage.until, Some(jiff::civil::date(2024, 12, 31)));
    assert!(coverage.arrival_mode);
}

#[test]
fn a_listener_that_asks_several_organisations_for_certificates_knows_whose_is_whose() {
    let listener = "[[mllp.listener]]\nname = \"region\"\nlisten = \"127.0.0.1:0\"\ncertificate_file = \"a.pem\"\nkey_file = \"a.key\"\n";
    let peer = |name: &str, code: &str, more: &str| format!("[[mllp.peer]]\nname = \"{name}\"\nfacility_ods = \"{code}\"\nlistener = \"region\"\n{more}");
    let named = "client_names = [\"pas.south.example\"]\n";
    let of = |ca: &str, peers: &[String]| given(&format!("{listener}{ca}{}", peers.concat()));
    let ca = "client_ca_file = \"ca.pem\"\n";
    let problem = the_one(of(ca, &[peer("north", "RCB", ""), peer("south", "RXX", named)]).refused());
    assert!(problem.starts_with("mllp.peer.0.client_names"), "{problem}");
    // A trust and a site of it; each with a name; without certificates.
    assert_eq!(of(ca, &[peer("north", "RCB", ""), peer("site", "RCB01", "")]).load().mllp.peers.len(), 2);
    assert_eq!(of(ca, &[peer("north", "RCB", named), peer("south", "RXX", named)]).load().mllp.peers[1].client_names, ["pas.south.example"]);
    assert_eq!(of("", &[peer("north", "RCB", ""), peer("south", "RXX", "")]).load().mllp.peers.len(), 2);
    assert!(the_one(of("", &[peer("north", "RCB", named)]).refused()).contains("does not ask for"));
}

#[test]
fn an_incomplete_peer_or_coverage_says_what_it_lacks() {
    let text = given("[[mllp.peer]]\nname = \"north\"\n[[kpi.coverage]]\ntrust_ods = \"RCB\"\n").refused().join("\n");
    for key in ["mllp.peer.0.facility_ods", "kpi.coverage.0.facilities", "kpi.coverage.0.from"] {
        assert!(text.contains(key), "{text}");
    }
    let twice = "[[mllp.peer]]\nname = \"a\"\nfacility_ods = \"RCB\"\n[[mllp.peer]]\nname = \"a\"\nfacility_ods = \"RCB\"\n";
    assert_eq!(given(twice).refused().len(), 2);
    // Frames of nobody known are listed under their listener's name, which must be nobody's.
    let listener = "[[mllp.peer]]\nname = \"default\"\nfacility_ods = \"RCB\"\n";
    assert!(the_one(given(listener).refused()).contains("is the name of a listener"));
    let backwards = "[[kpi.coverage]]\ntrust_ods=\"RCB\"\nfacilities=[\"RCB55\"]\nfrom=2024-02-01\nuntil=2024-01-01\n";
    assert!(the_one(given(backwards).refused()).contains("lies before from"));
}

#[test]
fn the_hub_is_open_always_or_by_weekday() {
    let at = |text: &str| text.parse::<jiff::civil::DateTime>().expect("civil time");
    let always = given("").load();
    assert!(always.hub.opening.is_open(at("2024-12-25T03:00")));
    let weekdays = given("[hub]\nclosed_on = [2024-05-06]\n[hub.hours]\nmonday = [\"08:00-20:00\"]\n").load();
    assert!(weekdays.hub.opening.is_open(at("2024-04-29T08:00")));
    assert!(!weekdays.hub.opening.is_open(at("2024-04-30T08:00")));
    assert!(!weekdays.hub.opening.is_open(at("2024-05-06T08:00")));
    let by_flag = given("[hub.hours]\nmonday = [\"08:00-20:00\"]\n").flag("hub.hours=24/7").load();
    assert!(by_flag.hub.opening.is_open(at("2024-04-30T03:00")));
    let overlap = given("[hub.hours]\nmonday = [\"08:00-20:00\", \"19:00-21:00\"]\n");
    assert!(the_one(overlap.refused()).starts_with("hub.hours.monday"));
}

#[test]
fn secrets_come_from_files_and_are_not_printed() {
    let given = given("[mail]\nhost = \"mail.example.org\"\nfrom = \"hub@example.org\"\nusername = \"hub\"\n");
    let secret = given.folder.path().join("password");
    fs::write(&secret, "Zyxwv\n").expect("written");
    let path = secret.display().to_string();
    let given = given.variable("HEARTHLINE__MAIL__PASSWORD_FILE", &path);
    let config = given.load();
    let login = config.mail.login.as_ref().expect("login");
    assert_eq!(login.password.expose_secret(), "Zyxwv");
    assert!(!config.print().contains("Zyxwv") && config.print().contains(&path));
    assert!(!format!("{config:?}").contains("Zyxwv"));
    fs::remove_file(&secret).expect("removed");
    let text = given.refused().join("\n");
    assert!(text.contains("mail.password_file"), "{text}");
}

#[test]
fn passwords_in_addresses_are_redacted() {
    let config = given("[telemetry]\notlp_endpoint = \"http://user:Zyxwv@127.0.0.1:4318/v1\"\n").load();
    let printed = config.print();
    assert!(!printed.contains("Zyxwv") && printed.contains("http://redacted@127.0.0.1:4318/v1"), "{printed}");
}

#[test]
fn what_is_printed_reads_back_as_the_same() {
    let first = given(
        "environment = \"training\"\n[hub.hours]\nmonday = [\"08:00-20:00\"]\n[[mllp.peer]]\nname = \"n\"\nfacility_ods = \"RCB\"\n\
         [[kpi.coverage]]\ntrust_ods=\"RCB\"\nfacilities=[\"RCB55\"]\nfrom=2024-02-01\n",
    )
    .flag("server.shutdown_seconds=7")
    .load();
    let printed = first.print();
    assert!(printed.contains("shutdown_seconds = 7  # from a flag"), "{printed}");
    assert!(printed.contains("# otlp_endpoint is not set"), "{printed}");
    let second = given(&printed).load();
    let plain = |config: &Config| {
        let values = config.effective.iter().map(|e| (e.key.clone(), e.value.clone()));
        format!("{:?}", values.collect::<Vec<_>>())
    };
    assert_eq!(plain(&first), plain(&second));
}

#[test]
fn live_deployments_protect_what_leaves_them() {
    let live = "environment = \"live\"\ncontroller_ods = \"RCB\"\n";
    let plain = given(&format!("{live}[eps]\nurl = \"http://eps.example.org\"\n"));
    assert!(the_one(plain.refused()).starts_with("eps.url"));
    let near = given(&format!("{live}[eps]\nurl = \"http://127.0.0.1:9/\"\n")).load();
    assert_eq!(near.eps.url.as_deref(), Some("http://127.0.0.1:9"));
    let mail = "[mail]\nhost = \"localhost\"\nfrom = \"hub@example.org\"\ntls = \"none\"\n";
    assert!(the_one(given(&format!("{live}{mail}")).refused()).starts_with("mail.tls"));
    assert!(given(mail).load().mail.host.is_some());
    let controller = |set: &str| the_one(given(&format!("environment = \"live\"\n{set}")).refused());
    assert!(controller("").starts_with("controller_ods: is not set"));
    let example = controller("controller_ods = \"ZZ900\"\n");
    assert!(controller("controller_ods = \"?\"\n").contains("is no value of this key"));
    assert!(example.contains("ZZ900 stands in examples") && example.contains("that answers for the hub"), "{example}");
    assert!(near.check().iter().any(|finding| finding.key == "mail.host" && !finding.fatal));
}

#[test]
fn check_finds_files_that_are_missing_or_exposed() {
    use std::os::unix::fs::PermissionsExt;
    let given = given("[auth]\njwks_file = \"/nowhere/jwks.json\"\n");
    let kek = given.folder.path().join("kek");
    fs::write(&kek, "key").expect("written");
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o644)).expect("mode");
    let given = given.flag(&format!("keyring.kek_file={}", kek.display()));
    let keys: Vec<String> = given.load().check().into_iter().filter(|f| f.fatal).map(|f| f.key).collect();
    assert_eq!(keys, ["auth.jwks_file", "keyring.kek_file"]);
}
