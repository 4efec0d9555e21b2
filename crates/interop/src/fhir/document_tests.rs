use super::*;
use crate::fhir::Resource;

const SET: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);

fn document(version: u32) -> CarePlanDocument<'static> {
    CarePlanDocument {
        set_id: SET,
        version,
        replaces_version: (version > 1).then(|| version - 1),
        composed_at_us: 1_736_510_400_000_000,
        title: "Care plan",
        subject: Subject {
            nhs_number: Some("9990000018"),
            is_nhs_number_verified: true,
            family: "Smith",
            given: &["Ann"],
            gender: Some("female"),
            birth_date: Some("1940-02-03"),
            address_lines: &["1 High St", ""],
            postcode: "SO16 6YD",
            practice_ods: Some("A83008"),
        },
        author: Author { identifier_system: systems::NMC_NUMBER, identifier: "12A3456E", family: "Jones", given: "Bo" },
        custodian: OdsOrganisation { ods: "QRL", name: "Hub" },
        contact: Some(Contact { id: SET, began_at_us: 0, ended_at_us: Some(60_000_000) }),
        sections: &[Section { title: "Plan", code: None, rows: &[("Do", "Fluids & rest")] }],
    }
}

fn composed(version: u32) -> Bundle {
    document(version).bundle().unwrap_or_else(|error| panic!("{error}"))
}

fn reference(version: u32) -> DocumentReference {
    document(version).reference(&composed(version).to_json()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn composing_twice_gives_the_same_bytes() {
    assert!(composed(1).to_json() == composed(1).to_json());
    assert!(composed(1).to_json() != composed(2).to_json());
}

#[test]
fn a_document_begins_with_its_composition_and_every_reference_is_inside() {
    let bundle = composed(2);
    let names: Vec<&str> = bundle
        .resources()
        .map(|resource| match resource {
            Resource::Composition(_) => "Composition",
            Resource::Patient(_) => "Patient",
            Resource::Practitioner(_) => "Practitioner",
            Resource::Organization(_) => "Organization",
            Resource::Encounter(_) => "Encounter",
            _ => "?",
        })
        .collect();
    assert_eq!(names, ["Composition", "Patient", "Practitioner", "Organization", "Encounter"]);
    let json = String::from_utf8(bundle.to_json()).expect("utf-8");
    let targets: Vec<&str> = bundle.entry.iter().filter_map(|entry| entry.full_url.as_deref()).collect();
    for reference in json.split("\"reference\":\"").skip(1) {
        let url = reference.split('"').next().unwrap_or_default();
        assert!(targets.contains(&url), "{url}");
    }
    assert!(json.starts_with("{\"resourceType\":\"Bundle\""));
    assert!(json.contains("\"code\":\"replaces\"") && json.contains("Fluids &amp; rest"));
}

#[test]
fn a_bundle_reads_back_as_it_was_written() {
    let bundle = composed(1);
    let read = Bundle::parse(&bundle.to_json()).unwrap_or_else(|error| panic!("{error}"));
    assert!(read == bundle);
    assert!(matches!(Bundle::parse(b"{\"resourceType\":\"Patient\"}"), Err(FhirError::Unexpected { .. })));
    assert!(matches!(Bundle::parse(b"{"), Err(FhirError::Unreadable { line: 1, .. })));
}

#[test]
fn the_reference_carries_the_document_with_size_and_sha_1() {
    let document = composed(1).to_json();
    let reference = reference(1);
    let attachment = &reference.content[0].attachment;
    assert_eq!(attachment.size, Some(document.len() as u64));
    assert!(attachment.data.as_deref().map(|data| STANDARD.decode(data)) == Some(Ok(document)));
    assert_eq!(STANDARD.encode(Sha1::digest(b"abc")), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
}

#[test]
fn an_upload_is_created_once_and_supersedes_the_version_before() {
    let bundle = upload(reference(2), Some(reference(1)));
    let requests: Vec<_> = bundle.entry.iter().filter_map(|entry| entry.request.as_ref()).collect();
    let (second, first) = (document_identifier(SET, 2), document_identifier(SET, 1));
    assert_eq!(requests[0].method.as_deref(), Some("POST"));
    assert_eq!(requests[0].if_none_exist.as_deref(), Some(&*format!("identifier={}|{second}", systems::UUID)));
    assert_eq!(requests[1].method.as_deref(), Some("PUT"));
    let url = requests[1].url.as_deref().unwrap_or_default();
    assert!(url.starts_with("DocumentReference?identifier=https%3A") && url.ends_with(&first.to_string()), "{url}");
    let json = String::from_utf8(bundle.to_json()).expect("utf-8");
    assert!(json.contains("\"status\":\"superseded\"") && json.contains("\"status\":\"current\""));
}

#[test]
fn a_retraction_says_entered_in_error_and_takes_the_content_away() {
    let json = String::from_utf8(retract(reference(1)).to_json()).expect("utf-8");
    assert!(json.contains("\"status\":\"entered-in-error\"") && !json.contains("\"data\""));
}
