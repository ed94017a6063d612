//! The story, step by step.

use super::compare::{Delta, Entry as _, Snapshot, compare};
use super::item::Sum;
use super::place::on_files;
use super::report::{Name, Protected, Report, Step, seconds};
use super::shop::{Shop, Table};
use super::tables::Tables;
use super::tree::{self, Node};
use super::{Args, copy, site};
use crate::output::{count, counted, size};
use holdfast_common::jobs::Job;
use holdfast_connectors::{OnConflict, SourceSpec, TargetSpec};
use holdfast_local::clients::EMBEDDED;
use holdfast_local::{Cloud, Options};
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;
use holdfast_workflow::config::{Policy, Resource, Tier};
use holdfast_workflow::events::{RestoreRequest, Selection};
use holdfast_workflow::plan::value;
use std::path::{Path, PathBuf};
use std::time::Instant;

const SITE: &str = "shop-site";
const STEPS: usize = 7;
/// Added to the names of tables and directories that are restored into.
const RESTORED: &str = "-restored";

/// The state of a demo.
pub(super) struct Story<'a> {
    args: &'a Args,
    root: &'a Path,
    pub(super) cloud: Cloud,
    pub(super) tables: Tables,
    steps: Vec<Step>,
    began: Instant,
    pub(super) differences: Vec<String>,
    warnings: Vec<String>,
}

/// All that the shop held at a moment, as the demo saw it.
pub(super) struct Seen {
    tables: Vec<(Table, Snapshot<Sum>)>,
    site: Snapshot<Node>,
}

/// Makes a shop below `root` and tells what becomes of it.
pub(super) async fn tell(args: &Args, root: &Path) -> Result<Report> {
    let start = Instant::now();
    let root = &std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    let cloud = Cloud::open(&root.join("home"), Options { create: true, ..Options::default() }).await?;
    let tables = Tables::new(cloud.tables(), Shop::new(args.seed, args.records));
    let mut story = Story {
        args,
        root,
        cloud,
        tables,
        steps: Vec::new(),
        began: start,
        differences: Vec::new(),
        warnings: Vec::new(),
    };
    let before = story.make().await?;
    let mut resources = story.back_up(&before).await?;
    story.verify(&resources).await?;
    let incident = Box::pin(story.incident(&before)).await?;
    let damage = story.damage(&resources).await?;
    story.restore(&mut resources).await?;
    story.compare(&before).await?;
    Ok(Report {
        seed: args.seed,
        records: resources.iter().map(|one| one.records).sum(),
        files: resources.iter().map(|one| one.files).sum(),
        source_bytes: resources.iter().map(|one| one.source_bytes).sum(),
        stored_bytes: resources.iter().map(|one| one.stored_bytes).sum(),
        seconds: seconds(start.elapsed()),
        steps: story.steps,
        resources,
        incident,
        damage,
        equal: story.differences.is_empty(),
        differences: story.differences,
        warnings: story.warnings,
        kept: args.keep.clone(),
    })
}

impl Story<'_> {
    pub(super) fn begin(&mut self, what: &str) {
        self.args.say(&format!("[{}/{STEPS}] {what} ...", self.steps.len() + 1));
        self.began = Instant::now();
    }

    pub(super) fn end(&mut self, name: Name, detail: String) {
        self.steps.push(Step { name, seconds: seconds(self.began.elapsed()), detail });
    }

    fn warn(&mut self, what: &str, job: &Job) {
        let of = |warning: &Warning| format!("{what} of {}: {}", job.resource, warning.message);
        self.warnings.extend(job.warnings.iter().map(of));
    }

    fn site(&self, suffix: &str) -> PathBuf {
        self.root.join(format!("site{suffix}"))
    }

    async fn make(&mut self) -> Result<Seen> {
        let Args { records, files, seed, .. } = *self.args;
        let holds = format!("{} and {}", counted(records, "record"), counted(files, "file"));
        self.begin(&format!("making a shop of {holds}"));
        for table in Table::ALL {
            self.tables.make(table).await?;
        }
        let site = self.site("");
        on_files("make the site", move || {
            std::fs::create_dir(&site)?;
            site::make(&site, seed, files)
        })
        .await?;
        self.configure().await?;
        let before = self.look("").await?;
        for table in Table::ALL {
            let (made, wanted) = (before.count(table.name()).0, Shop::new(seed, records).count(table));
            if made != wanted {
                self.differences.push(format!("{}: {} records were made", table.name(), count(made)));
            }
        }
        self.end(
            Name::Make,
            format!(
                "Three tables in the embedded DynamoDB, a site in a directory: {holds}, from seed {seed}."
            ),
        );
        Ok(before)
    }

    /// Says what is protected, as `holdfast apply` does.
    async fn configure(&self) -> Result<()> {
        let table = |table: Table| {
            let source = SourceSpec::Dynamodb {
                table: table.name().to_owned(),
                endpoint: Some(EMBEDDED.to_owned()),
                region: None,
            };
            let tier = if table == Table::Orders { Tier::Critical } else { Tier::Important };
            (table.name(), source, tier)
        };
        let site = (SITE, SourceSpec::Files { path: self.site("") }, Tier::Important);
        for (name, source, tier) in Table::ALL.into_iter().map(table).chain([site]) {
            // A backup holds a moment; with its changes captured, a table goes back to any second.
            let capture = name == Table::Products.name();
            let policy = Policy { tier, capture, retention_days: Some(35), ..Policy::default() };
            let resource = Resource { name: name.to_owned(), source, policy };
            self.cloud.services().jobs.put_resource(name, &value(&resource)?).await?;
        }
        Ok(())
    }

    async fn back_up(&mut self, before: &Seen) -> Result<Vec<Protected>> {
        self.begin("backing it up");
        let mut resources = Vec::new();
        for name in Table::ALL.map(Table::name).into_iter().chain([SITE]) {
            let start = Instant::now();
            let job = Box::pin(self.cloud.run_backup(&self.cloud.new_id(), name, None)).await?;
            let backup_seconds = seconds(start.elapsed());
            self.warn("backup", &job);
            let (records, files) = before.count(name);
            if job.totals.records != records {
                let found = count(job.totals.records);
                self.differences
                    .push(format!("{name}: the backup has {found} of {} records", count(records)));
            }
            let target = if name == SITE {
                TargetSpec::Files { path: self.site(RESTORED) }
            } else {
                let (table, endpoint) = (format!("{name}{RESTORED}"), Some(EMBEDDED.to_owned()));
                TargetSpec::Dynamodb { table, endpoint, region: None }
            };
            resources.push(Protected {
                name: name.to_owned(),
                backup: job.id,
                records,
                files,
                source_bytes: job.totals.bytes,
                stored_bytes: job.totals.stored_bytes,
                backup_seconds,
                target,
                restore_seconds: 0.0,
            });
        }
        self.end(
            Name::Backup,
            "By the state machine and the handlers that run on AWS too, into an encrypted vault.".to_owned(),
        );
        Ok(resources)
    }

    async fn verify(&mut self, resources: &[Protected]) -> Result<()> {
        self.begin("verifying the backups");
        let (mut blocks, mut bytes, mut errors) = (0, 0, Vec::new());
        for one in resources {
            let findings = self.cloud.run_verify(&one.backup, "full").await?.progress.findings;
            blocks += findings.blocks_checked;
            bytes += findings.bytes_checked;
            errors.extend(
                findings.errors.into_iter().map(|error| format!("verify of {}: {}", one.name, error.message)),
            );
        }
        let found =
            if errors.is_empty() { "all valid".to_owned() } else { counted(errors.len() as u64, "error") };
        self.differences.append(&mut errors);
        self.end(
            Name::Verify,
            format!("Every byte was read back: {}, {}, {found}.", counted(blocks, "block"), size(bytes)),
        );
        Ok(())
    }

    async fn damage(&mut self, resources: &[Protected]) -> Result<Vec<String>> {
        self.begin("damaging the shop, and a copy of the vault");
        let before = &self.look("").await?;
        let Args { seed, files, .. } = *self.args;
        self.tables.delete(Table::Orders).await?;
        let corrupted = self.tables.corrupt_products(500).await?;
        let removed = self.tables.delete_customers(100).await?;
        let path = self.site("");
        let site = on_files("damage the site", move || site::damage(&path, seed, files)).await?;
        let done = [
            (Table::Products.name(), format!("{} got wrong names and prices", counted(corrupted, "record"))),
            (Table::Orders.name(), "the table was deleted".to_owned()),
            (Table::Customers.name(), format!("{} deleted", counted(removed, "record"))),
            (
                SITE,
                format!("{} removed, {} overwritten", counted(site.removed, "file"), count(site.overwritten)),
            ),
        ];
        let mut told = Vec::new();
        for ((name, done), (_, delta)) in done.into_iter().zip(before.compare(&self.look("").await?, "")) {
            // A comparison that finds nothing here would prove nothing later.
            if delta.summary().is_empty() {
                self.differences.push(format!("{name}: the damage was not noticed"));
            }
            told.push(format!("{name}: {done} (found: {})", delta.summary()));
        }
        told.push(self.damage_vault(resources).await?);
        self.end(
            Name::Damage,
            "Compared with the digests that the demo took before, so that the comparison is tried too."
                .to_owned(),
        );
        Ok(told)
    }

    /// Flips a bit in a copy of the vault, and tells whether verifying names the object.
    async fn damage_vault(&mut self, resources: &[Protected]) -> Result<String> {
        let Some(orders) = resources.iter().find(|one| one.name == Table::Orders.name()) else {
            return Ok(String::new());
        };
        let flipped =
            Box::pin(copy::flip(&self.cloud, &orders.backup, &self.root.join("vault-copy"))).await?;
        let object = &flipped.object;
        Ok(if let Some(finding) = flipped.findings.iter().find(|finding| finding.object == *object) {
            format!("one bit flipped in a copy of the vault (found: {} in {object})", finding.code)
        } else {
            self.differences.push(format!("verify did not notice a flipped bit in {object}"));
            format!("one bit flipped in a copy of the vault, in {object} (NOT found)")
        })
    }

    async fn restore(&mut self, resources: &mut [Protected]) -> Result<()> {
        self.begin("restoring into new places");
        for one in resources {
            let start = Instant::now();
            let request = RestoreRequest {
                resource: None,
                at: None,
                backup: one.backup.clone(),
                target: one.target.clone(),
                on_conflict: OnConflict::Fail,
                selection: Selection::default(),
            };
            let job = Box::pin(self.cloud.run_restore(&self.cloud.new_id(), &request)).await?;
            one.restore_seconds = seconds(start.elapsed());
            self.warn("restore", &job);
        }
        self.end(Name::Restore, "With their indexes, expiry and tags; modes, times and links.".to_owned());
        Ok(())
    }

    async fn compare(&mut self, before: &Seen) -> Result<()> {
        self.begin("comparing all of it");
        let mut equal = [0, 0];
        for (name, delta) in before.compare(&self.look(RESTORED).await?, RESTORED) {
            equal[usize::from(name.starts_with(SITE))] += delta.equal;
            self.differences.extend(delta.named(&name));
        }
        let equal = format!("{} and {}", counted(equal[0], "record"), counted(equal[1], "file"));
        self.end(
            Name::Compare,
            format!("By the demo's own digests, taken before the damage: {equal} are equal."),
        );
        Ok(())
    }

    /// Looks at the shop, or at what was restored of it.
    async fn look(&self, suffix: &str) -> Result<Seen> {
        let mut tables = Vec::new();
        for table in Table::ALL {
            tables.push((table, self.tables.snapshot(&format!("{}{suffix}", table.name())).await?));
        }
        let site = self.site(suffix);
        Ok(Seen { tables, site: on_files("read the site", move || tree::snapshot(&site)).await? })
    }
}

impl Seen {
    /// The tables.
    pub(super) fn tables(&self) -> &[(Table, Snapshot<Sum>)] {
        &self.tables
    }

    /// Records and files of a resource; directories and links are no files.
    fn count(&self, name: &str) -> (u64, u64) {
        let table = self.tables.iter().find(|(table, _)| table.name() == name);
        match table {
            Some((_, seen)) => (seen.entries.len() as u64, 0),
            None => (0, self.site.entries.values().filter(|node| node.counts()).count() as u64),
        }
    }

    /// What has become of each part.
    fn compare(&self, after: &Self, suffix: &str) -> Vec<(String, Delta)> {
        let tables = self.tables.iter().zip(&after.tables).map(|((table, was), (_, is))| {
            let name = format!("{}{suffix}", table.name());
            (name, compare(was, is))
        });
        let site = format!("{SITE}{suffix}");
        tables.chain([(site, compare(&self.site, &after.site))]).collect()
    }
}
