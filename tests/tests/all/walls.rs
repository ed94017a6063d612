//! The walls between the crates: who may depend on whom, where AWS may appear, and what every manifest holds to.
//!
//! A rule that gets in the way is changed here, in the open, together with what needs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// No file of Rust is longer.
const LONGEST_FILE: usize = 700;
const TESTS: &str = "holdfast-tests";
/// Whose shipped code may depend on the AWS SDK.
const WITH_AWS: &[&str] = &[
    "holdfast-common",
    "holdfast-connectors",
    "holdfast-kms",
    "holdfast-lambda",
    "holdfast-recovery",
    "holdfast-setup",
    "holdfast-local",
    "holdfast-cli",
    "holdfast-bench",
    TESTS,
];
/// Where below a crate's `src` the AWS SDK may be named: a file, or a directory with its `/`.
const AWS_PLACES: &[(&str, &[&str])] = &[
    ("holdfast-common", &["jobs/", "storage/s3.rs", "storage/s3/"]),
    ("holdfast-connectors", &["aws.rs", "clients.rs", "dynamodb/", "s3/"]),
    ("holdfast-kms", &["lib.rs"]),
    ("holdfast-lambda", &["custom_resource.rs", "environment.rs", "executions.rs", "lib.rs"]),
    ("holdfast-recovery", &["aws/"]),
    // These hand the environment's configuration on to it.
    ("holdfast-native-restore", &["lib.rs"]),
    ("holdfast-restore-test", &["lib.rs"]),
    ("holdfast-setup", &["lib.rs"]),
    ("holdfast-validate-recovery-points", &["lib.rs"]),
    ("holdfast-validate-restore", &["lib.rs"]),
    ("holdfast-local", &["clients.rs", "cloud.rs", "dynamodb.rs"]),
    // The demo plays the shop's own application, which fills and reads its tables as any client of AWS would.
    // Beside it, a stack is reached through the services that it stands on.
    ("holdfast-cli", &["demo/tables.rs", "stack/"]),
    // So does the benchmark.
    ("holdfast-bench", &["cases/table.rs"]),
];
const AWS_NAMES: &[&str] = &[
    "aws_config",
    "aws_credential_types",
    "aws_runtime",
    "aws_sdk_",
    "aws_sigv4",
    "aws_smithy",
    "aws_types",
];
/// What would give the vault a clock, a network or threads of its own.
const NOT_IN_VAULT: &[&str] = &[
    "chrono",
    "hyper",
    "hyper-util",
    "jiff",
    "reqwest",
    "rustix",
    "rustls",
    "tempfile",
    "time",
    "tokio",
    "ureq",
];
const NOT_IN_VAULT_SOURCES: &[&str] =
    &["std::net", "std::env", "std::fs", "std::process", "std::thread", "SystemTime", "Instant"];

const IN_VAULT_TESTS: &[&str] = &["std::env", "std::fs", "std::thread"];

struct Member {
    name: String,
    directory: PathBuf,
    metadata: Value,
}

/// What of ours a crate may depend on, in what it ships.
fn allowed(member: &Member, functions: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    let vault = ["holdfast-vault"].as_slice();
    let steps = [
        "holdfast-kms",
        "holdfast-workflow",
        "holdfast-retention",
        "holdfast-common",
        "holdfast-connectors",
        "holdfast-vault",
    ]
    .as_slice();
    let (names, all_functions) = match member.name.as_str() {
        "holdfast-vault" | "holdfast-retention" => ([].as_slice(), false),
        "holdfast-common" | "holdfast-connectors" | "holdfast-kms" => (vault, false),
        "holdfast-workflow" => (&steps[2..], false),
        "holdfast-recovery" | "holdfast-lambda" => (steps, false),
        "holdfast-local" => (steps, true),
        "holdfast-bench" => return Some(["holdfast-local", "holdfast-vault"].map(str::to_owned).into()),
        "holdfast-cli" => {
            let names = [
                "holdfast-local",
                "holdfast-workflow",
                "holdfast-common",
                "holdfast-connectors",
                "holdfast-vault",
            ];
            return Some(names.map(str::to_owned).into());
        }
        function if functions.contains(function) => {
            let own = ["holdfast-lambda", "holdfast-recovery"].iter();
            return Some(steps.iter().chain(own).map(|name| (*name).to_owned()).collect());
        }
        _ => return None,
    };
    let mut allowed: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    if all_functions {
        allowed.extend(functions.iter().cloned());
    }
    Some(allowed)
}

impl Member {
    /// The names of what is shipped with the crate: all dependencies but those of its tests.
    fn dependencies(&self) -> BTreeSet<&str> {
        let all = self.metadata["dependencies"].as_array().unwrap();
        all.iter().filter(|of| of["kind"] != "dev").map(|of| of["name"].as_str().unwrap()).collect()
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.directory.join("Cargo.toml"))
    }

    /// Every file of Rust, by its path below the crate.
    fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        let mut left: Vec<PathBuf> =
            ["src", "tests", "benches", "examples", "build.rs"].map(|name| self.directory.join(name)).into();
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") && path.is_file() {
                let name = path.strip_prefix(&self.directory).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
        files.sort_unstable();
        files
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn members() -> Vec<Member> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Value::Array(packages) = answer["packages"].take() else {
        panic!("cargo metadata gives no packages")
    };
    let member = |metadata: Value| Member {
        name: metadata["name"].as_str().unwrap().to_owned(),
        directory: Path::new(metadata["manifest_path"].as_str().unwrap()).parent().unwrap().to_path_buf(),
        metadata,
    };
    let members: Vec<Member> = packages.into_iter().map(member).collect();
    assert!(members.len() > 10, "cargo metadata names {} crates of this workspace", members.len());
    members
}

fn functions(members: &[Member]) -> BTreeSet<String> {
    let directory = root().join("functions");
    let is_function = |member: &&Member| member.directory.parent() == Some(directory.as_path());
    members.iter().filter(is_function).map(|member| member.name.clone()).collect()
}

/// As much of TOML as our manifests use: sections of `key = value`, a value on one line or in brackets over several.
struct Manifest {
    sections: BTreeMap<String, BTreeMap<String, String>>,
}

impl Manifest {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut section = String::new();
        let mut entry = String::new();
        for line in text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if entry.is_empty() && line.starts_with('[') {
                line.trim_matches(['[', ']']).clone_into(&mut section);
                sections.entry(section.clone()).or_default();
                continue;
            }
            entry.push_str(line);
            let open = entry.matches(['[', '{']).count();
            if open > entry.matches([']', '}']).count() {
                continue;
            }
            let (key, value) = entry.split_once('=').unwrap_or_else(|| panic!("{}: {entry}", path.display()));
            sections
                .entry(section.clone())
                .or_default()
                .insert(key.trim().to_owned(), value.trim().to_owned());
            entry.clear();
        }
        Self { sections }
    }

    fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(String::as_str)
    }
}

fn names_any<'a>(line: &str, names: &[&'a str]) -> Option<&'a str> {
    let code = line.trim_start();
    if code.starts_with("//") {
        return None;
    }
    names.iter().find(|name| code.contains(**name)).copied()
}

fn expect_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn imports_run_one_way() {
    let members = members();
    let functions = functions(&members);
    let ours: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let mut broken = Vec::new();
    for member in members.iter().filter(|member| member.name != TESTS) {
        let Some(allowed) = allowed(member, &functions) else {
            broken.push(format!("{} is new: say in walls.rs what it may depend on", member.name));
            continue;
        };
        for name in member.dependencies() {
            if ours.contains(name) && !allowed.contains(name) {
                broken.push(format!("{} depends on {name}", member.name));
            }
        }
    }
    expect_none(
        "imports run one way: functions, local, cli -> workflow -> common, connectors -> vault",
        &broken,
    );
}

#[test]
fn nothing_needs_the_command_line_or_the_tests() {
    let mut broken = Vec::new();
    for member in members().iter().filter(|member| member.name != TESTS) {
        for dependency in member.metadata["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if ["holdfast-cli", TESTS].contains(&name) {
                broken.push(format!("{} depends on {name}", member.name));
            }
        }
    }
    expect_none("only tests/ may depend on the command line or on tests/, in tests too", &broken);
}

#[test]
fn only_adapters_depend_on_aws() {
    let mut broken = Vec::new();
    for member in members().iter().filter(|member| !WITH_AWS.contains(&member.name.as_str())) {
        let aws = member.dependencies().into_iter().filter(|name| name.starts_with("aws-"));
        broken.extend(aws.map(|name| format!("{} depends on {name}", member.name)));
    }
    expect_none(&format!("only {} may depend on the AWS SDK", WITH_AWS.join(", ")), &broken);
}

#[test]
fn aws_types_stay_in_their_places() {
    let mut broken = Vec::new();
    for member in members().iter().filter(|member| member.name != TESTS) {
        let places =
            AWS_PLACES.iter().find(|(name, _)| *name == member.name).map_or([].as_slice(), |(_, at)| at);
        for (file, text) in member.files() {
            let Some(below) = file.strip_prefix("src/") else { continue };
            if places
                .iter()
                .any(|place| below == *place || (place.ends_with('/') && below.starts_with(place)))
            {
                continue;
            }
            let named = text.lines().find_map(|line| names_any(line, AWS_NAMES));
            broken.extend(named.map(|name| format!("{}: {file} names {name}", member.name)));
        }
    }
    expect_none("AWS SDK types appear only in the adapters that walls.rs lists", &broken);
}

#[test]
fn every_place_of_aws_is_used() {
    let members = members();
    let mut unused = Vec::new();
    for (name, places) in AWS_PLACES {
        let member = members.iter().find(|member| member.name == *name).expect("a listed crate exists");
        let files = member.files();
        for place in *places {
            let place = format!("src/{place}");
            let of_place = files.iter().filter(|(file, _)| file.starts_with(&place));
            if !of_place.flat_map(|(_, text)| text.lines()).any(|line| names_any(line, AWS_NAMES).is_some()) {
                unused.push(format!("{name}: {place}"));
            }
        }
    }
    expect_none("these no longer name AWS types: take them off the list in walls.rs", &unused);
}

#[test]
fn the_embedded_cloud_hands_out_aws_clients_in_one_place() {
    let members = members();
    let local = members.iter().find(|member| member.name == "holdfast-local").unwrap();
    let cloud = local.files().into_iter().find(|(file, _)| file == "src/cloud.rs").unwrap().1;
    let named: Vec<&str> = cloud.lines().filter(|line| names_any(line, AWS_NAMES).is_some()).collect();
    assert!(
        matches!(named.as_slice(), [one] if one.contains("pub fn tables(")),
        "local/src/cloud.rs names AWS types only in the accessor `tables`, not in {named:#?}"
    );
}

#[test]
fn the_vault_depends_on_nothing_that_acts() {
    let members = members();
    let vault = members.iter().find(|member| member.name == "holdfast-vault").unwrap();
    let acts = |name: &&str| name.starts_with("aws-") || NOT_IN_VAULT.contains(name);
    let broken: Vec<String> = vault.dependencies().into_iter().filter(acts).map(str::to_owned).collect();
    expect_none("the vault has no AWS, no clock, no network and no runtime; it depends on", &broken);
}

#[test]
fn the_vault_uses_no_clock_network_files_or_environment() {
    let members = members();
    let vault = members.iter().find(|member| member.name == "holdfast-vault").unwrap();
    let mut broken = Vec::new();
    for (file, text) in vault.files() {
        // How many cases a test tries is told by the environment, and what it tries may stand in files.
        let is_test = file.starts_with("tests/") || file.ends_with("/tests.rs");
        let forbidden: Vec<&str> = NOT_IN_VAULT_SOURCES
            .iter()
            .copied()
            .filter(|name| !is_test || !IN_VAULT_TESTS.contains(name))
            .collect();
        for (number, line) in (1..).zip(text.lines()) {
            // A grouped import would hide the names that are looked for.
            let named = names_any(line, &forbidden).or_else(|| names_any(line, &["use std::{", "use std;"]));
            broken.extend(named.map(|name| format!("{file}:{number} has {name}")));
        }
    }
    expect_none("the vault is pure, and imports each module of std on a line of its own", &broken);
}

#[test]
fn every_crate_takes_its_lints_and_figures_from_the_workspace() {
    let mut broken = Vec::new();
    for member in members() {
        let manifest = member.manifest();
        if manifest.value("lints", "workspace") != Some("true") {
            broken.push(format!("{} lacks [lints] workspace = true", member.name));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if manifest.value("package", &format!("{key}.workspace")) != Some("true") {
                broken.push(format!("{} lacks {key}.workspace = true", member.name));
            }
        }
    }
    expect_none("lints, version, edition and license stand in the workspace", &broken);
}

#[test]
fn versions_of_dependencies_stand_in_the_workspace_only() {
    let mut broken = Vec::new();
    for member in members() {
        for (section, entries) in member.manifest().sections {
            let Some((_, below)) =
                section.rsplit_once("dependencies").or(section.split_once("dependencies."))
            else {
                continue;
            };
            if !below.is_empty() {
                broken.push(format!("{}: [{section}] stands apart; write it on one line", member.name));
            }
            for (key, value) in entries {
                let inherits = (key.ends_with(".workspace") && value == "true")
                    || value.replace(' ', "").contains("workspace=true");
                if !inherits {
                    broken.push(format!("{}: {key} = {value}", member.name));
                }
            }
        }
    }
    expect_none("members take dependencies with `workspace = true`", &broken);
}

#[test]
fn the_workspace_names_versions_from_the_registry_only() {
    let manifest = Manifest::read(&root().join("Cargo.toml"));
    let dependencies = &manifest.sections["workspace.dependencies"];
    let mut broken = Vec::new();
    for (name, value) in dependencies {
        let ours = name.starts_with("holdfast-");
        let text = value.replace(' ', "");
        let fetched = ["git=", "registry=", "\"*\""].iter().any(|what| text.contains(what));
        if fetched || ours != text.contains("path=") {
            broken.push(format!("{name} = {value}"));
        }
    }
    expect_none("dependencies come from the registry with a version, ours by their path", &broken);
}

#[test]
fn unsafe_code_is_forbidden() {
    let manifest = Manifest::read(&root().join("Cargo.toml"));
    assert_eq!(
        manifest.value("workspace.lints.rust", "unsafe_code"),
        Some("\"forbid\""),
        "[workspace.lints.rust] forbids unsafe code"
    );
}

#[test]
fn no_file_is_too_long() {
    let mut broken = Vec::new();
    for member in members() {
        for (file, text) in member.files() {
            let lines = text.lines().count();
            if lines > LONGEST_FILE {
                broken.push(format!("{}: {file} has {lines} lines", member.name));
            }
        }
    }
    expect_none(&format!("no file has more than {LONGEST_FILE} lines: cut it where its jobs part"), &broken);
}

#[test]
fn no_test_is_switched_off() {
    let mut broken = Vec::new();
    for member in members() {
        for (file, text) in member.files() {
            for (number, line) in (1..).zip(text.lines()) {
                if line.trim_start().starts_with("#[ignore") {
                    broken.push(format!("{}: {file}:{number}", member.name));
                }
            }
        }
    }
    expect_none("a test runs or is removed", &broken);
}

/// A method named `sleep` is one of an injected clock; a function of that name waits for real.
#[test]
fn no_test_sleeps() {
    let root = root();
    let mut broken = Vec::new();
    for member in members() {
        for (file, text) in member.files() {
            let path = member.directory.join(&file);
            let parts = path.strip_prefix(&root).unwrap().with_extension("");
            if !parts.iter().any(|part| part == "tests") {
                continue;
            }
            for (number, line) in (1..).zip(text.lines()) {
                let waits =
                    |(at, _): (usize, &str)| !line[..at].ends_with('.') && !line[..at].ends_with("fn ");
                if names_any(line, &[SLEEP]).is_some() && line.match_indices(SLEEP).any(waits) {
                    broken.push(format!("{}: {file}:{number}", member.name));
                }
            }
        }
    }
    expect_none("tests wait for what happens, on a clock of their own, and never for time to pass", &broken);
}

/// Written in two parts, so that this file does not hold it.
const SLEEP: &str = concat!("sle", "ep(");
