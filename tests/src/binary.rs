//! The product as an operator has it: the `holdfast` binary, run as a process of its own.

use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};

/// The binary: `HOLDFAST_BIN`, or the one beside the test, which is built first where it is missing or older than its
/// source. CI has built it before.
#[must_use]
pub fn holdfast() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = env::var_os("HOLDFAST_BIN") {
            return named.into();
        }
        let test = env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).expect("tests are in <target>/<profile>/deps");
        let binary = profile.join("holdfast");
        if env::var_os("CI").is_some() {
            assert!(binary.is_file(), "CI builds {} before the tests", binary.display());
        } else if !is_fresh(&binary) {
            build(profile);
        }
        binary
    })
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn build(profile: &Path) {
    let name = profile.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = if name == "debug" { "dev" } else { name };
    let target = profile.parent().unwrap();
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace())
        .args(["build", "--quiet", "--package", "holdfast-cli", "--profile", name, "--target-dir"])
        .arg(target)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the binary builds");
}

fn is_fresh(binary: &Path) -> bool {
    let Ok(built) = fs::metadata(binary).and_then(|facts| facts.modified()) else { return false };
    let mut left: Vec<PathBuf> =
        ["cli", "functions", "infra", "local", "shared"].map(|of| workspace().join(of)).into();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::metadata(&path).unwrap().modified().unwrap_or(SystemTime::UNIX_EPOCH) > built {
            return false;
        }
    }
    true
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What it answered.
    pub answer: Value,
    /// The error that it told.
    pub error: Value,
}

impl Ended {
    /// The error's code.
    #[must_use]
    pub fn error_code(&self) -> &str {
        self.error["error"]["code"].as_str().unwrap_or_default()
    }
}

/// The command line on a home.
#[derive(Debug, Clone)]
pub struct Cli {
    home: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Cli {
    /// The command line on this home.
    #[must_use]
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), environment: Vec::new() }
    }

    /// The same with a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A command with answers in JSON. It sees none of the machine's own AWS configuration.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(holdfast());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") || name.to_string_lossy().starts_with("HOLDFAST_") {
                command.env_remove(name);
            }
        }
        command
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("--home")
            .arg(&self.home)
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ended {
        ended(self.start(arguments))
    }

    /// Runs a command that must succeed, and gives its answer.
    pub fn done<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Value {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.answer
    }

    /// Starts a command.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Child {
        self.command(arguments).spawn().expect("the binary runs")
    }

    /// Configures resources, by a resources file beside the home.
    pub fn apply(&self, resources: &Value) {
        let file = self.home.with_extension("resources.yaml");
        // JSON is YAML.
        fs::write(&file, resources.to_string()).unwrap();
        self.done(&[OsStr::new("apply"), OsStr::new("-f"), file.as_os_str()]);
    }

    /// Backs a resource up and gives the backup's id.
    #[must_use]
    pub fn back_up(&self, resource: &str) -> String {
        let answer = self.done(&["backup", resource]);
        assert_eq!(answer["status"], "completed");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// All completed backups, newest first.
    #[must_use]
    pub fn completed(&self) -> Vec<String> {
        let answer = self.done(&["backups", "--limit", "1000"]);
        let backups = answer["backups"].as_array().unwrap().iter();
        let completed = backups.filter(|backup| backup["status"] == "completed");
        completed.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Waits for the end of a command.
#[must_use]
pub fn ended(mut child: Child) -> Ended {
    let (mut out, mut err) = (String::new(), String::new());
    let mut stderr = child.stderr.take().unwrap();
    // One pipe that is full would stop the command while the other is read.
    let told = std::thread::spawn(move || {
        stderr.read_to_string(&mut err).unwrap();
        err
    });
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let code = child.wait().unwrap().code();
    let err = told.join().unwrap();
    let json = |text: &str| match text.lines().last() {
        Some(line) => serde_json::from_str(line).unwrap_or_else(|_| Value::String(text.to_owned())),
        None => Value::Null,
    };
    Ended { code, answer: json(&out), error: json(&err) }
}

/// Waits until a condition holds or the command has ended; whether the condition held.
///
/// # Panics
/// When neither has come to pass for a minute.
pub fn until(child: &mut Child, mut condition: impl FnMut() -> bool) -> bool {
    let bound = Instant::now() + Duration::from_mins(1);
    loop {
        let over = child.try_wait().unwrap().is_some();
        if condition() {
            return true;
        }
        if over {
            return false;
        }
        assert!(Instant::now() < bound, "nothing happened for a minute");
        std::thread::yield_now();
    }
}

/// Files below a directory, however deep.
#[must_use]
pub fn files_below(directory: &Path) -> usize {
    let mut count = 0;
    let mut left = vec![directory.to_path_buf()];
    while let Some(directory) = left.pop() {
        // The command makes and removes directories meanwhile.
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => left.push(entry.path()),
                _ => count += 1,
            }
        }
    }
    count
}
