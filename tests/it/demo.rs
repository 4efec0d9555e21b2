//! The demonstration, from the command line: an undisturbed week, and the same week with the serving process killed twenty times.

use crate::binary;
use serde_json::Value;

const SEED: &str = "20171";

/// Runs the demonstration in a folder of its own and returns its outcome; its exit code must say that all is well.
fn demo(more: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let data = folder.path().join("data");
    let mut args = vec!["demo", "--json", "--seed", SEED, "--folder", data.to_str().expect("a readable path")];
    args.extend(more);
    let output = binary::run(&args);
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
    let undisturbed = demo(&[]);
    shows_the_week_of_the_scoping_guide(&undisturbed);
    assert_eq!(undisturbed["counts"]["kills"], 0);
    assert_eq!(undisturbed["counts"]["requests_repeated"], 0, "nothing had to be asked twice");

    let killed = demo(&["--kills", "20"]);
    assert_eq!(killed["counts"]["kills"], 20);
    shows_the_week_of_the_scoping_guide(&killed);
    assert_eq!(killed["monday"], undisturbed["monday"]);
    assert_eq!(killed["kpi_checksum"], undisturbed["kpi_checksum"], "the same figures");
    // The outcome compares each destination with the week; here the two runs are compared with each other.
    for what in ["documents", "mails", "orders", "acknowledged", "residents"] {
        assert_eq!(killed["counts"][what], undisturbed["counts"][what], "{what}");
    }
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
