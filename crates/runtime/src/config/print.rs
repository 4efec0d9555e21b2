//! The effective configuration as TOML.

use std::fmt::Write;

use toml::Value;

use super::reader::Effective;

/// Top-level keys first, then a section each, then lists of tables; a value that is not a default says who set it.
pub(super) fn render(effective: &[Effective]) -> String {
    let mut text = String::new();
    for entry in effective.iter().filter(|entry| !entry.key.contains('.')) {
        line(&mut text, &entry.key, entry);
    }
    // In order of first appearance, so that a section is written once.
    let mut sections: Vec<(&str, Vec<(&str, &Effective)>)> = Vec::new();
    for entry in effective {
        let Some((section, name)) = entry.key.rsplit_once('.') else {
            continue;
        };
        match sections.iter_mut().find(|(known, _)| *known == section) {
            Some((_, lines)) => lines.push((name, entry)),
            None => sections.push((section, vec![(name, entry)])),
        }
    }
    for (section, lines) in sections {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{}", header(section));
        for (name, entry) in lines {
            line(&mut text, name, entry);
        }
    }
    text
}

/// `mllp.peer.0` is `[[mllp.peer]]`.
fn header(section: &str) -> String {
    match section.rsplit_once('.') {
        Some((list, index)) if index.bytes().all(|b| b.is_ascii_digit()) => format!("[[{list}]]"),
        _ => format!("[{section}]"),
    }
}

fn line(text: &mut String, name: &str, entry: &Effective) {
    // Writing to a String cannot fail.
    let _ = match &entry.value {
        None => writeln!(text, "# {name} is not set"),
        Some(value) if entry.origin.is_empty() => writeln!(text, "{name} = {}", redacted(value)),
        Some(value) => writeln!(text, "{name} = {}  # from {}", redacted(value), entry.origin),
    };
}

/// An address may carry a password before its host.
fn redacted(value: &Value) -> Value {
    let Value::String(text) = value else {
        return value.clone();
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return value.clone();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => Value::String(format!("{scheme}://redacted{}", &rest[at..])),
        None => value.clone(),
    }
}
