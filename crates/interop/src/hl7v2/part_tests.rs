use super::super::places::marks;
use super::*;

/// The segment amid others, so that what stands around it must not count.
fn segment(text: &str) -> Segment<'static> {
    let around = format!("{}|~^&|{text}\r|~^&|", "x".repeat(text.len() * 7 % 65)).leak();
    let start = around.find(&format!("{text}\r")).expect("it is there");
    let marks = marks(b'|', around.as_bytes()).leak();
    Segment::new(&around[start..start + text.len()], Separators::STANDARD, Marked::from(marks, start))
}

fn texts<'m>(values: impl Iterator<Item = Value<'m>>) -> Vec<Option<&'m str>> {
    values.map(Value::text).collect()
}

#[test]
fn absent_empty_and_null_are_three_things() {
    let pid = segment("PID|1||\"\"|x");
    assert_eq!(pid.field(2).value(), Value::Empty);
    assert_eq!(pid.field(3).value(), Value::Null);
    assert_eq!(pid.field(4).value(), Value::Text("x"));
    assert_eq!(pid.field(5).value(), Value::Absent);
    assert_eq!(pid.field(0).value(), Value::Absent);
    assert_eq!(segment("PID|1|").field(2).value(), Value::Empty);
    assert_eq!(segment("PID").field(1).value(), Value::Absent);
}

#[test]
fn a_composite_is_deleted_only_when_every_component_is_null() {
    assert!(!segment("PV1|PED^\"\"^\"\"^ST1A^\"\"").field(1).first().is_delete());
    assert!(segment("PV1|\"\"^\"\"").field(1).first().is_delete());
    assert!(segment("PV1|\"\"").field(1).first().is_delete());
    assert!(!segment("PV1|").field(1).first().is_delete());
    assert_eq!(segment("PV1|PED^\"\"^x").field(1).component(2).value(), Value::Null);
}

#[test]
fn repetitions_components_and_subcomponents_are_found() {
    let pid = segment("PID|a~b^c^d&e&f~~g");
    let field = pid.field(1);
    assert_eq!(texts(field.repetitions().map(|r| r.component(1).value())), [Some("a"), Some("b"), None, Some("g")]);
    let second = field.repetitions().nth(1).expect("second repetition");
    assert_eq!(second.component(3).value(), Value::Text("d&e&f"));
    assert_eq!(second.component(3).subcomponent(2), Value::Text("e"));
    assert_eq!(second.component(3).subcomponent(4), Value::Absent);
    assert_eq!(second.component(4).value(), Value::Absent);
    assert_eq!(field.component(2).value(), Value::Absent);
}

#[test]
fn an_empty_first_repetition_counts() {
    let field = segment("PID|~Repeat2").field(1);
    assert_eq!(texts(field.repetitions().map(|r| r.value())), [None, Some("Repeat2")]);
    assert_eq!(field.first().value(), Value::Empty);
    assert_eq!(segment("PID").field(1).repetitions().count(), 0);
}

#[test]
fn fields_are_what_stands_between_separators() {
    let long = format!("OBX|{}|{}||z", "x".repeat(300), "|".repeat(150));
    for text in ["PID|1||x~y|z|", "PID", "PID|", "PV1|a|b|c|d|e|f|g|h|i", &long] {
        let pieces: Vec<&str> = text.split('|').collect();
        for number in 1..170 {
            assert!(segment(text).field(number).value() == Value::of(pieces.get(number).copied()), "{text} field {number}");
        }
    }
}

#[test]
fn trailing_and_surplus_delimiters_do_no_harm() {
    let segment = segment("ZZ1||^^^^|~~~|&&&|");
    assert_eq!(segment.field(2).component(9).value(), Value::Absent);
    assert_eq!(segment.field(3).repetitions().count(), 4);
    assert_eq!(segment.field(4).component(1).subcomponent(2), Value::Empty);
    assert_eq!(segment.field(5).value(), Value::Empty);
}

#[test]
fn codes_are_trimmed_and_text_is_unescaped() {
    let segment = segment("PV1|ORU^R01 |A\\T\\E^x|   ");
    assert_eq!(segment.field(1).component(2).code(), Some("R01"));
    assert_eq!(segment.field(2).component(1).decoded().as_deref(), Some("A&E"));
    assert_eq!(segment.field(3).component(1).code(), None);
}
