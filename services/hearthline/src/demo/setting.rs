//! The demonstration's configuration, and the registers as files.

use std::collections::BTreeSet;

use anyhow::Context;
use hearthline_sandbox::Urls;
use jiff::ToSpan;

use super::week::Week;

/// What the run adds to the week's own settings.
pub struct Settings<'a> {
    pub week: &'a Week,
    pub sandbox: &'a Urls,
    /// Facilities of message files that are fed beside the week.
    pub other_facilities: &'a BTreeSet<String>,
    pub window_h: i64,
    pub feed_lag_h: i64,
    pub otlp_endpoint: Option<&'a str>,
    /// The sections of the servers, where there are some.
    pub servers: &'a str,
}

/// The whole `hearthline.toml`.
pub fn configuration(settings: &Settings<'_>) -> anyhow::Result<String> {
    let week = settings.week;
    let smtp = settings.sandbox.smtp.strip_prefix("smtp://").unwrap_or(&settings.sandbox.smtp);
    let (mail_host, mail_port) = smtp.rsplit_once(':').context("the sandbox's mail server has no port")?;
    let mut toml = format!(
        "# Made by `hearthline demo` for a week of made-up people.\n\
         environment = \"test\"\n\
         controller_ods = \"{controller}\"\n\n\
         [server]\nlisten = \"127.0.0.1:0\"\n\n\
         [hub]\nhours = \"24/7\"\n\n\
         [eps]\nurl = \"{eps}\"\n\n\
         [shared_record]\nurl = \"{fhir}\"\n\n\
         [mail]\nhost = \"{mail_host}\"\nport = {mail_port}\nfrom = \"hub@example.nhs.net\"\ntls = \"none\"\n\n\
         [kpi]\nwindow_hours = {window_h}\nfeed_lag_hours = {lag_h}\n\n",
        controller = super::CONTROLLER,
        eps = settings.sandbox.eps,
        fhir = settings.sandbox.fhir,
        window_h = settings.window_h,
        lag_h = settings.feed_lag_h,
    );
    if let Some(endpoint) = settings.otlp_endpoint {
        toml.push_str(&format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\n\n"));
    }
    let from = week.monday.checked_sub(60.days())?;
    for trust in week.trusts() {
        let sites: Vec<_> = week.sites.iter().filter(|site| site.trust_ods == trust).collect();
        let facilities: Vec<&str> = sites.iter().map(|site| site.ods).collect();
        let areas = sites.first().map_or(&[][..], |site| site.postcode_areas);
        toml.push_str(&format!(
            "[[kpi.coverage]]\ntrust_ods = \"{trust}\"\nfacilities = {facilities:?}\npostcode_areas = {areas:?}\nfrom = \"{from}\"\narrival_mode = true\n\n"
        ));
    }
    toml.push_str("[mllp]\nlisten = \"127.0.0.1:0\"\n\n");
    for site in &week.sites {
        toml.push_str(&format!("[[mllp.peer]]\nname = \"{} {}\"\nfacility_ods = \"{}\"\nhome_level_visits_from = \"2020-01-01\"\nhome_level_visits_purpose = \"evaluation of the telemedicine service\"\nhome_level_visits_lawful_basis = \"UK GDPR 6(1)(e)\"\n\n", site.trust_ods, site.ods, site.ods));
    }
    let own: BTreeSet<&str> = week.sites.iter().map(|site| site.ods).collect();
    for facility in settings.other_facilities.iter().filter(|facility| !own.contains(facility.as_str())) {
        toml.push_str(&format!("[[mllp.peer]]\nname = \"files of {facility}\"\nfacility_ods = \"{facility}\"\n\n"));
    }
    toml.push_str(settings.servers);
    Ok(toml)
}

/// The register of practices.
pub fn practices(week: &Week) -> anyhow::Result<Vec<u8>> {
    let rows = week.practices.iter().map(|it| vec![it.ods_code.clone(), it.name.clone(), it.postcode.clone()]);
    csv(&["ods_code", "name", "postcode"], rows)
}

/// The register of pharmacies.
pub fn pharmacies(week: &Week) -> anyhow::Result<Vec<u8>> {
    let columns = ["ods_code", "name", "postcode", "latitude", "longitude", "opening", "listed_from"];
    let listed_from = week.monday.checked_sub(90.days())?;
    let rows = week.pharmacies.iter().map(|it| {
        vec![
            it.ods_code.clone(),
            it.name.clone(),
            it.postcode.clone(),
            format!("{:.6}", it.latitude),
            format!("{:.6}", it.longitude),
            it.opening.to_owned(),
            listed_from.to_string(),
        ]
    });
    csv(&columns, rows)
}

/// The register of homes.
pub fn homes(week: &Week) -> anyhow::Result<Vec<u8>> {
    let columns = [
        "ods_code",
        "cqc_location_id",
        "name",
        "address_line_1",
        "address_line_2",
        "town",
        "postcode",
        "uprn",
        "beds",
        "home_type",
        "controller_ods",
        "latitude",
        "longitude",
        "live_from",
        "secure_email",
        "secure_email_verified_on",
        "practice_ods",
    ];
    let rows = week.homes.iter().map(|it| {
        let (email, verified_on) = it.secure_email.as_ref().map_or_else(Default::default, |(email, on)| (email.clone(), on.to_string()));
        vec![
            it.ods_code.clone(),
            it.cqc_location_id.clone(),
            it.name.clone(),
            it.address_line_1.clone(),
            it.address_line_2.clone(),
            it.town.to_owned(),
            it.postcode.clone(),
            it.uprn.clone(),
            it.beds.to_string(),
            it.home_type.to_owned(),
            it.controller_ods.clone(),
            format!("{:.6}", it.latitude),
            format!("{:.6}", it.longitude),
            it.live_from.to_string(),
            email,
            verified_on,
            week.practices[it.practice].ods_code.clone(),
        ]
    });
    csv(&columns, rows)
}

fn csv(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns)?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().context("a register cannot be written")
}
