use std::{cell::RefCell, rc::Rc};

use hearthline_nhs::{DateOfBirth, NhsNumber, Personal, Sensitive};
use zeroize::Zeroize;

/// Tells from outside that it was wiped.
struct Witness(Rc<RefCell<bool>>);

impl Zeroize for Witness {
    fn zeroize(&mut self) {
        *self.0.borrow_mut() = true;
    }
}

#[test]
fn a_sensitive_value_is_wiped_on_drop() {
    let wiped = Rc::new(RefCell::new(false));
    let value = Sensitive::new(Witness(Rc::clone(&wiped)));
    assert!(!*wiped.borrow());
    drop(value);
    assert!(*wiped.borrow());
}

#[test]
fn debug_never_shows_the_value() {
    let name = Sensitive::new(String::from("Smith"));
    assert_eq!(format!("{name:?}"), "Sensitive(redacted)");
    assert_eq!(format!("{:?}", Personal::Known(name)), "Known(redacted)");
    assert_eq!(format!("{:?}", Personal::<String>::Destroyed), "Destroyed");
    assert_eq!(format!("{:?}", Personal::<String>::Withheld), "Withheld");
}

#[test]
fn only_a_known_value_is_computed_with() {
    let text = Personal::of(String::from("9434765919"));
    let number = text.try_map(|text| NhsNumber::parse(text)).unwrap();
    assert_eq!(number.known().unwrap().as_str(), "9434765919");
    assert!(number.is_known());
    assert_eq!(Personal::<String>::Destroyed.map(String::len), Personal::Destroyed);
    assert_eq!(Personal::<String>::Withheld.map(String::len), Personal::Withheld);
    assert!(Personal::of(String::from("x")).try_map(|text| NhsNumber::parse(text)).is_err());
}

#[test]
fn a_wiped_date_of_birth_can_still_be_asked() {
    let mut born = DateOfBirth::parse("19481001").unwrap();
    born.zeroize();
    assert_eq!(born.to_iso(), "0000-01-01");
    assert_eq!(born.date().year(), 0);
}
