//! What a change of the contracts would break: readers of old events by the new contracts, or of new ones by the old.

use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Every difference from `released` that `current` may not have; empty when it only adds.
pub fn breaks(released: &FileDescriptorSet, current: &FileDescriptorSet) -> Vec<String> {
    let mut found = Vec::new();
    for file in &released.file {
        let name = file.name();
        let Some(now) = current.file.iter().find(|now| now.name() == name) else {
            found.push(format!("{name}: the file is gone"));
            continue;
        };
        if now.package() != file.package() {
            found.push(format!("{name}: package {} became {}", file.package(), now.package()));
        }
        messages(file.package(), &file.message_type, &now.message_type, &mut found);
        enums(file.package(), &file.enum_type, &now.enum_type, &mut found);
    }
    found
}

fn messages(scope: &str, released: &[DescriptorProto], current: &[DescriptorProto], found: &mut Vec<String>) {
    for message in released {
        let path = format!("{scope}.{}", message.name());
        match current.iter().find(|now| now.name() == message.name()) {
            None => found.push(format!("{path}: the message is gone")),
            Some(now) => {
                fields(&path, message, now, found);
                messages(&path, &message.nested_type, &now.nested_type, found);
                enums(&path, &message.enum_type, &now.enum_type, found);
            }
        }
    }
}

fn fields(path: &str, released: &DescriptorProto, current: &DescriptorProto, found: &mut Vec<String>) {
    for field in &released.field {
        let number = field.number();
        let Some(now) = current.field.iter().find(|now| now.number() == number) else {
            found.push(format!("{path}: field {number} ({}) is gone", field.name()));
            continue;
        };
        let (before, after) = (shape(released, field), shape(current, now));
        if before != after {
            found.push(format!("{path}: field {number} was {before:?} and is {after:?}"));
        }
    }
}

/// All that fixes a field's bytes and meaning.
#[derive(Debug, PartialEq)]
struct Shape<'a> {
    name: &'a str,
    label: Label,
    kind: Type,
    type_name: &'a str,
    optional: bool,
    one_of: Option<&'a str>,
}

fn shape<'a>(message: &'a DescriptorProto, field: &'a FieldDescriptorProto) -> Shape<'a> {
    let optional = field.proto3_optional();
    // An optional field has a `oneof` of its own, made by the compiler.
    let index = field.oneof_index.filter(|_| !optional).and_then(|index| usize::try_from(index).ok());
    Shape {
        name: field.name(),
        label: field.label(),
        kind: field.r#type(),
        type_name: field.type_name(),
        optional,
        one_of: index.and_then(|index| message.oneof_decl.get(index)).map(|one_of| one_of.name()),
    }
}

fn enums(scope: &str, released: &[EnumDescriptorProto], current: &[EnumDescriptorProto], found: &mut Vec<String>) {
    for one in released {
        let path = format!("{scope}.{}", one.name());
        let Some(now) = current.iter().find(|now| now.name() == one.name()) else {
            found.push(format!("{path}: the enum is gone"));
            continue;
        };
        let values: BTreeMap<i32, &str> = now.value.iter().map(|value| (value.number(), value.name())).collect();
        for value in &one.value {
            match values.get(&value.number()) {
                None => found.push(format!("{path}: value {} ({}) is gone", value.number(), value.name())),
                Some(name) if *name != value.name() => {
                    found.push(format!("{path}: value {} was {} and is {name}", value.number(), value.name()));
                }
                Some(_) => {}
            }
        }
    }
}
