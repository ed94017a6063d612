//! A process that is killed leaves nothing half done behind: the next one goes on from there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use holdfast_common::jobs::Status;
use holdfast_connectors::SourceSpec;
use holdfast_local::journal::Entry;
use holdfast_tests::binary::{Cli, Ended, ended, files_below, until};
use holdfast_tests::{Node, back_up, cloud, configure, noise, tiny_limits, tree};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who watches for a moment to kill at keeps a core busy, so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

struct Shop {
    dir: tempfile::TempDir,
    cli: Cli,
    source: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Shop {
    /// A site of some 20 MB, in several tasks and packs.
    fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("site");
        for number in 0..600_u64 {
            let path = source.join(format!("{}/{number}", number % 7));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let length = usize::try_from(number * 97 % 20_000).unwrap();
            fs::write(path, noise(number, length)).unwrap();
        }
        for number in 0..3 {
            fs::write(source.join(format!("large-{number}")), noise(1_000 + number, 5 << 20)).unwrap();
        }
        let shop = Self { cli: Cli::new(dir.path().join("home")), dir, source, _turn: turn };
        shop.cli.apply(
            &json!({"resources": [{"name": "site", "source": {"kind": "files", "path": shop.source}}]}),
        );
        shop
    }

    fn home(&self, name: &str) -> PathBuf {
        self.cli.home().join(name)
    }

    /// Files that a running job has put into the home, and executions that have begun.
    fn traces(&self) -> usize {
        ["staging", "vault", "executions"].map(|name| files_below(&self.home(name))).into_iter().sum()
    }

    /// The backups that are in the vault.
    fn manifests(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.home("vault/manifests")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// What must hold whenever no process works on the home; all completed backups, oldest first.
    fn expect_sound(&self) -> Vec<String> {
        let mut listed = self.cli.completed();
        listed.sort_unstable();
        assert_eq!(self.manifests(), listed, "what the vault holds and what is told are the same");
        assert_eq!(files_below(&self.home("staging")), 0, "staging is empty");
        assert_eq!(files_below(&self.home("executions")), 0, "no execution is open");
        listed
    }

    fn expect_valid(&self, backup: &str) {
        assert_eq!(self.cli.done(&["verify", backup])["valid"], true);
    }
}

fn kill(mut child: Child) -> Ended {
    child.kill().unwrap();
    ended(child)
}

/// Starts a command and kills it as soon as a condition holds; false if it ended before.
fn killed_when(cli: &Cli, arguments: &[&str], mut condition: impl FnMut() -> bool) -> bool {
    let mut child = cli.start(arguments);
    let held = until(&mut child, &mut condition);
    let ended = kill(child);
    held && ended.code.is_none()
}

#[test]
fn a_backup_that_is_killed_anywhere_is_never_half_there() {
    let shop = Shop::new();
    let before = shop.traces();
    let mut completed = Vec::new();
    let mut kills = 0;
    for moment in 0..20 {
        let (base, listed) = (shop.traces(), completed.len());
        let condition: &dyn Fn() -> bool = match moment {
            // As files come and go; then, time and again, as the manifest appears and the job does not say so yet.
            0..14 => &|| shop.traces() > base + moment,
            _ => &|| shop.manifests().len() > listed,
        };
        if killed_when(&shop.cli, &["backup", "site"], condition) {
            kills += 1;
        }
        // The next process ends what the killed one left. A backup whose manifest was written is complete.
        let now = shop.expect_sound();
        assert!(
            now.len() <= completed.len() + 1 && now.starts_with(&completed),
            "{now:?} after {completed:?}"
        );
        completed = now;
    }
    assert!(kills > 5, "only {kills} were killed at work");
    assert!(shop.traces() > before, "some were killed late enough to leave packs");
    completed.push(shop.cli.back_up("site"));
    assert_eq!(shop.expect_sound(), completed);
    for backup in completed.iter().rev().take(2) {
        shop.expect_valid(backup);
    }
    let target = shop.dir.path().join("restored");
    shop.cli.done(&["restore", completed.last().unwrap(), "--to", &format!("files:{}", target.display())]);
    assert_eq!(tree(&target), tree(&shop.source));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_that_is_killed_behind_its_manifest_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("site"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "content").unwrap();
    let cloud = cloud(&home, tiny_limits()).await;
    configure(&cloud, "site", SourceSpec::Files { path: source }).await;
    let id = back_up(&cloud, "site").await;
    // As it is stored between the manifest's writing and the job's completion.
    let completed = cloud.services().jobs.job(&id).await.unwrap();
    let mut running = completed.clone();
    running.history.pop();
    (running.status, running.completed_at) = (Status::Running, None);
    cloud.services().jobs.put_catalogue(&running).await.unwrap();
    let entry = Entry {
        machine: "backup".to_owned(),
        execution: id.clone(),
        started_at: "2026-11-21T01:00:00Z".to_owned(),
        input: json!({"resource": "site"}),
    };
    cloud.home().journal().begin(&entry).unwrap();
    drop(cloud);

    let cloud = holdfast_tests::cloud(&home, tiny_limits()).await;
    let job = cloud.services().jobs.job(&id).await.unwrap();
    assert_eq!((job.status, job.totals, job.error), (Status::Completed, completed.totals, None));
    assert_eq!(files_below(&home.join("executions")), 0);
}

/// Entries of a directory but for the home, the source and files beside them.
fn beside(dir: &Path) -> BTreeMap<Vec<u8>, Node> {
    let known = |path: &[u8]| [&b"home"[..], b"site"].iter().any(|name| path.starts_with(name));
    tree(dir).into_iter().filter(|(path, _)| !known(path)).collect()
}

#[test]
fn a_restore_that_is_killed_anywhere_leaves_nothing_under_the_targets_name() {
    let shop = Shop::new();
    let backup = shop.cli.back_up("site");
    let target = shop.dir.path().join("restored");
    let to = format!("files:{}", target.display());
    let restore = ["restore", &backup, "--to", &to];
    let wanted = tree(&shop.source);
    let mut kills = 0;
    for moment in (0..8).map(|step| 1 + step * 100) {
        let workshop = |dir: &Path| {
            let entries = fs::read_dir(dir).unwrap().flatten();
            let hidden = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".restored"));
            hidden.map(|entry| files_below(&entry.path())).sum::<usize>()
        };
        if killed_when(&shop.cli, &restore, || workshop(shop.dir.path()) >= moment) {
            kills += 1;
        }
        if target.exists() {
            // It was shown, so it is whole.
            assert_eq!(tree(&target), wanted);
            fs::remove_dir_all(&target).unwrap();
        }
        assert_eq!(shop.expect_sound(), std::slice::from_ref(&backup));
        assert_eq!(beside(shop.dir.path()), BTreeMap::new(), "nothing is left beside the target");
        if moment % 3 == 0 {
            shop.cli.done(&restore);
            assert_eq!(tree(&target), wanted);
            fs::remove_dir_all(&target).unwrap();
        }
    }
    assert!(kills > 2, "only {kills} were killed at work");
    shop.cli.done(&restore);
    assert_eq!(tree(&target), wanted);
    shop.expect_valid(&backup);
}

#[test]
fn a_home_in_use_is_told_and_its_job_can_be_cancelled() {
    let shop = Shop::new();
    for number in 0..40 {
        fs::write(shop.source.join(format!("more-{number}")), noise(5_000 + number, 4 << 20)).unwrap();
    }
    let mut running = shop.cli.start(&["backup", "site"]);
    let execution = || {
        let entry = fs::read_dir(shop.home("executions")).ok()?.flatten().next()?;
        entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned)
    };
    assert!(until(&mut running, || execution().is_some()), "the backup runs");
    let id = execution().expect("the backup still runs");

    let refused = shop.cli.run(&["backups"]);
    assert_eq!((refused.code, refused.error_code()), (Some(2), "HomeInUse"), "{refused:?}");
    let process = running.id().to_string();
    assert!(refused.error.to_string().contains(&process), "{refused:?} names process {process}");

    let asked = shop.cli.done(&["cancel", &id]);
    assert_eq!((&asked["id"], &asked["requested"]), (&json!(id), &json!(true)));
    let cancelled = ended(running);
    assert_eq!((cancelled.code, cancelled.error_code()), (Some(1), "Cancelled"), "{cancelled:?}");
    assert_eq!(shop.expect_sound(), Vec::<String>::new());
    assert_eq!(shop.cli.done(&["show", &id])["status"], "cancelled");
    let backup = shop.cli.back_up("site");
    shop.expect_valid(&backup);
}
