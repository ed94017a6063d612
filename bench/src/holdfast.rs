//! The program under test, on one home.

use crate::disk;
use crate::failure::{failed, internal, say, wrong};
use crate::measure::{self, Ran, Usage};
use holdfast_vault::error::{Code, Error, Result};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The exit code of a command that was done and found damage or differences.
const FOUND: i32 = 3;

/// The program and the home it works on.
pub(crate) struct Holdfast {
    program: PathBuf,
    home: PathBuf,
}

/// A command that was done.
pub(crate) struct Done {
    /// Its answer.
    pub(crate) answer: Value,
    /// What it took.
    pub(crate) usage: Usage,
    /// Whether it said that it found damage or differences.
    pub(crate) found: bool,
}

/// The program at a path, or the one beside this program.
///
/// # Errors
/// `InvalidInput` if there is none.
pub(crate) fn program(given: Option<&Path>) -> Result<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("holdfast"));
    let program = given.map(Path::to_path_buf).or_else(beside).unwrap_or_default();
    if program.is_file() {
        return Ok(program);
    }
    Err(Error::new(Code::InvalidInput, format!("there is no program at {}", program.display()))
        .object("--holdfast")
        .hint("build it with `cargo build --release`, or name it with --holdfast FILE or HOLDFAST_BIN"))
}

/// What a program says of its version.
///
/// # Errors
/// That it cannot be run.
pub(crate) fn version(program: &Path) -> Result<String> {
    let ran = measure::run(Command::new(program).arg("--version"))?;
    Ok(ran.stdout.trim().to_owned())
}

impl Holdfast {
    /// The program on a home that need not be there yet.
    pub(crate) fn new(program: &Path, home: &Path) -> Self {
        Self { program: program.to_path_buf(), home: home.to_path_buf() }
    }

    /// Checks that the program knows a command.
    ///
    /// # Errors
    /// `InvalidInput` naming the command if it does not.
    pub(crate) fn knows(&self, command: &str) -> Result<()> {
        let ran = measure::run(Command::new(&self.program).args([command, "--help"]))?;
        if ran.status.success() {
            return Ok(());
        }
        let message =
            format!("{} has no command `{command}`, which this case measures", self.program.display());
        Err(Error::new(Code::InvalidInput, message)
            .object(command)
            .hint("build the newest holdfast with `cargo build --release`"))
    }

    /// Runs a command with `--json`. That it found something is for the caller to judge.
    ///
    /// # Errors
    /// What the command said when it failed.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Result<Done> {
        let shown: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
        say(&format!("holdfast {}", shown.join(" ")));
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(&self.home).arg("--json").args(args);
        // A home of the environment is not the one that is measured.
        command.env_remove("HOLDFAST_HOME");
        let ran = measure::run(&mut command)?;
        let found = match ran.status.code() {
            Some(0) => false,
            Some(FOUND) => true,
            _ => return Err(refused(&shown.join(" "), &ran)),
        };
        let answer = serde_json::from_str(ran.stdout.trim())
            .map_err(|e| internal(format!("`holdfast {}` gave no JSON: {e}", shown.join(" "))))?;
        Ok(Done { answer, usage: ran.usage, found })
    }

    /// Puts one resource under protection; `resource` is its entry of the resources file.
    ///
    /// # Errors
    /// What the program said.
    pub(crate) fn apply(&self, resource: &Value) -> Result<()> {
        let file = self.home.with_extension("resources.json");
        // JSON is YAML too.
        let text = serde_json::json!({ "resources": [resource] }).to_string();
        fs::write(&file, text).map_err(|e| failed("write", &file, &e))?;
        self.run(&[OsStr::new("apply"), OsStr::new("-f"), file.as_os_str()])?;
        Ok(())
    }

    /// Verifies every byte of a backup.
    ///
    /// # Errors
    /// What the program said, or that it found damage: no figure is worth anything then.
    pub(crate) fn verify(&self, id: &str) -> Result<Usage> {
        let done = self.run(&["verify", id, "--level", "full"])?;
        if done.found || done.answer["valid"] != true {
            return Err(wrong(format!("backup {id} is not valid: `holdfast verify` found damage")));
        }
        Ok(done.usage)
    }

    /// The size of the vault: the sum of its objects' lengths, in bytes.
    ///
    /// # Errors
    /// What keeps it from being looked at.
    pub(crate) fn vault_bytes(&self) -> Result<u64> {
        disk::bytes_below(&self.home.join("vault"))
    }

    /// The size of each part of the vault, in bytes.
    ///
    /// # Errors
    /// What keeps it from being looked at.
    pub(crate) fn vault_parts(&self) -> Result<Vec<(String, u64)>> {
        disk::parts(&self.home.join("vault"))
    }

    /// The home.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
}

impl Done {
    /// A text of the answer.
    ///
    /// # Errors
    /// `Internal` naming the field if it is not there.
    pub(crate) fn text(&self, field: &str) -> Result<&str> {
        self.answer[field]
            .as_str()
            .ok_or_else(|| internal(format!("the answer of holdfast has no text `{field}`")))
    }

    /// A number of the answer, where it is there.
    pub(crate) fn number(&self, field: &str) -> Option<u64> {
        self.answer[field].as_u64()
    }
}

/// What a failed command said, as an error of ours.
fn refused(shown: &str, ran: &Ran) -> Error {
    let told: Option<Value> = ran.stderr.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    let told = told.map(|line| line["error"].clone()).unwrap_or_default();
    let why = told["message"].as_str().map_or_else(|| ran.stderr.trim().to_owned(), str::to_owned);
    let name = told["code"].as_str().unwrap_or_default();
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == name).unwrap_or(Code::Internal);
    let mut error = Error::new(code, format!("`holdfast {shown}` ended with {}: {why}", ran.status));
    error.hint = told["hint"].as_str().map(str::to_owned);
    error
}
