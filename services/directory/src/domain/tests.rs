use super::decide::{self, Merge, RegisterResident};
use super::events::{Event, MergeCause, RegistrationSource};
use super::identify::{Holder, Identification, NumberSaid, Said, identify};
use super::rejection::Rejection;
use super::state::Resident;
use super::{Person, TaskKind};
use hearthline_nhs::{DateOfBirth, HomeId, NhsNumber, PersonName, Personal, ResidentId, TaskId};
use jiff::civil::date;

const ONE: ResidentId = ResidentId::from_bytes([1; 16]);
const TWO: ResidentId = ResidentId::from_bytes([2; 16]);
const HOME: HomeId = HomeId::from_bytes([9; 16]);
const TASK: TaskId = TaskId::from_bytes([5; 16]);

fn born(text: &str) -> DateOfBirth {
    DateOfBirth::parse(text).expect("a date")
}

fn person(date_of_birth: &str) -> Person {
    Person { name: PersonName::parse("Test", "Ada").expect("a name"), date_of_birth: born(date_of_birth), nhs_number: NhsNumber::parse("9990000018").ok() }
}

fn registration(date_of_birth: &str) -> RegisterResident {
    RegisterResident { home: HOME, person: person(date_of_birth), practice: None, moved_in_on: Some(date(2026, 1, 1)), source: RegistrationSource::Call }
}

fn after(events: &[Event]) -> Resident {
    events.iter().fold(Resident::default(), Resident::evolve)
}

fn registered(date_of_birth: &str) -> Resident {
    after(&decide::register_resident(&Resident::default(), registration(date_of_birth)).expect("registered"))
}

#[test]
fn who_a_caller_means_follows_from_number_and_date_of_birth() {
    let said = |number: NumberSaid, name: bool, date_of_birth: Option<&str>| Said {
        name: name.then(|| PersonName::parse("Test", "Ada").expect("a name")),
        date_of_birth: date_of_birth.map(born),
        nhs_number: number,
    };
    let number = || NumberSaid::Number(NhsNumber::parse("9990000018").expect("valid"));
    let known = Holder::Resident { id: ONE, date_of_birth: Personal::of(born("1938-04-12")) };
    let unreadable = Holder::Resident { id: ONE, date_of_birth: Personal::Destroyed };
    let ask = |kind, subject| Identification::Ask { kind, subject };
    for (said, holder, has_home, expected) in [
        (said(number(), false, Some("1938-04-12")), &known, true, Identification::Merge { into: ONE }),
        (said(number(), true, Some("1938-04-21")), &known, true, ask(TaskKind::IdentityDisagrees, Some(ONE))),
        (said(number(), true, None), &known, true, ask(TaskKind::IdentityDisagrees, Some(ONE))),
        (said(number(), true, Some("1938-04-12")), &unreadable, true, ask(TaskKind::IdentityDisagrees, Some(ONE))),
        (said(number(), true, Some("1938-04-12")), &Holder::Nobody, true, Identification::Register(Box::new(person("1938-04-12")))),
        (said(number(), true, Some("1938-04-12")), &Holder::Nobody, false, ask(TaskKind::IdentifyResident, None)),
        (said(number(), false, Some("1938-04-12")), &Holder::Nobody, true, ask(TaskKind::IdentifyResident, None)),
        (said(number(), true, None), &Holder::Nobody, true, ask(TaskKind::IdentifyResident, None)),
        (said(NumberSaid::Unusable, true, Some("1938-04-12")), &Holder::Nobody, true, ask(TaskKind::IdentifyResident, None)),
        (said(NumberSaid::Nothing, true, Some("1938-04-12")), &Holder::Nobody, true, ask(TaskKind::IdentifyResident, None)),
    ] {
        assert_eq!(identify(&said, holder, has_home), expected);
    }
}

#[test]
fn two_people_are_merged_only_where_nothing_speaks_against_it() {
    let merge = |survivor: &Resident, other: &Resident, from, into, other_is| {
        decide::merge(survivor, Merge { from, into, cause: MergeCause::Person, other, other_is }).map(|events| events.len())
    };
    let (survivor, same, another) = (registered("1938-04-12"), registered("1938-04-12"), registered("1940-01-01"));
    let nobody = Resident::default();
    assert_eq!(merge(&survivor, &nobody, TWO, ONE, TWO), Ok(1));
    assert_eq!(merge(&survivor, &same, TWO, ONE, TWO), Ok(1));
    assert_eq!(merge(&survivor, &another, TWO, ONE, TWO), Err(Rejection::DemographicsDisagree));
    assert_eq!(merge(&survivor, &survivor, ONE, ONE, ONE), Err(Rejection::SamePerson));
    assert_eq!(merge(&survivor, &same, TWO, ONE, ONE), Err(Rejection::AlreadyMerged));
    assert_eq!(merge(&survivor, &same, TWO, ONE, ResidentId::from_bytes([3; 16])), Err(Rejection::MergedElsewhere));
    assert_eq!(merge(&nobody, &same, TWO, ONE, TWO), Err(Rejection::NotRegistered));
}

#[test]
fn a_proposed_merge_waits_for_a_person_and_takes_its_task_with_it() {
    let survivor = registered("1938-04-12");
    let proposed = decide::propose_merge(&survivor, TWO, ONE, TASK, 10).expect("proposed");
    assert_eq!(proposed.len(), 2);
    let pending = proposed.iter().fold(survivor, Resident::evolve);
    assert_eq!(decide::propose_merge(&pending, TWO, ONE, TASK, 10), Ok(Vec::new()));
    let declined = decide::decline_merge(&pending, TWO, ONE).expect("declined");
    let settled = declined.iter().fold(pending, Resident::evolve);
    assert!(settled.tasks.is_empty() && settled.proposed.is_empty());
    assert_eq!(decide::decline_merge(&settled, TWO, ONE), Err(Rejection::NoMergeProposed));
}

#[test]
fn a_registration_closes_the_question_who_it_is() {
    let asked = after(&decide::ask(&Resident::default(), TaskKind::IdentifyResident, None, TASK, 10));
    assert_eq!(decide::ask(&asked, TaskKind::IdentifyResident, None, TASK, 10), []);
    let events = decide::register_resident(&asked, registration("1938-04-12")).expect("registered");
    let known = events.iter().fold(asked, Resident::evolve);
    assert!(known.tasks.is_empty());
    assert_eq!(decide::register_resident(&known, registration("1938-04-12")), Err(Rejection::AlreadyRegistered));
}

#[test]
fn residents_move_between_homes_while_they_live() {
    let resident = registered("1938-04-12");
    let other = HomeId::from_bytes([8; 16]);
    assert_eq!(decide::move_resident(&resident, HOME, date(2026, 2, 1)), Err(Rejection::AlreadyThere));
    let moved = decide::move_resident(&resident, other, date(2026, 2, 1)).expect("moved");
    assert!(matches!(moved[..], [Event::ResidentMovedOut { home: HOME, .. }, Event::ResidentMovedIn { .. }]));
    let died = decide::report_death(&resident, Some(date(2026, 2, 2)), None, TASK, 10);
    let dead = died.iter().fold(resident, Resident::evolve);
    assert_eq!(decide::move_resident(&dead, other, date(2026, 2, 3)), Err(Rejection::ResidentDied));
    assert_eq!(decide::report_death(&dead, Some(date(2026, 2, 4)), None, TASK, 10), []);
}

#[test]
fn a_death_without_a_date_is_asked_about_once() {
    let resident = registered("1938-04-12");
    let asked = decide::report_death(&resident, None, None, TASK, 10);
    assert!(matches!(asked[..], [Event::TaskOpened { kind: TaskKind::ConfirmDeath, .. }]));
    let waiting = asked.iter().fold(resident, Resident::evolve);
    assert_eq!(decide::report_death(&waiting, None, None, TASK, 10), []);
    assert_eq!(decide::report_death(&waiting, Some(date(2026, 2, 2)), None, TASK, 10).len(), 2);
}
