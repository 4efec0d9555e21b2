//! Compiles the contracts in `proto/` with protox (no `protoc` to install) and writes beside the generated types:
//! the descriptor set, the table of facts, and the decoders that the wire corpus is checked with.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// Folder of each context and the name of its variant of `Context`.
const CONTEXTS: [(&str, &str); 7] = [
    ("call", "Call"),
    ("outcome", "Outcome"),
    ("prescribing", "Prescribing"),
    ("shared_record", "SharedRecord"),
    ("hospital", "Hospital"),
    ("directory", "Directory"),
    ("kpi", "Kpi"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let proto = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", proto.join("hearthline").display());
    println!("cargo::rerun-if-changed=build.rs");

    let files = contract_files(&proto);
    let mut compiler = protox::Compiler::new([&proto])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let with_comments = compiler.file_descriptor_set();
    let mut descriptors = with_comments.clone();
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    fs::write(out.join("contracts.binpb"), descriptors.encode_to_vec())?;

    let personal = personal_messages(&descriptors);
    let mut config = prost_build::Config::new();
    config.bytes(["."]).include_file("contracts.rs").skip_debug(&personal);
    config.compile_fds(with_comments)?;

    fs::write(out.join("redacted.rs"), redacted_debug(&personal))?;
    fs::write(out.join("facts.rs"), facts_table(&descriptors))?;
    fs::write(out.join("conversions.rs"), conversions(&descriptors))?;
    fs::write(out.join("corpus.rs"), corpus_decoders(&descriptors))?;
    Ok(())
}

fn contract_files(proto: &Path) -> Vec<PathBuf> {
    let folders = ["envelope", "types"].into_iter().chain(CONTEXTS.iter().map(|(folder, _)| *folder));
    folders.map(|folder| proto.join(format!("hearthline/{folder}/v1/{folder}.proto"))).collect()
}

/// Full names (`.package.Message`) of the messages whose name ends with `Personal` and of every message they hold:
/// their generated `Debug` would print personal data.
fn personal_messages(set: &FileDescriptorSet) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = messages(set).filter(|(_, message)| message.name().ends_with("Personal")).map(|(name, _)| name).collect();
    loop {
        let held: BTreeSet<String> = messages(set)
            .filter(|(name, _)| found.contains(name))
            .flat_map(|(_, message)| &message.field)
            .filter(|field| field.r#type() == Type::Message)
            .map(|field| field.type_name().to_owned())
            .collect();
        let before = found.len();
        found.extend(held);
        if found.len() == before {
            return found;
        }
    }
}

fn messages(set: &FileDescriptorSet) -> impl Iterator<Item = (String, &DescriptorProto)> {
    set.file.iter().flat_map(|file| file.message_type.iter().map(move |message| (format!(".{}.{}", file.package(), message.name()), message)))
}

/// `.hearthline.call.v1.CallOpened` → `crate::call::CallOpened`.
fn rust_path(full_name: &str, crate_name: &str) -> String {
    let parts: Vec<&str> = full_name.trim_start_matches('.').split('.').collect();
    format!("{crate_name}::{}::{}", parts[1], parts[3])
}

fn redacted_debug(personal: &BTreeSet<String>) -> String {
    let mut code = String::new();
    for name in personal {
        let path = rust_path(name, "crate");
        let short = name.rsplit('.').next().unwrap_or(name);
        let _ = writeln!(
            code,
            "impl std::fmt::Debug for {path} {{ fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ \
             f.write_str(\"{short}(redacted)\") }} }}"
        );
    }
    code
}

struct FactRow {
    context: &'static str,
    folder: &'static str,
    field: String,
    number: i32,
    type_name: String,
    personal: Option<String>,
}

fn facts(set: &FileDescriptorSet) -> Vec<FactRow> {
    let all: BTreeSet<String> = messages(set).map(|(name, _)| name).collect();
    let mut rows = Vec::new();
    for (folder, context) in CONTEXTS {
        let event = format!(".hearthline.{folder}.v1.{context}Event");
        for (_, message) in messages(set).filter(|(name, _)| *name == event) {
            for field in message.field.iter().filter(|field| field.oneof_index.is_some()) {
                let personal = format!("{}Personal", field.type_name());
                rows.push(FactRow {
                    context,
                    folder,
                    field: field.name().to_owned(),
                    number: field.number(),
                    type_name: field.type_name().to_owned(),
                    personal: all.contains(&personal).then_some(personal),
                });
            }
        }
    }
    rows
}

fn facts_table(set: &FileDescriptorSet) -> String {
    let mut code = String::from("/// Every fact of every context, by context and number.\npub static FACTS: &[Fact] = &[\n");
    for row in facts(set) {
        let name = row.type_name.rsplit('.').next().unwrap_or_default();
        let personal = row.personal.is_some();
        let _ = writeln!(
            code,
            "Fact {{ context: Context::{}, number: {}, name: \"{name}\", field: \"{}\", personal: {personal} }},",
            row.context, row.number, row.field
        );
    }
    code.push_str("];\n");
    code
}

/// Each fact's message becomes its context's `Fact` with `into()`.
fn conversions(set: &FileDescriptorSet) -> String {
    let mut code = String::new();
    for row in facts(set) {
        let module = format!("crate::{0}::{0}_event", row.folder);
        let path = rust_path(&row.type_name, "crate");
        let variant = row.type_name.rsplit('.').next().unwrap_or_default();
        let _ = writeln!(code, "impl From<{path}> for {module}::Fact {{ fn from(fact: {path}) -> Self {{ Self::{variant}(fact) }} }}");
    }
    code
}

/// `fact_again(folder, bytes)` and `personal_again(folder, field, bytes)` for the corpus test.
fn corpus_decoders(set: &FileDescriptorSet) -> String {
    let mut code = String::from(
        "fn fact_again(folder: &str, bytes: &[u8]) -> Option<Result<Vec<u8>, prost::DecodeError>> {\n\
         Some(match folder {\n",
    );
    for (folder, context) in CONTEXTS {
        let _ = writeln!(code, "\"{folder}\" => decode::<hearthline_contracts::{folder}::{context}Event>(bytes),");
    }
    code.push_str("_ => return None })\n}\n");
    code.push_str(
        "fn personal_again(folder: &str, field: &str, bytes: &[u8]) -> Option<Result<Vec<u8>, prost::DecodeError>> {\n\
         Some(match (folder, field) {\n",
    );
    for row in facts(set) {
        if let Some(personal) = &row.personal {
            let path = rust_path(personal, "hearthline_contracts");
            let _ = writeln!(code, "(\"{}\", \"{}\") => decode::<{path}>(bytes),", row.folder, row.field);
        }
    }
    code.push_str("_ => return None })\n}\n");
    code
}
