//! A directory with a home, and the program at work in it.

#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do ends the test")]

pub(crate) mod stack;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// What a run of the program gave.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The answer of a run that ended with this exit code and told nothing on stderr.
    #[track_caller]
    pub(crate) fn answer(&self, code: i32) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (code, ""), "{}", self.stdout);
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The error of a run that ended with this exit code and gave no answer.
    #[track_caller]
    pub(crate) fn error(&self, code: i32) -> Value {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        let told: Value = serde_json::from_str(&self.stderr).unwrap();
        let fields: Vec<&String> = told["error"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["code", "hint", "message", "object", "retry"]);
        told["error"].clone()
    }

    /// What a run that was done said to people.
    #[track_caller]
    pub(crate) fn text(&self, code: i32) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (code, ""), "{}", self.stdout);
        &self.stdout
    }
}

/// A directory that the program works in; its home is `.holdfast` there.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path(".holdfast")
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A command in this directory, with an environment that no test depends on.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.current_dir(self.0.path()).args(args).stdin(Stdio::null());
        for name in ["HOLDFAST_HOME", "HOLDFAST_STACK", "HOLDFAST_LOG", "AWS_PROFILE", "AWS_REGION"] {
            command.env_remove(name);
        }
        // They open nothing: what they are sent to is this machine.
        command.env("AWS_ACCESS_KEY_ID", "none").env("AWS_SECRET_ACCESS_KEY", "none");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// As [`Place::run`], with `--json`.
    pub(crate) fn json(&self, args: &[&str]) -> Ran {
        self.run(&[args, &["--json"]].concat())
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Two resources: `site`, a tree, and `exports`, two streams of records.
    pub(crate) fn with_data() -> Self {
        let place = Self::new();
        place.write("site/index.html", "<h1>shop</h1>\n");
        // Does not compress, so that a flipped byte hits data.
        let noise: Vec<u8> =
            (0_u32..60_000).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
        place.write("site/img/noise.bin", noise);
        place.write("site/empty.txt", "");
        let line = |stream: &str, n: u32| format!("{{\"id\": {n}, \"of\":\"{stream}\"}}\n");
        place.write("exports/orders.jsonl", (0..500).map(|n| line("orders", n)).collect::<String>());
        place.write("exports/customers.jsonl", (0..20).map(|n| line("customers", n)).collect::<String>());
        place.write(
            "resources.yaml",
            "resources:\n\
             - { name: site, source: { kind: files, path: site } }\n\
             - { name: exports, source: { kind: jsonl, path: exports, key: [/id] }, policy: { tier: critical } }\n",
        );
        place.run(&["apply", "-f", "resources.yaml"]).text(0);
        place
    }

    /// Backs a resource up, and returns the backup's id.
    #[track_caller]
    pub(crate) fn backup(&self, resource: &str) -> String {
        self.json(&["backup", resource]).answer(0)["id"].as_str().unwrap().to_owned()
    }
}

/// The files below a directory with their contents, by their paths.
pub(crate) fn tree(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                files.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// The lines of every file below a directory, sorted: records have no order.
pub(crate) fn records(directory: &Path) -> Vec<(String, Vec<String>)> {
    let sorted = |text: Vec<u8>| {
        let mut lines: Vec<String> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    tree(directory).into_iter().map(|(name, text)| (name, sorted(text))).collect()
}
