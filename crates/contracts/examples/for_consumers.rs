//! Writes the files for consumers of one's own: `proto/topics.json`, and the records with which `deploy/examples/check` tries the examples.

#[path = "../tests/support/for_consumers.rs"]
mod for_consumers;

fn main() -> std::io::Result<()> {
    for (path, text) in for_consumers::files() {
        std::fs::write(for_consumers::in_repository(path), text)?;
        println!("{path}");
    }
    Ok(())
}
