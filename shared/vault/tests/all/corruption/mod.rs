//! Whatever happens to an object of a vault, it is found, and no wrong byte is restored.
//!
//! `HOLDFAST_CORRUPTIONS` says how many random cases are tried, `HOLDFAST_SEED` where they begin.

mod chance;
mod damage;
mod look;
mod small;

pub(crate) use chance::Chance;

use damage::{Damaged, KINDS, WAYS, Way, damage};
use holdfast_vault::error::Class;
use look::{captured, damaged_changes, open, restored, verified};
use small::Small;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the cases met.
#[derive(Debug, Default)]
struct Tally {
    cases: AtomicU64,
    /// The vault did not open.
    refused: AtomicU64,
    /// A verification named the object.
    named: AtomicU64,
    /// Nothing that is read of the object was changed.
    harmless: AtomicU64,
    /// The newest change object is gone: no other one names it yet.
    gone: AtomicU64,
}

fn setting(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

/// How many cases: all of them where everything is checked, fewer in a hurry.
fn cases() -> u64 {
    let all = ["CI", "HOLDFAST_FULL"].iter().any(|name| std::env::var_os(name).is_some());
    setting("HOLDFAST_CORRUPTIONS", if all { 10_000 } else { 1_500 })
}

struct Suite {
    small: Small,
    /// Which backups need an object.
    needed: BTreeMap<String, Vec<String>>,
    tally: Tally,
}

impl Suite {
    async fn new(content_bytes: usize) -> Self {
        let small = Small::new(content_bytes).await;
        let vault = open(&small.objects).await.unwrap();
        let mut needed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, content) in &small.backups {
            assert_eq!(verified(&vault, id).await.unwrap(), Vec::<String>::new(), "sound as it was written");
            assert_eq!(restored(&vault, id, &mut Chance::new(0)).await.unwrap(), *content);
            for object in vault.manifest(id).await.unwrap().objects {
                needed.entry(object.key()).or_default().push(id.clone());
            }
            needed.entry(format!("manifests/{id}")).or_default().push(id.clone());
        }
        assert!(damaged_changes(&vault).await.unwrap().is_empty());
        for (resource, changes) in &small.changes {
            assert_eq!(captured(&vault, resource).await.unwrap(), *changes);
        }
        let changes = small.objects.keys().filter(|key| key.starts_with("changes/"));
        needed.extend(changes.map(|key| (key.clone(), Vec::new())));
        Self { small, needed, tally: Tally::default() }
    }

    /// One case; everything in it follows from its seed.
    async fn case(&self, seed: u64) {
        let mut chance = Chance::new(seed);
        let (kind, damaged) = loop {
            let (kind, way) = (*chance.pick(&KINDS), *chance.pick(&WAYS));
            if let Some(damaged) = damage(&self.small, kind, way, &mut chance) {
                break (kind, damaged);
            }
        };
        self.tally.cases.fetch_add(1, Ordering::Relaxed);
        let tell = format!("HOLDFAST_SEED={seed} HOLDFAST_CORRUPTIONS=1: {damaged:?}");
        let vault = match open(&damaged.objects).await {
            Ok(vault) => vault,
            Err(error) => {
                assert!(kind == "holdfast.json" || kind == "keys/", "{tell}: {error:?}");
                assert!(error.code.class() != Class::Failed, "{tell}: {error:?}");
                self.tally.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let mut named = damaged_changes(&vault).await.expect(&tell);
        for (id, content) in &self.small.backups {
            let found = verified(&vault, id).await.expect(&tell);
            // Without a version of the key all that was sealed under it is lost, and told.
            if kind != "keys/" {
                self.expect_named(&damaged, id, &found, &tell);
            }
            match restored(&vault, id, &mut chance).await {
                Ok(read) => assert!(read == *content, "{tell}: wrong bytes are restored from {id}"),
                Err(error) => {
                    assert_eq!(error.code.class(), Class::Damage, "{tell}: {error:?}");
                    assert!(!found.is_empty(), "{tell}: a restore of {id} fails, and verify tells nothing");
                    let only_index = damaged.keys.iter().all(|key| key.starts_with("index/"));
                    assert!(!only_index, "{tell}: a restore needs no index");
                }
            }
            named.extend(found);
        }
        self.expect_changes(&damaged, &vault, &tell).await;
        self.count(&damaged, kind, &named, &tell);
    }

    /// Exactly the backups that need a damaged object are found damaged, by its name.
    fn expect_named(&self, damaged: &Damaged, backup: &String, found: &[String], tell: &str) {
        let changed = |key: &&String| damaged.objects.get(*key) != self.small.objects.get(*key);
        let mut expected: Vec<String> = damaged
            .keys
            .iter()
            .filter(changed)
            .filter(|key| self.needed.get(*key).is_some_and(|by| by.contains(backup)))
            .cloned()
            .collect();
        expected.sort();
        expected.dedup();
        assert_eq!(found, expected, "{tell}: backup {backup}");
    }

    /// What is read of captured changes is all of them, an error, or, where the newest are gone, the others.
    async fn expect_changes(&self, damaged: &Damaged, vault: &holdfast_vault::read::Vault, tell: &str) {
        let is_newest = damaged.keys.iter().any(|key| self.small.newest.contains(key));
        for (resource, changes) in &self.small.changes {
            match captured(vault, resource).await {
                Ok(read) if damaged.way == Way::Drop && is_newest => {
                    assert!(read.iter().all(|change| changes.contains(change)), "{tell}: false changes");
                }
                Ok(read) => assert!(read == *changes, "{tell}: wrong changes of {resource} are read"),
                Err(error) => assert_eq!(error.code.class(), Class::Damage, "{tell}: {error:?}"),
            }
        }
    }

    fn count(&self, damaged: &Damaged, kind: &str, named: &[String], tell: &str) {
        let known = damaged.keys.iter().any(|key| named.contains(key) || key.starts_with("keys/"));
        let known = known && !named.is_empty();
        let dropped = |among: &BTreeSet<String>| {
            damaged.way == Way::Drop && damaged.keys.iter().all(|key| among.contains(key))
        };
        let counter = if known {
            &self.tally.named
        } else if dropped(&self.small.newest) {
            &self.tally.gone
        } else {
            // Plain JSON says the same in many ways, and what nobody names is read by nobody.
            let plain = kind == "holdfast.json" || kind == "keys/";
            let harmless = plain || damaged.way == Way::Copy || dropped(&self.small.spare);
            assert!(harmless, "{tell}: nobody tells");
            &self.tally.harmless
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs cases on all processors.
#[allow(clippy::print_stderr, reason = "the figures are part of what the test says")]
fn run(content_bytes: usize, first: u64, cases: u64) {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let suite = Arc::new(runtime().block_on(Suite::new(content_bytes)));
    let next = Arc::new(AtomicU64::new(first));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (suite, next) = (suite.clone(), next.clone());
            scope.spawn(move || {
                let runtime = runtime();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + cases {
                        break;
                    }
                    runtime.block_on(suite.case(seed));
                }
            });
        }
    });
    eprintln!("{:?}", suite.tally);
}

#[test]
fn no_damage_goes_unseen_and_no_wrong_byte_is_restored() {
    run(300, setting("HOLDFAST_SEED", 0), cases());
}

/// Objects of more than a megabyte are read by ranges, without their checksums.
#[test]
fn damage_of_large_objects_is_seen_too() {
    run(1_100_000, setting("HOLDFAST_SEED", 1_000_000), cases() / 250);
}
