//! The table that a run ends with.

use super::Outcome;
use super::check::Figures;
use super::week::Claim;

/// The figures of the week, the page and what differs.
pub fn table(outcome: &Outcome) -> String {
    let figures = Figures(&outcome.kpi);
    let counts = &outcome.counts;
    let plain = |label: &str, value: Option<u64>| format!("  {label:<26}{:>8}\n", value.map_or("-".to_owned(), |value| value.to_string()));
    let mut text = format!("\nThe week from {} ({} homes)\n\n", outcome.monday, counts.homes);
    text.push_str(&plain("calls", figures.value("calls_total")));
    text.push_str(&format!("\n  {:<26}{:>8}  {:>9}  {:>12}  {:>12}  {:>7}\n", "avoided", "declared", "sustained", "contradicted", "unverifiable", "pending"));
    for (label, kind) in [("ambulance conveyances", Claim::Conveyance), ("ED attendances", Claim::EdAttendance), ("admissions", Claim::Admission)] {
        let of = figures.claims(kind);
        text.push_str(&format!("  {label:<26}{:>8}  {:>9}  {:>12}  {:>12}  {:>7}\n", of.declared, of.sustained, of.contradicted, of.unverifiable, of.pending));
    }
    text.push('\n');
    for (label, id) in
        [("prescriptions", "prescriptions_issued"), ("care plans emailed", "care_plans_emailed"), ("uploads to shared record", "shared_record_uploads")]
    {
        text.push_str(&plain(label, figures.value(id)));
    }
    for (label, id) in [("ED attendances seen", "ed_attendances"), ("emergency admissions seen", "emergency_admissions")] {
        let (residents, homes) = (figures.part(id, "resident"), figures.part(id, "home_level"));
        text.push_str(&format!("  {label:<26}{:>8}  ({residents} of residents, {homes} known by their home only)\n", residents + homes));
    }
    text.push_str(&format!("\n  messages acknowledged     {}\n", by_code(&counts.acknowledged)));
    if !counts.files_acknowledged.is_empty() || counts.files_unreadable > 0 {
        text.push_str(&format!("  of message files          {}, {} files without a message\n", by_code(&counts.files_acknowledged), counts.files_unreadable));
    }
    if counts.processes > 1 {
        text.push_str(&format!("  serving processes         {}\n", counts.processes));
    }
    if counts.kills > 0 {
        text.push_str(&format!(
            "  killed and restarted      {} times; {} requests and {} messages sent again, {} deliveries settled by hand\n",
            counts.kills, counts.requests_repeated, counts.messages_resent, counts.settled_by_hand
        ));
    }
    text.push_str(&format!("  figures                   sha256 {}\n", outcome.kpi_checksum));
    text.push_str(&format!("  took                      {:.1} s\n", outcome.timings.total_ms as f64 / 1_000.0));
    if outcome.agrees() {
        text.push_str("\nWhat went in is what came out; every document, mail and order arrived once.\n");
    } else {
        text.push_str("\nWhat came out is NOT what went in:\n");
        for difference in &outcome.differences {
            text.push_str(&format!("  - {difference}\n"));
        }
    }
    text
}

fn by_code(codes: &std::collections::BTreeMap<&'static str, u64>) -> String {
    let parts: Vec<String> = codes.iter().map(|(code, count)| format!("{count} {code}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
