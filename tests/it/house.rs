//! The rules of the house (docs/ARCHITECTURE.md), kept by a machine.

use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const MAX_FILE_LINES: usize = 800;
const MAX_FUNCTION_LINES: usize = 70;

/// Which rooms each room may look at. `bench` and the tests look at every floor.
const ARROWS: [(&str, &[&str]); 6] = [
    ("warpline-kernel", &[]),
    ("warpline-storage", &["warpline-kernel"]),
    ("warpline-ingest", &["warpline-storage"]),
    ("warpline-query", &["warpline-storage", "warpline-kernel"]),
    ("warpline", &["warpline-ingest", "warpline-query", "warpline-storage", "warpline-kernel"]),
    (
        "warpline-bench",
        &["warpline", "warpline-ingest", "warpline-query", "warpline-storage", "warpline-kernel"],
    ),
];

/// Crates that one room alone talks to; the others see them through its words.
const OWNED: [(&str, &str); 8] = [
    ("deltalake", "warpline-storage"),
    ("object_store", "warpline-storage"),
    ("parquet", "warpline-storage"),
    ("datafusion", "warpline-query"),
    ("datafusion-postgres", "warpline-query"),
    ("pgwire", "warpline-query"),
    ("flatbuffers", "warpline-ingest"),
    ("nvml-wrapper", "warpline-ingest"),
];

/// `bench` writes the files that storage's are measured against.
const MEASURED: (&str, &str) = ("warpline-bench", "parquet");

/// Crates of which two versions would mean two types of one name.
const SINGLE: [&str; 11] = [
    "arrow",
    "arrow-array",
    "arrow-flight",
    "arrow-schema",
    "datafusion",
    "deltalake",
    "flatbuffers",
    "object_store",
    "parquet",
    "pgwire",
    "tonic",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each package of the workspace with the names of its direct dependencies of any kind.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let name = |value: &Json| value["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            (name(package), dependencies.iter().map(name).collect())
        })
        .collect()
}

/// A Rust source file of the workspace: its path from the root and its text.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_generated(&self) -> bool {
        self.path.file_stem().is_some_and(|stem| stem == "generated")
    }

    fn is_kernel(&self) -> bool {
        self.path.starts_with("kernel")
    }
}

/// Every source file that people write or that a generator left in the tree.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "kernel", "storage", "ingest", "query", "bench", "fuzz/src"]
            .map(|folder| root().join(folder))
            .into();
    folders.push(root().join("fuzz/fuzz_targets"));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the house") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source in UTF-8");
                let path = path.strip_prefix(root()).expect("below the root").to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

/// Fails with one line for each thing found.
fn none(what: &str, found: &[String]) {
    let list = found.iter().fold(String::new(), |mut list, one| {
        write!(list, "\n  {one}").expect("a string takes everything");
        list
    });
    assert!(found.is_empty(), "{what}:{list}");
}

#[test]
fn rooms_look_only_where_they_may() {
    let packages = packages();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let present: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    assert_eq!(known, present, "a package was added or dropped: say here what it may look at");
    let mut broken = Vec::new();
    for (room, allowed) in ARROWS {
        let looked_at = packages[room].iter().filter(|name| known.contains(name.as_str()));
        broken.extend(
            looked_at
                .filter(|name| name.as_str() != room && !allowed.contains(&name.as_str()))
                .map(|name| format!("{room} -> {name}")),
        );
    }
    none("arrows that the house does not have", &broken);
}

#[test]
fn heavy_crates_have_one_owner() {
    let packages = packages();
    let mut broken = Vec::new();
    for (dependency, owner) in OWNED {
        let users = packages.iter().filter(|(_, uses)| uses.contains(dependency));
        broken.extend(
            users
                .filter(|(name, _)| name.as_str() != owner)
                .filter(|(name, _)| (name.as_str(), dependency) != MEASURED)
                .map(|(name, _)| format!("{name} uses {dependency}, which is {owner}'s")),
        );
    }
    none("dependencies in the wrong room", &broken);
}

#[test]
fn one_version_of_what_types_come_from() {
    let locked = locked("Cargo.lock");
    let versions = |name: &str| locked.get(name).map_or(0, BTreeSet::len);
    let broken: Vec<String> = SINGLE
        .iter()
        .filter(|name| versions(name) != 1)
        .map(|name| format!("{name}: {} versions", versions(name)))
        .collect();
    none("Cargo.lock should have one version of each", &broken);
}

/// What is fuzzed is what is shipped: the lock file of `fuzz/` has no version of its own of a crate
/// that is in ours.
#[test]
fn fuzz_targets_have_our_versions() {
    let [ours, theirs] = ["Cargo.lock", "fuzz/Cargo.lock"].map(locked);
    let broken: Vec<String> = theirs
        .iter()
        .filter(|(name, versions)| ours.get(*name).is_some_and(|ours| !versions.is_subset(ours)))
        .map(|(name, versions)| format!("{name}: {versions:?}"))
        .collect();
    none("versions of fuzz/Cargo.lock (copy Cargo.lock over it and build fuzz)", &broken);
}

/// The versions of each crate in a lock file.
fn locked(path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join(path)).expect("a lock file");
    let lock: toml::Table = toml::from_str(&text).expect("a lock file in TOML");
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().expect("packages") {
        let text = |key: &str| package[key].as_str().expect("a text").to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    versions
}

#[test]
fn unsafe_is_the_kernels_and_says_why() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_generated()) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = code_of(line);
            let place = || format!("{}:{}", source.path.display(), index + 1);
            if !has_unsafe(code) {
                continue;
            }
            let above = &lines[index.saturating_sub(4)..index];
            if !source.is_kernel() {
                broken.push(format!("{}: unsafe outside the kernel", place()));
            } else if !code.contains("unsafe fn")
                && !above.iter().any(|line| line.contains("SAFETY:"))
            {
                broken.push(format!("{}: no SAFETY line above", place()));
            }
        }
    }
    none("unsafe code", &broken);
}

/// A line without its strings and its comment, roughly.
fn code_of(line: &str) -> &str {
    let end = line.find("//").unwrap_or(line.len()).min(line.find('"').unwrap_or(line.len()));
    &line[..end]
}

fn has_unsafe(code: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c: char| !word(c)).any(|token| token == "unsafe")
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_generated()) {
        let (path, lines) = (source.path.display(), source.text.lines().count());
        if lines > MAX_FILE_LINES {
            broken.push(format!("{path}: {lines} lines, at most {MAX_FILE_LINES}"));
        }
        if !source.text.starts_with("//!") {
            broken.push(format!("{path}: does not start with //!"));
        }
    }
    none("files", &broken);
}

#[test]
fn functions_fit_a_screen() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_generated()) {
        for (name, line, lines) in functions(&source.text) {
            if lines > MAX_FUNCTION_LINES {
                let path = source.path.display();
                broken.push(format!("{path}:{line}: {name} has {lines} lines"));
            }
        }
    }
    none("functions over 70 lines", &broken);
}

/// Name, first line and length of each function, read off rustfmt's indentation.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let before = code.split_once("fn ").map(|(before, rest)| (before.trim(), rest));
        let Some((before, rest)) = before else { continue };
        let qualifiers = ["", "pub", "async", "const", "unsafe", "pub(crate)", "pub(super)"];
        if !before.split(' ').all(|word| qualifiers.contains(&word)) {
            continue;
        }
        let name = rest.split(['(', '<']).next().unwrap_or_default().to_owned();
        let ends = |line: &&str| {
            let end = line.strip_prefix(indent);
            end.is_some_and(|end| end == "}" || end == ";" || end.ends_with("};"))
        };
        let one_line = line.ends_with('}') || line.ends_with(';');
        let rest = &lines[start + 1..];
        let length = if one_line { 1 } else { 2 + rest.iter().take_while(|l| !ends(l)).count() };
        found.push((name, start + 1, length));
    }
    found
}

#[test]
fn the_measure_of_functions_measures() {
    let text = "impl A {\n    pub async fn long(\n        a: u8,\n    ) {\n        b();\n    }\n}\n\nfn one() {}\n";
    let found: Vec<(String, usize)> =
        functions(text).into_iter().map(|(name, _, lines)| (name, lines)).collect();
    assert_eq!(found, [("long".to_owned(), 5), ("one".to_owned(), 1)]);
}
