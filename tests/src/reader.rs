//! The break-glass reader, which shares no code with the product.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The reader over one vault.
#[derive(Debug)]
pub struct Reader {
    python: PathBuf,
    vault: PathBuf,
    key: PathBuf,
}

/// How a call of the reader ended.
#[derive(Debug)]
pub struct Read {
    /// The exit code.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

impl Reader {
    /// The reader over the vault of a home. Where Python or its libraries are missing a test says so and passes, but not
    /// in CI.
    #[must_use]
    #[allow(clippy::print_stderr)]
    pub fn over(home: &Path) -> Option<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
        let python = if own.is_file() { own } else { "python3".into() };
        let probe = Command::new(&python)
            .args(["-c", "import cryptography, zstandard"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if probe.is_ok_and(|status| status.success()) {
            return Some(Self { python, vault: home.join("vault"), key: home.join("key.json") });
        }
        assert!(std::env::var_os("CI").is_none(), "CI has Python with cryptography and zstandard");
        eprintln!("skipped: no Python with cryptography and zstandard");
        None
    }

    /// Calls it.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Read {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/holdfast-read.py");
        let output = Command::new(&self.python)
            .arg(script)
            .arg("--vault")
            .arg(&self.vault)
            .arg("--key")
            .arg(&self.key)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("Python runs");
        Read {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Calls it, expects that all is well, and gives what it wrote to stdout.
    #[allow(clippy::must_use_candidate)]
    pub fn done(&self, arguments: &[&str]) -> String {
        let read = self.run(arguments);
        assert_eq!(read.code, Some(0), "{read:?}");
        read.out
    }

    /// What it shows of a backup.
    #[must_use]
    pub fn show(&self, backup: &str) -> Value {
        serde_json::from_str(&self.done(&["show", backup, "--json"])).expect("it shows JSON")
    }
}
