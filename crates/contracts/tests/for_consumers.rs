//! What lies in the repository for consumers of one's own is fresh.

#[path = "support/for_consumers.rs"]
mod for_consumers;

use for_consumers::{files, in_repository};

#[test]
fn the_files_for_consumers_are_those_of_the_catalogue_and_the_corpus() {
    for (path, wanted) in files() {
        let found = std::fs::read_to_string(in_repository(path)).unwrap_or_default();
        assert!(found == wanted, "{path} is stale: cargo run -p hearthline-contracts --example for_consumers");
    }
}
