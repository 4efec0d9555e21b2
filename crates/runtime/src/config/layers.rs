//! The layers, flattened to dotted keys and laid over each other.

use std::collections::BTreeMap;
use std::fs;

use toml::{Table, Value};

use super::{ConfigError, ConfigProblem, Sources};

const PREFIX: &str = "HEARTHLINE__";

/// A value and where it was set.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File(String),
    Variable(String),
    Flag,
}

impl Origin {
    /// Values from the environment and from flags are text and may stand for numbers and lists.
    pub(super) fn is_text(&self) -> bool {
        !matches!(self, Origin::File(_))
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File(path) => write!(f, "the file {path}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag => f.write_str("a flag"),
        }
    }
}

/// All settings by dotted key; list items of tables have their index in the key (`mllp.peer.0.name`).
pub(super) type Settings = BTreeMap<String, Setting>;

pub(super) fn merge(sources: &Sources) -> Result<Settings, ConfigError> {
    let mut settings = Settings::new();
    let mut problems = Vec::new();
    if let Some(path) = &sources.file {
        let name = path.display().to_string();
        match read_file(path) {
            Ok(table) => flatten(String::new(), Value::Table(table), &Origin::File(name), &mut settings),
            Err(wrong) => problems.push(ConfigProblem { key: name, set_by: String::new(), wrong, allowed: "a readable TOML file".to_owned() }),
        }
    }
    for (name, value) in &sources.environment {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if value.is_empty() {
            continue;
        }
        let key = path.to_ascii_lowercase().replace("__", ".");
        set(&mut settings, key, Value::String(value.clone()), Origin::Variable(name.clone()));
    }
    for text in &sources.overrides {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let value = Value::String(value.trim().to_owned());
                set(&mut settings, key.trim().to_owned(), value, Origin::Flag);
            }
            _ => problems.push(ConfigProblem {
                key: text.split('=').next().unwrap_or_default().to_owned(),
                set_by: "a flag".to_owned(),
                wrong: "is no setting".to_owned(),
                allowed: "section.key=value".to_owned(),
            }),
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError { problems }) }
}

/// A scalar replaces a table of the same name and the other way round (`hub.hours = "24/7"` over `[hub.hours]`).
fn set(settings: &mut Settings, key: String, value: Value, origin: Origin) {
    let below = format!("{key}.");
    settings.retain(|known, _| !known.starts_with(&below));
    let parents: Vec<String> = key.match_indices('.').map(|(at, _)| key[..at].to_owned()).collect();
    for parent in parents {
        settings.remove(&parent);
    }
    settings.insert(key, Setting { value, origin });
}

fn flatten(key: String, value: Value, origin: &Origin, into: &mut Settings) {
    let join = |name: &str| match key.is_empty() {
        true => name.to_owned(),
        false => format!("{key}.{name}"),
    };
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                flatten(join(&name), value, origin, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (index, item) in items.into_iter().enumerate() {
                flatten(join(&index.to_string()), item, origin, into);
            }
        }
        value => set(into, key, value, origin.clone()),
    }
}

/// toml's own message quotes the line, which may hold what does not belong on a screen.
fn read_file(path: &std::path::Path) -> Result<Table, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    text.parse::<Table>().map_err(|error| {
        let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or_default());
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: {}", error.message())
    })
}
