//! Shows that damage to a vault is noticed, on a copy of it.

use super::place::on_files;
use holdfast_local::{Cloud, Options};
use holdfast_vault::error::Result;
use holdfast_vault::format::manifest::StoredObject;
use holdfast_vault::read::verify::Finding;
use std::fs;
use std::io;
use std::path::Path;

/// What verifying said of an object with one wrong bit.
pub(super) struct Flipped {
    /// The object.
    pub(super) object: String,
    /// What was found.
    pub(super) findings: Vec<Finding>,
}

/// Copies the vault and its key into a home of their own, flips a bit in the largest object of a backup there, and
/// verifies that backup. The copy is removed.
pub(super) async fn flip(cloud: &Cloud, backup: &str, copy: &Path) -> Result<Flipped> {
    let manifest = cloud.services().vault.manifest(backup).await?;
    let largest = manifest.objects.iter().max_by_key(|object| object.size);
    let object = largest.map(StoredObject::key).unwrap_or_default();
    let (from, to, damaged) = (cloud.home().path().to_path_buf(), copy.to_path_buf(), object.clone());
    on_files("copy the vault", move || {
        fs::create_dir(&to)?;
        fs::copy(from.join("key.json"), to.join("key.json"))?;
        copy_all(&from.join("vault"), &to.join("vault"))?;
        flip_bit(&to.join("vault").join(damaged))
    })
    .await?;
    let other = Cloud::open(copy, Options::default()).await?;
    let findings = other.run_verify(backup, "full").await?.progress.findings.errors;
    drop(other);
    let copy = copy.to_path_buf();
    on_files("remove the copy of the vault", move || fs::remove_dir_all(copy)).await?;
    Ok(Flipped { object, findings })
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn flip_bit(path: &Path) -> io::Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    // Objects may be read-only; a new file in its place need not ask the old one.
    fs::remove_file(path)?;
    fs::write(path, bytes)
}
