//! The contracts against those that were released.

#[path = "support/compatibility.rs"]
mod compatibility;

use compatibility::breaks;
use hearthline_contracts::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

static RELEASED: &[u8] = include_bytes!("../../../proto/released.binpb");

#[test]
fn nothing_released_is_broken() {
    let released = FileDescriptorSet::decode(RELEASED).expect("a descriptor set");
    assert!(released.file.len() >= 9);
    let found = breaks(&released, &current());
    assert!(found.is_empty(), "breaking changes, see proto/TOPICS.md:\n{}", found.join("\n"));
}

#[test]
fn additions_break_nothing() {
    let mut changed = current();
    let call = message(&mut changed, "call", "CallAbandoned");
    let mut field = call.field[0].clone();
    field.name = Some("addition".into());
    field.number = Some(90);
    call.field.push(field);
    let urgency = enumeration(&mut changed, "call", "Urgency");
    let mut value = urgency.value[1].clone();
    value.number = Some(90);
    value.name = Some("URGENCY_ADDITION".into());
    urgency.value.push(value);
    assert_eq!(breaks(&current(), &changed), Vec::<String>::new());
}

#[test]
fn a_file_or_package_that_goes_is_found() {
    breaking("the file is gone", |set| set.file.retain(|file| !file.name().contains("/kpi/")));
    breaking("package hearthline.kpi.v1 became hearthline.kpi.v2", |set| {
        file(set, "kpi").package = Some("hearthline.kpi.v2".into());
    });
}

#[test]
fn a_message_that_goes_is_found() {
    breaking("call.v1.CallAbandoned: the message is gone", |set| {
        message(set, "call", "CallAbandoned").name = Some("CallDropped".into());
    });
}

#[test]
fn a_field_removed_renumbered_renamed_or_retyped_is_found() {
    breaking("CallAbandoned: field 1 (waited_seconds) is gone", |set| {
        message(set, "call", "CallAbandoned").field.clear();
    });
    breaking("CallAbandoned: field 1 (waited_seconds) is gone", |set| {
        message(set, "call", "CallAbandoned").field[0].number = Some(2);
    });
    breaking("CallAbandoned: field 1 was", |set| {
        message(set, "call", "CallAbandoned").field[0].name = Some("waited".into());
    });
    breaking("CallAbandoned: field 1 was", |set| {
        message(set, "call", "CallAbandoned").field[0].set_type(Type::Sint32);
    });
    breaking("CallOpened: field 5 was", |set| {
        message(set, "call", "CallOpened").field[4].type_name = Some(".hearthline.types.v1.StreamVersion".into());
    });
    breaking("CallOpened: field 4 was", |set| {
        message(set, "call", "CallOpened").field[3].label = Some(1);
    });
}

#[test]
fn a_field_that_becomes_optional_or_changes_its_oneof_is_found() {
    breaking("ObservationsRecorded: field 9 was", |set| {
        let field = &mut message(set, "call", "ObservationsRecorded").field[8];
        (field.proto3_optional, field.oneof_index) = (None, None);
    });
    breaking("CallEvent: field 16 was", |set| {
        message(set, "call", "CallEvent").field[2].oneof_index = None;
    });
    breaking("CallEvent: field 16 was", |set| {
        message(set, "call", "CallEvent").oneof_decl[0].name = Some("event".into());
    });
}

#[test]
fn an_enum_value_removed_renumbered_or_renamed_is_found() {
    breaking("call.v1.Urgency: the enum is gone", |set| {
        enumeration(set, "call", "Urgency").name = Some("Priority".into());
    });
    breaking("Urgency: value 4 (URGENCY_ROUTINE) is gone", |set| {
        enumeration(set, "call", "Urgency").value.truncate(4);
    });
    breaking("Urgency: value 4 was URGENCY_ROUTINE and is URGENCY_LATER", |set| {
        enumeration(set, "call", "Urgency").value[4].name = Some("URGENCY_LATER".into());
    });
}

fn breaking(expected: &str, change: impl FnOnce(&mut FileDescriptorSet)) {
    let mut changed = current();
    change(&mut changed);
    let found = breaks(&current(), &changed);
    assert!(found.iter().any(|one| one.contains(expected)), "{expected:?} is not in {found:?}");
}

fn current() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).expect("a descriptor set")
}

fn file<'a>(set: &'a mut FileDescriptorSet, folder: &str) -> &'a mut FileDescriptorProto {
    let package = format!("hearthline.{folder}.v1");
    set.file.iter_mut().find(|file| file.package() == package).expect("the file")
}

fn message<'a>(set: &'a mut FileDescriptorSet, folder: &str, name: &str) -> &'a mut DescriptorProto {
    file(set, folder).message_type.iter_mut().find(|message| message.name() == name).expect("the message")
}

fn enumeration<'a>(set: &'a mut FileDescriptorSet, folder: &str, name: &str) -> &'a mut EnumDescriptorProto {
    file(set, folder).enum_type.iter_mut().find(|one| one.name() == name).expect("the enum")
}
