//! The run checks itself: what went in is what came out, and nothing arrived twice.

use std::collections::BTreeMap;

use hearthline_sandbox::Sandbox;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::expect::{Claims, Expected};
use super::journey::Closed;
use super::week::{Claim, Week};

/// The figures of a week as the KPI service gives them.
pub struct Figures<'k>(pub &'k Value);

impl Figures<'_> {
    fn measure(&self, id: &str) -> &Value {
        let measures = self.0["measures"].as_array().map_or(&[][..], Vec::as_slice);
        measures.iter().find(|measure| measure["id"] == id).unwrap_or(&Value::Null)
    }

    /// The whole window's value of a measure.
    pub fn value(&self, id: &str) -> Option<u64> {
        self.measure(id)["value"].as_u64()
    }

    /// The part of a measure that one of its words names.
    pub fn part(&self, id: &str, word: &str) -> u64 {
        self.measure(id)["by"][word].as_u64().unwrap_or(0)
    }

    /// Where the claims of a kind stand.
    pub fn claims(&self, kind: Claim) -> Claims {
        let measure = self.measure(measure_of(kind));
        let count = |word: &str| measure[word].as_u64().unwrap_or(u64::MAX);
        Claims {
            declared: count("declared"),
            sustained: count("sustained"),
            contradicted: count("contradicted"),
            unverifiable: count("unverifiable"),
            pending: count("pending"),
        }
    }

    /// All figures without what differs between two runs of one week: ids and times of the run.
    pub fn stable(&self) -> Value {
        let measures = self.0["measures"].as_array().map_or(&[][..], Vec::as_slice);
        let kept = measures.iter().map(|measure| {
            let mut kept = measure.clone();
            if let Some(fields) = kept.as_object_mut() {
                fields.remove("as_of");
            }
            kept
        });
        let contradicted = self.0["contradicted"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let mut contradicted: Vec<String> =
            contradicted.map(|one| json!([one["kind"], one["facility_ods"], one["claimed_from"], one["at"]]).to_string()).collect();
        contradicted.sort();
        json!({ "measures": kept.collect::<Vec<_>>(), "contradicted": contradicted })
    }

    /// SHA-256 of the stable figures, in hexadecimal.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.stable().to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn measure_of(kind: Claim) -> &'static str {
    match kind {
        Claim::Conveyance => "ambulance_conveyances_avoided",
        Claim::EdAttendance => "ed_attendances_avoided",
        Claim::Admission => "admissions_avoided",
    }
}

/// Collects what is not as it should be.
#[derive(Default)]
pub struct Differences(pub Vec<String>);

impl Differences {
    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, came_out: T, went_in: T) {
        if came_out != went_in {
            self.0.push(format!("{what}: {came_out:?} came out where {went_in:?} went in"));
        }
    }

    /// The KPIs against the week.
    pub fn figures(&mut self, figures: &Figures<'_>, expected: &Expected) {
        self.equal("calls", figures.value("calls_total"), Some(expected.calls));
        for (kind, claims) in &expected.claims {
            self.equal(&format!("{} claims", kind.word()), figures.claims(*kind), *claims);
        }
        self.equal("prescriptions", figures.value("prescriptions_issued"), Some(expected.prescriptions));
        self.equal("treatment plans", figures.value("treatment_plans_created"), Some(expected.plans));
        self.equal("plans emailed", figures.value("care_plans_emailed"), Some(expected.documents));
        self.equal("uploads", figures.value("shared_record_uploads"), Some(expected.documents));
        for (what, id, residents, home_level) in [
            ("attendances", "ed_attendances", expected.attendances, expected.attendances_home_level),
            ("admissions", "emergency_admissions", expected.admissions, expected.admissions_home_level),
        ] {
            self.equal(&format!("{what} of residents"), figures.part(id, "resident"), residents);
            self.equal(&format!("{what} at home level"), figures.part(id, "home_level"), home_level);
        }
    }

    /// What the outside received: every document, mail and order of these calls once, and nothing else.
    pub fn outside(&mut self, sandbox: &Sandbox, week: &Week, expected: &Expected, closed: &[Closed]) {
        let documents = sandbox.fhir.documents();
        let mut times: BTreeMap<String, u64> = BTreeMap::new();
        for document in &documents {
            let identifier = document.identifiers.first().map_or_else(|| document.reference(), |id| format!("{}|{}", id.system, id.value));
            *times.entry(identifier).or_default() += 1;
        }
        self.equal("documents that the shared record holds twice", times.values().filter(|times| **times > 1).count(), 0);
        let standing = documents.iter().filter(|document| !document.superseded).count() as u64;
        self.equal("documents standing in the shared record", standing, expected.documents);

        let mails = sandbox.smtp.counts();
        self.equal("mails that arrived twice", mails.mails - mails.message_ids, 0);
        let mut mails_to: BTreeMap<String, u64> = BTreeMap::new();
        for recipient in sandbox.smtp.mails().into_iter().flat_map(|mail| mail.to) {
            *mails_to.entry(recipient.to_lowercase()).or_default() += 1;
        }
        let shared = week.calls.iter().filter(|call| call.consent != Some("refused"));
        let addresses = shared.filter_map(|call| week.homes[week.residents[call.resident].home].secure_email.as_ref());
        self.equal("mails by recipient", mails_to, addresses.map(|(address, _)| (address.clone(), 1)).collect());

        let orders = sandbox.eps.orders();
        self.equal("orders that the prescription service holds", orders.len() as u64, expected.prescriptions);
        self.equal("orders repeated with another content", orders.iter().filter(|order| order.times_differing > 0).count(), 0);
        let mut held: Vec<String> = orders.into_iter().map(|order| order.prescription_id).collect();
        let mut ours: Vec<String> = closed.iter().filter_map(|call| call.order_number.clone()).collect();
        held.sort();
        ours.sort();
        self.equal("order numbers", held, ours);
    }

    /// Acknowledgements, and what the gateway says that it took in.
    pub fn messages(&mut self, codes: &BTreeMap<&'static str, u64>, summary: &BTreeMap<String, u64>, expected: &Expected) {
        let sent: u64 = expected.messages.values().sum();
        self.equal("acknowledgements", codes.clone(), BTreeMap::from([("AA", sent)]));
        let expected: BTreeMap<String, u64> = expected.messages.iter().map(|(site, count)| ((*site).to_owned(), *count)).collect();
        self.equal("messages in the inbox by facility", summary.clone(), expected);
    }

    /// Nothing may be left lying about.
    pub fn rest(&mut self, status: &Value) {
        for service in status["services"].as_array().into_iter().flatten() {
            let name = service["name"].as_str().unwrap_or("?");
            for (field, what) in [("parked", "parked records"), ("deliveries_unconfirmed", "unconfirmed deliveries"), ("deliveries_open", "open deliveries")] {
                self.equal(&format!("{what} of {name}"), service[field].as_u64(), Some(0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::expect::{Rule, expect};
    use super::super::generator::{Make, generate};
    use super::*;

    fn expected() -> Expected {
        let make = Make { seed: 104, monday: jiff::civil::Date::constant(2025, 10, 20), messages: 1_500, marker: None };
        let week = generate(&make).expect("the week is in the calendar");
        expect(&week, Rule { window_h: 72, feed_lag_h: 24, as_of: week.ends_at + 5 * 24 * 3_600_000_000 })
    }

    /// An answer of the KPI service that agrees with what is expected.
    fn answer(expected: &Expected) -> Value {
        let value = |id: &str, value: u64| json!({ "id": id, "value": value });
        let mut measures = vec![
            value("calls_total", expected.calls),
            value("prescriptions_issued", expected.prescriptions),
            value("treatment_plans_created", expected.plans),
            value("care_plans_emailed", expected.documents),
            value("shared_record_uploads", expected.documents),
            json!({ "id": "ed_attendances", "by": { "resident": expected.attendances, "home_level": expected.attendances_home_level } }),
            json!({ "id": "emergency_admissions", "by": { "resident": expected.admissions, "home_level": expected.admissions_home_level } }),
        ];
        measures.extend(expected.claims.iter().map(|(kind, of)| {
            json!({
                "id": measure_of(*kind), "declared": of.declared, "sustained": of.sustained, "contradicted": of.contradicted,
                "unverifiable": of.unverifiable, "pending": of.pending,
            })
        }));
        json!({ "as_of": "2025-11-02T00:00:00Z", "measures": measures, "contradicted": [] })
    }

    fn differences(kpi: &Value, expected: &Expected) -> Vec<String> {
        let mut found = Differences::default();
        found.figures(&Figures(kpi), expected);
        found.0
    }

    #[test]
    fn figures_that_agree_are_no_difference() {
        let expected = expected();
        assert_eq!(differences(&answer(&expected), &expected), Vec::<String>::new());
    }

    #[test]
    fn any_figure_that_is_off_by_one_or_missing_is_named() {
        let expected = expected();
        let whole = answer(&expected);
        let measures = whole["measures"].as_array().map_or(0, Vec::len);
        for at in 0..measures {
            let mut missing = whole.clone();
            missing["measures"][at]["id"] = json!("another");
            assert!(!differences(&missing, &expected).is_empty(), "{}", whole["measures"][at]["id"]);
        }
        let mut off = whole.clone();
        off["measures"][0]["value"] = json!(expected.calls + 1);
        assert_eq!(differences(&off, &expected), ["calls: Some(16) came out where Some(15) went in"]);
    }

    #[test]
    fn the_checksum_is_of_the_figures_and_not_of_the_run() {
        let expected = expected();
        let (first, mut later) = (answer(&expected), answer(&expected));
        later["as_of"] = json!("2025-11-03T00:00:00Z");
        later["measures"][0]["as_of"] = json!("2025-11-03T00:00:00Z");
        assert_eq!(Figures(&first).checksum(), Figures(&later).checksum());
        later["measures"][0]["value"] = json!(14);
        assert_ne!(Figures(&first).checksum(), Figures(&later).checksum());
    }
}
