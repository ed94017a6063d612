//! Puts back, from a copy of the vault, what is damaged or missing here.
//!
//! Nothing is taken on trust: an object of the copy is compared with the manifest byte for byte before what stands here is
//! touched, and what was put back is compared again. A repair that is cut short is repeated.

use super::Survey;
use crate::services::{Services, Step};
use holdfast_common::jobs::DamagedRow;
use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_vault::format::changes::ChangeName;
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::StoredObject;
use holdfast_vault::read::{Vault, verify};
use holdfast_vault::storage::{ByteRange, Put};
use serde::Serialize;

/// What became of an object in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// Its key.
    pub object: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it could not be put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What becomes of an object in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is whole here: somebody put it back.
    Whole,
    /// It was put back from the copy.
    PutBack,
    /// The copy has it, and it would be put back.
    CanBePutBack,
    /// It stays as it is.
    Kept,
}

/// An object that is to be healed, and how it is known to be right.
enum Known<'a> {
    Stored(&'a StoredObject),
    Manifest(&'a str),
    Changes(ChangeName),
}

/// Puts back what a copy of this vault has, object by object, and takes it out of quarantine. `copy` is opened with this
/// vault's keys. Only in a store where this process may delete: a damaged object is removed before the right one is put.
///
/// # Errors
/// What state and storage give. What the copy does not have is in the answer.
#[must_use]
pub fn heal<'a>(
    services: &'a Services,
    copy: &'a Vault,
    survey: &'a Survey,
    dry_run: bool,
) -> Step<'a, Vec<Healed>> {
    Box::pin(async move {
        let mut healed = Vec::new();
        for row in survey.objects.iter().filter(|row| !survey.unneeded.contains(&row.key)) {
            let (outcome, why) = match one(services, copy, survey, row, dry_run).await {
                Ok(outcome) => (outcome, None),
                Err(error) if error.code.class() == Class::Damage => (Outcome::Kept, Some(error.message)),
                Err(error) => return Err(error),
            };
            if matches!(outcome, Outcome::Whole | Outcome::PutBack) && !dry_run {
                services.jobs.clear_damaged(&row.key).await?;
            }
            healed.push(Healed { object: row.key.clone(), outcome, why });
        }
        Ok(healed)
    })
}

async fn one(
    services: &Services,
    copy: &Vault,
    survey: &Survey,
    row: &DamagedRow,
    dry_run: bool,
) -> Result<Outcome> {
    let Some(known) = Known::of(survey, &row.key) else {
        return Err(Error::damaged(&row.key, "it is none that can be compared; put it back by hand"));
    };
    match known.prove(&services.vault).await {
        Ok(()) => return Ok(Outcome::Whole),
        Err(error) if error.code.class() == Class::Damage => {}
        Err(error) => return Err(error),
    }
    known.prove(copy).await.map_err(|error| match error.code.class() {
        Class::Damage => Error { message: format!("the copy does not have it: {}", error.message), ..error },
        _ => error,
    })?;
    if dry_run {
        return Ok(Outcome::CanBePutBack);
    }
    let bytes = copy.storage().get(&row.key, ByteRange::All).await?;
    let storage = services.vault.storage();
    storage.delete(&row.key).await?;
    if storage.put_if_absent(&row.key, bytes).await? == Put::Exists {
        tracing::info!(object = row.key, "another repair put it back first");
    }
    known.prove(&services.vault).await?;
    Ok(Outcome::PutBack)
}

impl<'a> Known<'a> {
    fn of(survey: &'a Survey, key: &'a str) -> Option<Self> {
        if let Some(stored) = survey.told.get(key) {
            return Some(Self::Stored(stored));
        }
        if let Some(backup) = key.strip_prefix(ObjectKind::Manifest.prefix()) {
            return Some(Self::Manifest(backup));
        }
        ChangeName::parse(key).map(Self::Changes)
    }

    /// That a vault has it, byte for byte.
    async fn prove(&self, vault: &Vault) -> Result<()> {
        match self {
            Self::Stored(stored) => vault.whole(stored).await.map(|_| ()),
            Self::Manifest(backup) => vault.manifest(backup).await.map(|_| ()),
            Self::Changes(name) => {
                let size = vault.storage().head(&name.key()).await?.size;
                let found = verify::changes(vault, name, size).await?;
                let Some(error) = found.errors.into_iter().next() else { return Ok(()) };
                Err(Error::new(Code::ObjectDamaged, error.message).object(error.object))
            }
        }
    }
}
