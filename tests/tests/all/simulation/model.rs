//! What must hold, watched at every write of the vault and every deletion from it.

use super::keeping;
use super::stage::Stage;
use super::tally::{Happened, Tally};
use super::till::Till;
use crate::increments::bench::Lines;
use holdfast_common::jobs::{DeletedBy, JobKind, JobStore, Status};
use holdfast_vault::format::manifest::StoredObject;
use holdfast_vault::read::Vault;
use holdfast_workflow::config::Resource;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A clock is wrong by so much at most, either way.
pub(super) const SKEW: SignedDuration = SignedDuration::from_mins(10);
/// A backup that is deleted by hand can be taken back for so long.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// What an operator asked for with a backup.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    /// Held since; what ran already may not have seen it before.
    held: Option<Timestamp>,
    deleted: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Known {
    /// What a source held, by its path; none while somebody writes into it.
    sources: BTreeMap<PathBuf, Option<Lines>>,
    /// The objects of every live manifest.
    live: BTreeMap<String, BTreeSet<String>>,
    /// How many live manifests name an object.
    named: BTreeMap<String, u64>,
    /// When somebody last wrote into a source.
    written: BTreeMap<PathBuf, Timestamp>,
    /// The source that each backup read, and from when on.
    read: BTreeMap<String, (PathBuf, Timestamp)>,
    wishes: BTreeMap<String, Wish>,
    gone: BTreeSet<String>,
    condemned: BTreeSet<String>,
    prunes: u64,
}

/// The model of one history.
pub(super) struct Model {
    vault: Vault,
    jobs: JobStore,
    stage: Stage,
    tally: Arc<Tally>,
    till: Arc<Till>,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Model")
    }
}

impl Model {
    /// A model over the vault and the job table as they are, without faults.
    pub(super) fn new(
        vault: Vault,
        jobs: JobStore,
        stage: &Stage,
        tally: &Arc<Tally>,
        till: &Arc<Till>,
    ) -> Self {
        let (stage, tally, till) = (stage.clone(), tally.clone(), till.clone());
        Self { vault, jobs, stage, tally, till, known: Mutex::default() }
    }

    /// Looks at an object that was just written.
    pub(super) async fn created(&self, key: &str) {
        let Some(id) = key.strip_prefix("manifests/") else { return };
        let manifest = self.vault.manifest(id).await.unwrap();
        for object in &manifest.objects {
            let found = self.vault.storage().head(&object.key()).await;
            let size = found.as_ref().map(|found| found.size).ok();
            assert_eq!(size, Some(object.size), "backup {id} completed without {}", object.key());
        }
        self.tally.count(Happened::Backup);
        if manifest.base.is_some() {
            self.tally.count(Happened::Increment);
        }
        let objects: BTreeSet<String> = manifest.objects.iter().map(StoredObject::key).collect();
        let mut known = self.known.lock().unwrap();
        assert!(!known.gone.contains(id), "backup {id} was deleted and is written again");
        for key in &objects {
            if known.condemned.remove(key) {
                self.tally.count(Happened::Rescued);
            }
            *known.named.entry(key.clone()).or_default() += 1;
        }
        known.live.insert(id.to_owned(), objects);
        let began: Timestamp = manifest.started_at.parse().unwrap();
        match manifest.source["path"].as_str() {
            Some(path) => drop(known.read.insert(id.to_owned(), (PathBuf::from(path), began))),
            None => self.till.complete(id, began, self.stage.now()),
        }
    }

    /// Looks at an object that is about to be deleted from the vault.
    pub(super) async fn deleting(&self, key: &str) {
        if let Some(id) = key.strip_prefix("manifests/") {
            self.manifest_may_go(id).await;
            self.tally.count(Happened::ManifestGone);
            let mut known = self.known.lock().unwrap();
            for key in known.live.remove(id).unwrap_or_default() {
                let left = known.named.get_mut(&key).unwrap();
                *left -= 1;
                if *left == 0 {
                    known.named.remove(&key);
                }
            }
            known.gone.insert(id.to_owned());
            return;
        }
        if key.starts_with("changes/") {
            // What goes with it is looked at where changes are read.
            self.tally.count(Happened::ChangesGone);
            return;
        }
        let known = self.known.lock().unwrap();
        let is_data = key.starts_with("packs/") || key.starts_with("index/");
        assert!(is_data, "{key} is deleted, which nothing may delete");
        self.tally.count(Happened::ObjectGone);
        let needs = known.live.iter().find(|(_, objects)| objects.contains(key)).map(|(id, _)| id);
        assert_eq!(needs, None, "{key} is deleted, and this backup needs it");
    }

    /// A manifest goes only where somebody asked for it, long enough ago, and nothing holds it.
    async fn manifest_may_go(&self, id: &str) {
        let now = self.stage.now();
        let job = self.jobs.job(id).await.unwrap();
        if job.status != Status::Completed {
            // Its job ended before its manifest was written: nobody was ever told of it.
            return;
        }
        let Some(deletion) = job.deletion.clone() else {
            panic!("backup {id} is deleted, and nobody asked for that")
        };
        assert!(job.hold.is_none(), "backup {id} is deleted under a hold");
        assert!(
            deletion.due_at <= now + SKEW,
            "backup {id} is deleted before its time: {deletion:?}, now {now}"
        );
        assert!(
            deletion.asked_at + GRACE <= deletion.due_at,
            "backup {id} could not be taken back for a day: {deletion:?}"
        );
        let wish = self.known.lock().unwrap().wishes.get(id).copied().unwrap_or_default();
        assert!(wish.held.is_none(), "backup {id} is held since {:?} and deleted at {now}", wish.held);
        if deletion.by == DeletedBy::Operator {
            let asked = wish.deleted.expect("a backup is deleted by hand that nobody wanted deleted");
            assert!(
                asked + GRACE <= now + SKEW * 2,
                "backup {id} was to be deleted at {asked}, and is at {now}"
            );
        } else {
            let others = self.jobs.jobs(JobKind::Backup, Some(&job.resource)).all().await.unwrap();
            let document = self.jobs.resource(&job.resource).await.unwrap();
            let resource: Resource = serde_json::from_value(document).unwrap();
            keeping::may_let_go(&resource.policy, &job, &deletion, &others);
        }
    }

    /// Notes what a source holds; none while somebody writes into it.
    pub(super) fn source_holds(&self, path: &Path, lines: Option<Lines>) {
        let now = self.stage.now();
        let mut known = self.known.lock().unwrap();
        if known.sources.insert(path.to_path_buf(), lines).is_some() {
            known.written.insert(path.to_path_buf(), now);
        }
    }

    /// What a source holds, unless somebody writes into it.
    pub(super) fn holds(&self, path: &Path) -> Option<Lines> {
        self.known.lock().unwrap().sources[path].clone()
    }

    /// What all sources hold into which nobody writes.
    pub(super) fn sources(&self) -> Vec<(PathBuf, Lines)> {
        let known = self.known.lock().unwrap();
        let quiet = |(path, lines): (&PathBuf, &Option<Lines>)| Some((path.clone(), lines.clone()?));
        known.sources.iter().filter_map(quiet).collect()
    }

    /// What a backup of lines must give back; none where its source was written into while it may have read it.
    pub(super) fn expected(&self, backup: &str) -> Option<Lines> {
        let known = self.known.lock().unwrap();
        let (path, began) = known.read.get(backup)?;
        if known.written.get(path).is_some_and(|written| *began - SKEW <= *written) {
            return None;
        }
        known.sources[path].clone()
    }

    /// The backups whose manifests are in the vault.
    pub(super) fn live(&self) -> Vec<String> {
        self.known.lock().unwrap().live.keys().cloned().collect()
    }

    /// All objects that live manifests name.
    pub(super) fn needed(&self) -> BTreeSet<String> {
        self.known.lock().unwrap().named.keys().cloned().collect()
    }

    pub(super) fn is_gone(&self, backup: &str) -> bool {
        self.known.lock().unwrap().gone.contains(backup)
    }

    pub(super) fn held(&self, backup: &str) {
        let now = self.stage.now();
        self.known.lock().unwrap().wishes.entry(backup.to_owned()).or_default().held = Some(now);
    }

    pub(super) fn released(&self, backup: &str) {
        self.known.lock().unwrap().wishes.entry(backup.to_owned()).or_default().held = None;
    }

    pub(super) fn is_held(&self, backup: &str) -> bool {
        self.known.lock().unwrap().wishes.get(backup).is_some_and(|wish| wish.held.is_some())
    }

    /// The backups that an operator wants deleted, or held.
    pub(super) fn wished(&self, held: bool) -> Vec<String> {
        let known = self.known.lock().unwrap();
        let fits = |wish: &Wish| if held { wish.held.is_some() } else { wish.deleted.is_some() };
        let live = known.wishes.iter().filter(|(id, wish)| fits(wish) && known.live.contains_key(*id));
        live.map(|(id, _)| id.clone()).collect()
    }

    /// Notes that a backup is to be deleted. Asked for again it goes when it would have gone.
    pub(super) fn deletion_asked(&self, backup: &str) {
        let now = self.stage.now();
        self.known.lock().unwrap().wishes.entry(backup.to_owned()).or_default().deleted.get_or_insert(now);
    }

    pub(super) fn deletion_taken_back(&self, backup: &str) {
        self.known.lock().unwrap().wishes.entry(backup.to_owned()).or_default().deleted = None;
    }

    /// Notes that an object is condemned.
    pub(super) fn condemned(&self, key: &str) {
        if self.known.lock().unwrap().condemned.insert(key.to_owned()) {
            self.tally.count(Happened::Condemned);
        }
    }

    /// Notes that a prune begins or ends; gives how many ran before.
    pub(super) fn prunes(&self, begins: bool) -> u64 {
        let mut known = self.known.lock().unwrap();
        let before = known.prunes;
        known.prunes = if begins { before + 1 } else { before - 1 };
        before
    }
}
