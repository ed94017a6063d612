//! Where copies of a vault are: a directory, or a part of a bucket.

use crate::options::Global;
use crate::place::Place;
use holdfast_common::storage::{DirectoryStorage, Prefixed, S3Storage};
use holdfast_connectors::{Clients as _, EnvironmentClients};
use holdfast_local::{Cloud, Options};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::root::VAULT_KEY;
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::storage::Storage;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// The place of a copy, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CopyPlace {
    /// A directory that holds `holdfast.json`.
    Directory(PathBuf),
    /// A bucket, or what stands below a prefix of it.
    Bucket { bucket: String, prefix: String, region: Option<String>, endpoint: Option<String> },
}

impl FromStr for CopyPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            if text.is_empty() || text.contains("://") {
                return Err("name a directory, or s3://BUCKET/PREFIX".to_owned());
            }
            return Ok(Self::Directory(text.into()));
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return Err("it names no bucket: write s3://BUCKET/PREFIX".to_owned());
        }
        let (mut region, mut endpoint) = (None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("region", value)) => region = Some(value.to_owned()),
                Some(("endpoint", value)) => endpoint = Some(value.to_owned()),
                _ => return Err(format!("{part:?} is unknown: after ? stand region=NAME and endpoint=URL")),
            }
        }
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_end_matches('/').to_owned());
        Ok(Self::Bucket { bucket, prefix, region, endpoint })
    }
}

impl CopyPlace {
    /// The place, to be written; a directory is made where there is none.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Storage>> {
        match self {
            Self::Directory(path) => Ok(Arc::new(DirectoryStorage::open(path)?)),
            Self::Bucket { bucket, prefix, region, endpoint } => {
                let client = EnvironmentClients.s3(endpoint.as_deref(), region.as_deref()).await?;
                let bucket: Arc<dyn Storage> = Arc::new(S3Storage::new(client, bucket));
                if prefix.is_empty() { Ok(bucket) } else { Ok(Arc::new(Prefixed::new(bucket, prefix)?)) }
            }
        }
    }

    /// The place, to be looked at: where there is no directory, none is made, and it is empty.
    pub(crate) async fn look(&self) -> Result<Arc<dyn Storage>> {
        match self {
            Self::Directory(path) if !path.exists() => {
                Ok(Arc::new(MemoryStorage::new(&path.display().to_string())))
            }
            _ => self.open().await,
        }
    }

    /// The place of a copy that is there.
    pub(crate) async fn there(&self) -> Result<Arc<dyn Storage>> {
        if let Self::Directory(path) = self
            && !path.join(VAULT_KEY).is_file()
        {
            let shown = path.display().to_string();
            let within = path.join("vault").join(VAULT_KEY).is_file();
            let hint = if within {
                format!("name its vault: {}", path.join("vault").display())
            } else {
                "name the place that `holdfast copy --to` was given".to_owned()
            };
            let message = format!("{shown} is no copy of a vault ({VAULT_KEY} is missing)");
            return Err(Error::new(Code::HomeInvalid, message).object(shown).hint(hint));
        }
        self.open().await
    }
}

impl Global {
    /// Opens a copy of the vault in place of the home's own, with the home's keys and its job state. The home is made where
    /// there is none: a copy of a stack's vault needs no key of a home.
    pub(crate) async fn open_copy(&self, copy: &CopyPlace) -> Result<Place> {
        let storage = copy.there().await?;
        let options = Options { create: true, ..Options::default() };
        self.no_stack("--from-copy")?;
        Ok(Place::Home(Box::new(Cloud::open_copy(&self.home, options, storage).await?)))
    }

    /// Opens a copy to look at it: what is found says nothing of the home's own vault, and is not kept.
    pub(crate) async fn look_at_copy(&self, copy: &CopyPlace) -> Result<Place> {
        let storage = copy.there().await?;
        let options = Options { create: true, ..Options::default() };
        self.no_stack("--from-copy")?;
        Ok(Place::Home(Box::new(Cloud::look_at_copy(&self.home, options, storage).await?)))
    }

    /// Refuses what needs a vault at hand where a stack is named.
    pub(crate) fn no_stack(&self, what: &str) -> Result<()> {
        match &self.stack {
            Some(_) => Err(crate::place::home_only(what)),
            None => Ok(()),
        }
    }
}

/// The id of a backup in a copy: an id, or `latest:RESOURCE`, which is the newest one that the copy holds.
pub(crate) async fn backup_in_copy(cloud: &Cloud, text: &str) -> Result<String> {
    let Some(resource) = text.strip_prefix("latest:") else { return Ok(text.to_owned()) };
    let vault = &cloud.services().vault;
    for id in vault.backups().await?.into_iter().rev() {
        // Which resource a damaged manifest is of nobody can tell; an older backup is better than none.
        if vault.manifest(&id).await.is_ok_and(|manifest| manifest.resource == resource) {
            return Ok(id);
        }
    }
    Err(Error::new(Code::JobUnknown, format!("the copy holds no backup of {resource}"))
        .object(resource)
        .hint("see `holdfast copy --dry-run` for what it lacks"))
}

#[cfg(test)]
mod tests {
    use super::CopyPlace;

    #[test]
    fn a_place_is_a_directory_or_a_part_of_a_bucket() {
        let place = |text: &str| text.parse::<CopyPlace>();
        assert_eq!(place("/mnt/copy"), Ok(CopyPlace::Directory("/mnt/copy".into())));
        assert_eq!(place("copy?x"), Ok(CopyPlace::Directory("copy?x".into())));
        let bucket = |prefix: &str, region: Option<&str>, endpoint: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Ok(CopyPlace::Bucket {
                bucket: "b".to_owned(),
                prefix: prefix.to_owned(),
                region: owned(region),
                endpoint: owned(endpoint),
            })
        };
        assert_eq!(place("s3://b"), bucket("", None, None));
        assert_eq!(place("s3://b/vaults/shop/"), bucket("vaults/shop", None, None));
        assert_eq!(
            place("s3://b/v?region=eu-west-1&endpoint=http://127.0.0.1:9000"),
            bucket("v", Some("eu-west-1"), Some("http://127.0.0.1:9000"))
        );
        for bad in ["", "s3://", "s3:///x", "gs://b", "s3://b?zone=1"] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
    }
}
