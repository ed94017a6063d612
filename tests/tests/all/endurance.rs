//! Four hundred days of backups under retention with a prune a day: the vault stays as small as what it must hold, and
//! every backup that is left restores.
//!
//! At full length in CI and with `HOLDFAST_FULL` set, else over forty days. The resource that is due most often is backed
//! up every six hours; with `HOLDFAST_HOURLY` set it is every hour, which takes some times as long.

use crate::generator::is_full;
use crate::increments::bench::{Bench, Lines, small};
use crate::increments::chance::Chance;
use crate::increments::drive::plain;
use crate::prune::bench::run;
use holdfast_common::jobs::BackupType;
use holdfast_connectors::SourceSpec;
use holdfast_vault::storage::list_all;
use holdfast_workflow::WorkLimits;
use holdfast_workflow::config::{Policy, Resource};
use holdfast_workflow::events::Selection;
use holdfast_workflow::retention::Retention;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;

/// Stored bytes stay within so many times what live backups need.
const BOUND: f64 = 1.3;
/// The first days are not measured: little is stored, and nothing was to go yet.
const WARM_UP: u64 = 10;

/// A resource, how often it is backed up, and what it holds now.
struct Resourced {
    name: &'static str,
    every_hours: u64,
    records: BTreeMap<u64, String>,
}

struct Years {
    bench: Bench,
    chance: Chance,
    resources: Vec<Resourced>,
    /// What each backup must give back.
    taken: BTreeMap<String, Lines>,
}

/// What was measured after a prune.
#[derive(Debug, Clone, Copy)]
struct Measured {
    stored: u64,
    /// Bytes of the objects that the manifests in the vault name.
    named: u64,
    /// The same without the backups that are asked to go and wait out their grace.
    kept: u64,
}

#[allow(clippy::cast_precision_loss, reason = "a ratio of sizes that are far below 2^52")]
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}

impl Years {
    async fn new(hours: u64) -> Self {
        let bench = Bench::new(WorkLimits { range_bytes: 1 << 20, ..WorkLimits::default() }).await;
        let resource = |name, every_hours| Resourced { name, every_hours, records: BTreeMap::new() };
        let resources =
            vec![resource("orders", hours), resource("catalogue", 24), resource("history", 30 * 24)];
        let mut years = Self { bench, chance: Chance::new(7), resources, taken: BTreeMap::new() };
        for at in 0..years.resources.len() {
            years.configure(at).await;
            for key in 0..300 {
                years.put(at, key);
            }
        }
        years
    }

    async fn configure(&self, at: usize) {
        let name = self.resources[at].name;
        let path = self.bench.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        let number = NonZeroU32::new;
        let retention = Retention {
            hourly: number(24),
            daily: number(7),
            weekly: number(4),
            monthly: number(12),
            yearly: number(3),
            ..Retention::default()
        };
        let policy =
            Policy { backup_type: BackupType::Incremental, retention: Some(retention), ..Policy::default() };
        let source = SourceSpec::Jsonl { path, key: vec!["/id".to_owned()] };
        let resource = Resource { name: name.to_owned(), source, policy };
        let document = serde_json::to_value(&resource).unwrap();
        self.bench.services.jobs.put_resource(name, &document).await.unwrap();
    }

    /// A record of noise, so that its bytes count in the vault as they do in the source.
    fn put(&mut self, at: usize, key: u64) {
        let noise = [(); 6].map(|()| format!("{:016x}", self.chance.next())).concat();
        self.resources[at].records.insert(key, format!(r#"{{"id":{key},"noise":"{noise}"}}"#));
    }

    async fn back_up(&mut self, at: usize) {
        for _ in 0..self.chance.below(6) {
            let key = self.chance.below(320);
            if self.chance.percent(15) {
                self.resources[at].records.remove(&key);
            } else {
                self.put(at, key);
            }
        }
        let resource = &self.resources[at];
        let mut lines: Vec<String> = resource.records.values().cloned().collect();
        let path = self.bench.dir.path().join(resource.name).join("records.jsonl");
        fs::write(path, lines.join("\n")).unwrap();
        lines.sort_unstable();
        let (bench, services) = (&self.bench, &self.bench.services);
        let job = plain(bench, services, resource.name, BackupType::Incremental).await.unwrap();
        self.taken.insert(job.id, Lines::from([("records".to_owned(), lines)]));
    }

    /// The prune of a day, and what it leaves.
    async fn prune(&mut self) -> Measured {
        let services = &self.bench.services;
        run(&self.bench, services, &self.bench.execution(), false).await.unwrap();
        let (mut named, mut kept) = (BTreeMap::new(), BTreeMap::new());
        let live = services.vault.backups().await.unwrap();
        for id in &live {
            let stays = services.jobs.job(id).await.unwrap().deletion.is_none();
            for object in services.vault.manifest(id).await.unwrap().objects {
                if stays {
                    kept.insert(object.key(), object.size);
                }
                named.insert(object.key(), object.size);
            }
        }
        self.taken.retain(|id, _| live.contains(id));
        assert_eq!(self.taken.len(), live.len(), "only retention ends backups");
        let mut stored = 0;
        for prefix in ["packs/", "index/"] {
            let objects = list_all(&self.bench.vault, prefix).await.unwrap();
            stored += objects.iter().map(|object| object.size).sum::<u64>();
        }
        Measured { stored, named: named.values().sum(), kept: kept.values().sum() }
    }

    async fn all_restore(&self) {
        let services = self.bench.forgotten(small()).await;
        for (id, lines) in &self.taken {
            let (found, _) = self.bench.restored(&services, id, Selection::default()).await;
            assert_eq!(found, *lines, "{id}");
        }
    }
}

#[tokio::test]
#[allow(clippy::print_stdout)]
async fn a_year_of_backups_takes_what_live_backups_need() {
    let days = if is_full() { 400 } else { 40 };
    let hours = if std::env::var_os("HOLDFAST_HOURLY").is_some() { 1 } else { 6 };
    let mut years = Years::new(hours).await;
    let (mut backups, mut measured) = (0_u64, Vec::new());
    for hour in (0..days * 24).step_by(usize::try_from(hours).unwrap()) {
        for at in 0..years.resources.len() {
            if hour % years.resources[at].every_hours == 0 {
                years.back_up(at).await;
                backups += 1;
            }
        }
        if hour % 24 == 0 {
            let after = years.prune().await;
            if hour / 24 >= WARM_UP {
                measured.push(after);
            }
        }
        years.bench.pass(SignedDuration::from_hours(i64::try_from(hours).unwrap()));
    }
    years.all_restore().await;
    let most = |of: fn(&Measured) -> f64| measured.iter().map(of).fold(0.0, f64::max);
    let named = most(|one| ratio(one.stored, one.named));
    let kept = most(|one| ratio(one.stored, one.kept));
    let last = measured.last().unwrap();
    println!(
        "endurance: {days} days, {backups} backups, {} live at the end and all restored; stored {} bytes, at most \
         {named:.3} of what all live backups need and {kept:.3} of what stays after the day of grace",
        years.taken.len(),
        last.stored,
    );
    assert!(named <= BOUND, "stored bytes are {named:.3} of what live backups need");
}
