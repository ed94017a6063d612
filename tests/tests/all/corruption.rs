//! Whatever happens to the record of an undo, nothing false is told or written from it. The other kinds of object are
//! damaged in `shared/vault/tests/all/corruption`.

use holdfast_connectors::{OnConflict, RecordFilter, SourceSpec};
use holdfast_local::Cloud;
use holdfast_tests::{back_up, cloud, configure, noise, tiny_limits};
use holdfast_vault::error::{Class, Code, Result};
use holdfast_workflow::history::{Asked, Point};
use holdfast_workflow::undo::{Conflict, DryRun, UndoOf, UndoRequest, conflicts, dry_run};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

struct Undone {
    dir: tempfile::TempDir,
    cloud: Cloud,
    /// The undos, and what is truly told of them.
    undos: Vec<(String, Vec<Conflict>, DryRun)>,
}

fn lines(path: &Path, text: impl Fn(u32) -> String) {
    let mut lines = String::new();
    for id in 0..30 {
        writeln!(lines, "{{\"id\":{id},\"text\":\"{}\"}}", text(id)).unwrap();
    }
    fs::write(path, lines).unwrap();
}

impl Undone {
    /// Two undos that wrote, and met conflicts.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        let records = dir.path().join("records");
        fs::create_dir(&records).unwrap();
        let file = records.join("products.jsonl");
        lines(&file, |id| format!("good {id}"));
        configure(&cloud, "products", SourceSpec::Jsonl { path: records, key: vec!["/id".to_owned()] }).await;
        let first = back_up(&cloud, "products").await;
        lines(&file, |_| "bad".to_owned());
        let second = back_up(&cloud, "products").await;
        let mut made = Self { dir, cloud, undos: Vec::new() };
        for late in [3, 4] {
            lines(&file, |id| if id == late { "sold".to_owned() } else { "bad".to_owned() });
            made.undo(&first, &second).await;
        }
        // What taking one back would do depends on what stands there now.
        for at in 0..made.undos.len() {
            let back = made.told(&made.undos[at].0).await.1.unwrap();
            made.undos[at].2 = back;
        }
        made
    }

    async fn undo(&mut self, from: &str, to: &str) {
        let asked = Asked {
            resource: "products".to_owned(),
            from: Point::Backup(from.to_owned()),
            to: Point::Backup(to.to_owned()),
            stream: None,
        };
        let of = UndoOf::Window { asked, filter: RecordFilter::default() };
        let id = self.cloud.new_id();
        self.cloud.run_undo(&id, &UndoRequest { of, on_conflict: OnConflict::Skip }, None).await.unwrap();
        let (conflicts, back) = self.told(&id).await;
        self.undos.push((id, conflicts.unwrap(), back.unwrap()));
    }

    /// What is told of an undo: its conflicts, and what taking it back would do.
    async fn told(&self, id: &str) -> (Result<Vec<Conflict>>, Result<DryRun>) {
        let services = self.cloud.services();
        let back = UndoRequest { of: UndoOf::Undo(id.to_owned()), on_conflict: OnConflict::Skip };
        (conflicts(services, id, 100).await, dry_run(services, &back, None, 100).await)
    }

    fn objects(&self) -> Vec<PathBuf> {
        let vault = self.dir.path().join("home/vault/undos");
        let of = |(id, ..): &(String, Vec<Conflict>, DryRun)| {
            let mut files = fs::read_dir(vault.join(id)).unwrap();
            let file = files.next().unwrap().unwrap().path();
            assert!(files.next().is_none());
            file
        };
        self.undos.iter().map(of).collect()
    }

    /// Whatever is told is true, or it is told that it cannot be.
    async fn expect(&self, damage: &str) -> usize {
        let mut refused = 0;
        for (id, wanted, back) in &self.undos {
            let (listed, found) = self.told(id).await;
            match listed {
                Ok(listed) => assert!(listed == *wanted, "{damage}: false conflicts"),
                Err(error) => {
                    assert_eq!(error.code.class(), Class::Damage, "{damage}: {error:?}");
                    refused += 1;
                }
            }
            match found {
                Ok(found) => {
                    assert_eq!((found.window, found.would_undo), (back.window, back.would_undo), "{damage}");
                }
                Err(error) => assert_eq!(error.code.class(), Class::Damage, "{damage}: {error:?}"),
            }
        }
        refused
    }
}

/// A record that was changed in one of many ways: flips, cuts, bytes more, a part of another one.
fn damaged(bytes: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let choices = noise(seed, 12);
    let number = |at: usize| usize::from(u16::from_le_bytes([choices[at], choices[at + 1]]));
    let (at, count) = (number(0) % bytes.len(), 1 + number(2) % 60);
    let mut out = bytes.to_vec();
    match choices[4] % 7 {
        0 => out[at] ^= 1 << (choices[5] % 8),
        1 => out.truncate(at),
        2 => drop(out.drain(..=at)),
        3 => drop(out.drain(at..(at + count).min(bytes.len()))),
        4 => out.extend(noise(seed + 1, count)),
        5 => {
            let until = at.min(other.len() - 1);
            out[..=until].copy_from_slice(&other[..=until]);
        }
        _ => drop(out.splice(at..at, noise(seed + 1, count))),
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn damage_of_an_undos_record_is_told_and_nothing_false_is() {
    let made = Undone::new().await;
    let objects = made.objects();
    let whole: Vec<Vec<u8>> = objects.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(made.expect("none").await, 0, "sound as it was written");
    let full = ["CI", "HOLDFAST_FULL"].iter().any(|name| std::env::var_os(name).is_some());
    for seed in 0..if full { 1_000 } else { 150 } {
        let at = usize::from(noise(seed, 9)[8] % 2);
        let bytes = damaged(&whole[at], &whole[1 - at], seed);
        if bytes == whole[at] {
            continue;
        }
        fs::write(&objects[at], &bytes).unwrap();
        assert_eq!(made.expect(&format!("seed {seed}")).await, 1, "seed {seed} is told");
        fs::write(&objects[at], &whole[at]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_undos_record_in_anothers_place_is_told() {
    let made = Undone::new().await;
    let objects = made.objects();
    let whole: Vec<Vec<u8>> = objects.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::write(&objects[0], &whole[1]).unwrap();
    assert_eq!(made.expect("replaced").await, 1);
    fs::write(&objects[1], &whole[0]).unwrap();
    assert_eq!(made.expect("swapped").await, 2);
    for (path, bytes) in objects.iter().zip(&whole) {
        fs::write(path, bytes).unwrap();
    }
    // Another piece's name, and another undo's folder.
    let name = objects[0].file_name().unwrap().to_string_lossy().into_owned();
    let copies =
        [objects[0].with_file_name(name.replacen("000000", "000001", 1)), objects[1].with_file_name(&name)];
    for copy in copies {
        fs::write(&copy, &whole[0]).unwrap();
        assert_eq!(made.expect("copied").await, 1);
        fs::remove_file(copy).unwrap();
    }
    // Without its record an undo cannot be taken back.
    fs::remove_file(&objects[0]).unwrap();
    let (_, back) = made.told(&made.undos[0].0).await;
    assert_eq!(back.unwrap_err().code, Code::JobUnknown);
}
