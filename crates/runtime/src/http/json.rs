//! JSON bodies, parsed strictly, refused precisely, and never quoted.
//!
//! serde's own messages repeat what was sent (`invalid type: string "Mrs …"`), so a message is taken apart here and
//! only what is ours goes out: the path, the field's name, and what is allowed.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::codes;
use super::problem::Problem;

/// A field name longer than this is shortened in a problem.
const NAME_CHARS_MAX: usize = 64;

/// Parses a body. Types should carry `#[serde(deny_unknown_fields)]`; then an unknown field is refused by name. An
/// empty body is read as `{}`.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        refuse(error.inner(), &path)
    })?;
    reader.end().map_err(|error| refuse(&error, ""))?;
    Ok(value)
}

fn refuse(error: &serde_json::Error, path: &str) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Syntax => Problem::of(codes::JSON_MALFORMED).detail(format!("{place}: {}", syntax(error))),
        Category::Eof => Problem::of(codes::JSON_MALFORMED).detail(format!("{place}: the body ends too early")),
        Category::Io => Problem::of(codes::BODY_UNREADABLE),
        Category::Data => refuse_data(&error.to_string(), path, &place),
    }
}

/// serde_json's syntax messages are fixed texts without content, apart from the place, which is said already.
fn syntax(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

fn refuse_data(message: &str, path: &str, place: &str) -> Problem {
    let message = message.rsplit_once(" at line ").map_or(message, |(front, _)| front);
    if let Some(name) = quoted_after(message, "unknown field ") {
        let field = shorten(last_of(path, name));
        return Problem::of(codes::FIELD_UNKNOWN)
            .detail(format!("{place}: {field} is not a field of this command"))
            .field(field, "not a field of this command");
    }
    if let Some(name) = quoted_after(message, "missing field ") {
        let field = join(path, name);
        return Problem::of(codes::FIELD_MISSING).detail(format!("{field} is missing")).field(field, "is needed");
    }
    if let Some(name) = quoted_after(message, "duplicate field ") {
        let field = shorten(last_of(path, name));
        return Problem::of(codes::FIELD_INVALID).detail(format!("{place}: {field} is there more than once")).field(field, "may be there once only");
    }
    let allowed = match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {}", expected.replace('`', "")),
        None => "this value is not allowed here".to_owned(),
    };
    let field = shorten(path.to_owned());
    let shown = if field.is_empty() { "the body" } else { &field };
    Problem::of(codes::FIELD_INVALID).detail(format!("{place}: {shown}: {allowed}")).field(field.clone(), allowed)
}

fn quoted_after<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(prefix)?.strip_prefix('`')?;
    rest.find('`').map(|end| &rest[..end])
}

/// The path already ends with the unknown field's name where the deserialiser saw it.
fn last_of(path: &str, name: &str) -> String {
    if path == name || path.ends_with(&format!(".{name}")) { path.to_owned() } else { join(path, name) }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn shorten(text: String) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match clean.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the parse is of interest")]
    struct Sample {
        home: String,
        level: u8,
        #[serde(default)]
        items: Vec<Item>,
        #[serde(default)]
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the parse is of interest")]
    struct Item {
        code: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Video,
        Telephone,
    }

    fn refused(body: &str) -> Problem {
        parse::<Sample>(body.as_bytes()).expect_err("must be refused")
    }

    fn text(problem: &Problem) -> String {
        serde_json::to_string(problem).expect("serialises")
    }

    #[test]
    fn malformed_json_names_the_place_and_not_the_content() {
        let problem = refused("{\n  \"home\": \"Zyxwv\", oops }");
        assert_eq!(problem.code(), "json_malformed");
        assert!(text(&problem).contains("line 2, column"), "{problem:?}");
        assert!(!text(&problem).contains("Zyxwv"));
    }

    #[test]
    fn an_unfinished_body_is_malformed() {
        assert_eq!(refused("{\"home\": \"x\"").code(), "json_malformed");
        assert_eq!(refused("{\"home\":\"x\",\"level\":1} {}").code(), "json_malformed");
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path() {
        let problem = refused(r#"{"home":"x","level":1,"items":[{"code":"a","cod":"Zyxwv"}]}"#);
        assert_eq!(problem.code(), "field_unknown");
        assert_eq!(problem.errors()[0].field, "items[0].cod");
        assert!(!text(&problem).contains("Zyxwv"));
    }

    #[test]
    fn a_missing_field_is_named() {
        let problem = refused(r#"{"home":"x"}"#);
        assert_eq!((problem.code(), problem.errors()[0].field.as_str()), ("field_missing", "level"));
    }

    #[test]
    fn a_wrong_value_is_never_repeated() {
        for (body, field) in [
            (r#"{"home":"x","level":"Zyxwv"}"#, "level"),
            (r#"{"home":"x","level":1,"mode":"Zyxwv"}"#, "mode"),
            (r#"{"home":"x","level":1,"mode":"Zyxwv, expected Zyxwv"}"#, "mode"),
            (r#"{"home":"x","level":700}"#, "level"),
        ] {
            let problem = refused(body);
            assert_eq!(problem.code(), "field_invalid", "{body}");
            assert_eq!(problem.errors()[0].field, field);
            assert!(!text(&problem).contains("Zyxwv"), "{problem:?}");
            assert!(!text(&problem).contains("700"), "{problem:?}");
        }
    }

    #[test]
    fn an_empty_body_reads_as_an_empty_object() {
        #[derive(Deserialize)]
        struct Nothing {}
        assert!(parse::<Nothing>(b" \n").is_ok());
    }
}
