//! Which service answers a path. A deployment of separate processes has no single address; whoever stands in front of them, here the
//! driver, sends each request on by its first words.

use hearthline_call_intake as call_intake;
use hearthline_clinical_outcome as clinical_outcome;
use hearthline_directory as directory;
use hearthline_kpi_projection as kpi_projection;
use hearthline_pas_gateway as pas_gateway;
use hearthline_prescribing as prescribing;
use hearthline_shared_record as shared_record;

/// A path and all below it.
const BELOW: &[(&str, &str)] = &[
    ("/calls", call_intake::NAME),
    ("/consultations", clinical_outcome::NAME),
    ("/prescriptions", prescribing::NAME),
    ("/pharmacies", prescribing::NAME),
    ("/shares", shared_record::NAME),
    ("/kpi", kpi_projection::NAME),
    ("/kpi.csv", kpi_projection::NAME),
    ("/kpi.css", kpi_projection::NAME),
    ("/kpi.js", kpi_projection::NAME),
    ("/pas", pas_gateway::NAME),
    ("/registers", directory::NAME),
    ("/residents", directory::NAME),
    ("/homes", directory::NAME),
];
/// Below it comes the name of the service.
const TASKS: &str = "/tasks/";

/// The service that answers a path; none for what every process answers for itself (`/ops`, `/livez`, `/metrics`).
pub fn service_of(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or(path);
    if path == "/" {
        return Some(kpi_projection::NAME);
    }
    if let Some(of) = path.strip_prefix(TASKS) {
        return crate::up::SERVICES.iter().copied().find(|service| *service == of);
    }
    let is_below = |front: &str| path.strip_prefix(front).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    BELOW.iter().find(|(front, _)| is_below(front)).map(|(_, service)| *service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthline_runtime::config::{Config, Sources};
    use hearthline_runtime::http::access_table;
    use hearthline_runtime::telemetry::Telemetry;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_route_of_a_service_leads_to_that_service() {
        let common: BTreeSet<&str> = access_table(&crate::ops::routes()).iter().map(|row| row.path).collect();
        for service in crate::up::SERVICES {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            let settings = ["server.listen=127.0.0.1:0".to_owned(), "mllp.listen=127.0.0.1:0".to_owned(), format!("data.folder={}", folder.path().display())];
            let config = Config::load(&Sources { overrides: settings.to_vec(), ..Sources::default() }).expect("a sound configuration");
            let telemetry = Arc::new(Telemetry::start(&config.telemetry).expect("telemetry without an address"));
            let started = crate::up::start(&config, &telemetry, false, Some(service)).await.expect("it starts");
            let paths: BTreeSet<&str> = started.access.iter().map(|row| row.path).collect();
            started.run(std::future::ready(())).await.expect("it stops");
            assert!(paths.is_superset(&common) && paths.len() > common.len(), "{service} has routes of its own");
            for path in paths {
                let wanted = (!common.contains(path)).then_some(*service);
                assert_eq!(service_of(path), wanted, "{path} of {service}");
            }
        }
    }

    #[test]
    fn a_query_and_what_is_below_a_path_do_not_change_who_answers() {
        assert_eq!(service_of("/kpi?from=2025-10-20&to=2025-10-27"), Some("kpi-projection"));
        assert_eq!(service_of("/calls/11111111-1111-4111-8111-111111111111/close"), Some("call-intake"));
        assert_eq!(service_of("/tasks/directory"), Some("directory"));
        for unknown in ["/callsign", "/ops/status", "/tasks/nobody", "/kpi.html", ""] {
            assert_eq!(service_of(unknown), None, "{unknown}");
        }
    }
}
