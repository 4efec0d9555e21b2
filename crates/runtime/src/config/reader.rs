//! Takes settings one by one, with what is allowed, and remembers what was taken, what was wrong and what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Value;

use super::ConfigProblem;
use super::layers::{Origin, Setting, Settings};

/// A key with its effective value (`None`: not set) and its origin (empty: default).
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    pub(crate) key: String,
    pub(crate) value: Option<Value>,
    pub(crate) origin: String,
}

pub(super) struct Reader {
    settings: Settings,
    known: BTreeSet<String>,
    pub(super) effective: Vec<Effective>,
    pub(super) problems: Vec<ConfigProblem>,
}

impl Reader {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, known: BTreeSet::new(), effective: Vec::new(), problems: Vec::new() }
    }

    /// A text that `parse` understands; `default` where it is not set or wrong.
    pub(super) fn parsed<T, F>(&mut self, key: &str, default: &str, allowed: &str, parse: F) -> T
    where
        F: Fn(&str) -> Option<T>,
    {
        let value = self.optional(key, Some(default), allowed, &parse);
        value.unwrap_or_else(|| parse(default).expect("a default is a valid value of its own key"))
    }

    /// A text that `parse` understands, or nothing.
    pub(super) fn optional<T, F>(&mut self, key: &str, default: Option<&str>, allowed: &str, parse: F) -> Option<T>
    where
        F: Fn(&str) -> Option<T>,
    {
        let setting = self.take(key);
        let (text, origin) = match &setting {
            Some(Setting { value: Value::String(text), origin }) => (Some(text.as_str()), Some(origin)),
            Some(Setting { value: Value::Datetime(date), origin }) => {
                let text = date.to_string();
                let parsed = parse(&text);
                self.note(key, Some(Value::String(text)), Some(origin));
                return self.or_wrong(parsed, key, origin, "is no value of this key", allowed);
            }
            Some(Setting { value, origin }) => {
                self.wrong(key, Some(origin), format!("is {}", kind(value)), allowed);
                return None;
            }
            None => (default, None),
        };
        self.note(key, text.map(|text| Value::String(text.to_owned())), origin);
        let parsed = parse(text?);
        match origin {
            Some(origin) => self.or_wrong(parsed, key, origin, "is no value of this key", allowed),
            None => parsed,
        }
    }

    /// A whole number within a range.
    pub(super) fn number<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>, unit: &str) -> T
    where
        T: TryFrom<i64> + FromStr + PartialOrd + Display + Copy,
    {
        let allowed = format!("a whole number from {} to {}{unit}", range.start(), range.end());
        let setting = self.take(key);
        let (read, origin) = match &setting {
            None => (Some(default), None),
            Some(Setting { value: Value::Integer(number), origin }) => (T::try_from(*number).ok(), Some(origin)),
            Some(Setting { value: Value::String(text), origin }) if origin.is_text() => (text.parse().ok(), Some(origin)),
            Some(Setting { value, origin }) => {
                self.wrong(key, Some(origin), format!("is {}", kind(value)), &allowed);
                return default;
            }
        };
        let number = read.filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(key, origin, "is outside the range or no number", &allowed);
        }
        let number = number.unwrap_or(default);
        let shown = number.to_string().parse().map(Value::Integer).ok();
        self.note(key, shown, origin);
        number
    }

    /// True or false.
    pub(super) fn switch(&mut self, key: &str, default: bool) -> bool {
        let setting = self.take(key);
        let (read, origin) = match &setting {
            None => (Some(default), None),
            Some(Setting { value: Value::Boolean(on), origin }) => (Some(*on), Some(origin)),
            Some(Setting { value: Value::String(text), origin }) if origin.is_text() => (text.parse().ok(), Some(origin)),
            Some(Setting { origin, .. }) => (None, Some(origin)),
        };
        if read.is_none() {
            self.wrong(key, origin, "is neither true nor false", "true or false");
        }
        self.note(key, Some(Value::Boolean(read.unwrap_or(default))), origin);
        read.unwrap_or(default)
    }

    /// A list of texts; in the environment and in flags separated by commas.
    pub(super) fn list<T, F>(&mut self, key: &str, allowed: &str, parse: F) -> Vec<T>
    where
        F: Fn(&str) -> Option<T>,
    {
        let setting = self.take(key);
        let Some(Setting { value, origin }) = &setting else {
            self.note(key, Some(Value::Array(Vec::new())), None);
            return Vec::new();
        };
        let texts: Option<Vec<String>> = match value {
            Value::Array(items) => items.iter().map(text_of).collect(),
            Value::String(text) if origin.is_text() => Some(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()),
            _ => None,
        };
        let parsed = texts.as_ref().and_then(|texts| texts.iter().map(|text| parse(text)).collect());
        let shown = texts.unwrap_or_default().into_iter().map(Value::String).collect();
        self.note(key, Some(Value::Array(shown)), Some(origin));
        self.or_wrong(parsed, key, origin, "has an item that is no value of this key", allowed).unwrap_or_default()
    }

    /// Every key below one, as text: names that are somebody else's.
    pub(super) fn section(&mut self, key: &str, allowed: &str) -> BTreeMap<String, String> {
        let front = format!("{key}.");
        let keys: Vec<String> = self.settings.keys().filter(|known| known.starts_with(&front)).cloned().collect();
        keys.into_iter()
            .filter_map(|known| {
                let text = |value: &Value| match value {
                    Value::String(text) => Some(text.clone()),
                    Value::Integer(number) => Some(number.to_string()),
                    Value::Boolean(on) => Some(on.to_string()),
                    _ => None,
                };
                let Setting { value, origin } = self.take(&known)?;
                self.note(&known, Some(value.clone()), Some(&origin));
                let value = self.or_wrong(text(&value), &known, &origin, "is neither text nor a number", allowed)?;
                // A variable's name has no dots: `SOCKET_KEEPALIVE_ENABLE` means `socket.keepalive.enable`.
                let name = known[front.len()..].to_owned();
                Some((if matches!(origin, Origin::Variable(_)) { name.replace('_', ".") } else { name }, value))
            })
            .collect()
    }

    /// A socket address.
    pub(super) fn address(&mut self, key: &str, default: &str) -> SocketAddr {
        self.parsed(key, default, "an address and a port, such as 127.0.0.1:8080 or [::1]:8080", |text| text.parse().ok())
    }

    /// A path, or nothing.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.optional(key, None, "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)))
    }

    /// An http or https address without a trailing slash, or nothing.
    pub(super) fn url(&mut self, key: &str) -> Option<String> {
        self.optional(key, None, "an address beginning with http:// or https://", |text| {
            let uri: axum::http::Uri = text.parse().ok()?;
            let fits = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
            fits.then(|| text.trim_end_matches('/').to_owned())
        })
    }

    /// The indices of a list of tables, in order.
    pub(super) fn indices(&mut self, key: &str, fields: &[&str]) -> Vec<usize> {
        for field in fields {
            self.known.insert(format!("{key}.0.{field}"));
        }
        let front = format!("{key}.");
        let indices: BTreeSet<usize> = self.settings.keys().filter_map(|known| known.strip_prefix(&front)?.split('.').next()?.parse().ok()).collect();
        indices.into_iter().collect()
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.settings.contains_key(key)
    }

    /// Records what is wrong with a key that has been taken already, or with several together.
    pub(super) fn wrong(&mut self, key: &str, origin: Option<&Origin>, wrong: impl Into<String>, allowed: impl Into<String>) {
        self.problems.push(ConfigProblem {
            key: key.to_owned(),
            set_by: origin.map(Origin::to_string).unwrap_or_default(),
            wrong: wrong.into(),
            allowed: allowed.into(),
        });
    }

    /// Whatever nobody has asked for is a mistake, most often of spelling.
    pub(super) fn refuse_unknown(&mut self) {
        for (key, setting) in std::mem::take(&mut self.settings) {
            let nearest = nearest(&key, &self.known);
            self.problems.push(ConfigProblem {
                key,
                set_by: setting.origin.to_string(),
                wrong: match nearest {
                    Some(nearest) => format!("is not a setting; did you mean {nearest}?"),
                    None => "is not a setting".to_owned(),
                },
                allowed: String::new(),
            });
        }
    }

    fn take(&mut self, key: &str) -> Option<Setting> {
        self.known.insert(key.to_owned());
        self.settings.remove(key)
    }

    fn note(&mut self, key: &str, value: Option<Value>, origin: Option<&Origin>) {
        self.effective.push(Effective { key: key.to_owned(), value, origin: origin.map(Origin::to_string).unwrap_or_default() });
    }

    fn or_wrong<T>(&mut self, value: Option<T>, key: &str, origin: &Origin, wrong: &str, allowed: &str) -> Option<T> {
        if value.is_none() {
            self.wrong(key, Some(origin), wrong, allowed);
        }
        value
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Datetime(date) => Some(date.to_string()),
        _ => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

/// The known key with the fewest letters changed, if it is near enough to be meant. List indices count as equal.
fn nearest(key: &str, known: &BTreeSet<String>) -> Option<String> {
    let plain = |key: &str| -> String {
        let part = |part: &str| match part.bytes().all(|b| b.is_ascii_digit()) {
            true => "0".to_owned(),
            false => part.to_ascii_lowercase(),
        };
        key.split('.').map(part).collect::<Vec<_>>().join(".")
    };
    let asked = plain(key);
    // A secret given as a value where a file is expected.
    if let Some(file) = known.iter().find(|known| **known == format!("{asked}_file")) {
        return Some(file.clone());
    }
    let best = known.iter().map(|known| (distance(&asked, &plain(known)), known)).min_by_key(|(distance, known)| (*distance, known.len()))?;
    let same_section = best.1.rsplit_once('.').map(|(section, _)| section.to_owned()) == asked.rsplit_once('.').map(|(section, _)| section.to_owned());
    let enough = if same_section { asked.len() / 2 } else { asked.len() / 3 };
    if best.0 <= enough.max(2) {
        return Some(best.1.clone());
    }
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    known.iter().find(|known| last(known) == last(&asked)).cloned()
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
