//! Copies captured changes and records of undos: no manifest has their checksums, so that each is opened block by block.

use super::{Copier, Done, in_copy};
use crate::error::{Code, Error, Result};
use crate::format::header::ObjectKind;
use crate::read::Vault;
use crate::read::key_check::sealed_id;
use crate::storage::{ByteRange, ObjectInfo, list_all};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use std::collections::HashMap;

/// How often what vanished under a copy is looked for again: each time a whole listing was gathered meanwhile.
const PASSES: u32 = 5;

impl Copier<'_> {
    /// Copies what stands below a prefix. What was gathered into a larger object meanwhile stands in that one, which may not
    /// have been listed: then all is listed again, since nobody would miss it later.
    pub(super) async fn sealed(&mut self, prefix: &str) -> Result<()> {
        for pass in 0..PASSES {
            if !self.pass(prefix, pass > 0).await? {
                return Ok(());
            }
        }
        Err(Error::new(Code::StorageUnavailable, format!("{prefix} changes faster than it can be copied"))
            .object(prefix)
            .hint("copy again"))
    }

    /// One listing. True if something of it was gone.
    async fn pass(&mut self, prefix: &str, again: bool) -> Result<bool> {
        let mut gone = false;
        let there: HashMap<String, u64> =
            list_all(self.to.as_ref(), prefix).await?.into_iter().map(|at| (at.key, at.size)).collect();
        let mut after: Option<String> = None;
        loop {
            let page = self.from.storage().list(prefix, after.as_deref()).await?;
            let mut ended = Vec::with_capacity(page.objects.len());
            {
                let (this, there) = (&*self, &there);
                let work =
                    page.objects.iter().map(async |object| this.one(object, there.get(&object.key)).await);
                let mut work = stream::iter(work).buffer_unordered(this.how.at_once);
                while let Some(one) = work.next().await {
                    ended.push(one);
                }
            }
            for done in ended {
                match done {
                    Ok(Done::Gone) => gone = true,
                    // Counted before.
                    Ok(Done::There(_)) if again => {}
                    Ok(done) => self.note(&done),
                    Err(error) => self.found(error)?,
                }
            }
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => return Ok(gone),
            }
        }
    }

    async fn one(&self, object: &ObjectInfo, there: Option<&u64>) -> Result<Done> {
        let key = &object.key;
        match there {
            Some(size) if *size != object.size => {
                let why = format!("{size} bytes instead of {}", object.size);
                Err(in_copy(Error::damaged(key, why)))
            }
            Some(size) => {
                if self.how.verify {
                    let copy = Vault::with_keys(self.to.clone(), self.from.keys().clone());
                    let bytes = self.to.get(key, ByteRange::All).await.map_err(in_copy)?;
                    open(&copy, key, &bytes).await.map_err(in_copy)?;
                }
                Ok(Done::There(*size))
            }
            None if self.how.dry_run => Ok(Done::Copied(object.size)),
            None => {
                let bytes = match self.from.storage().get(key, ByteRange::All).await {
                    Ok(bytes) => bytes,
                    // Gathered into a larger one since it was listed; that one is copied, now or with the next copy.
                    Err(error) if error.code == Code::ObjectMissing => return Ok(Done::Gone),
                    Err(error) => return Err(error),
                };
                open(self.from, key, &bytes).await?;
                self.put(key, bytes).await
            }
        }
    }
}

/// Opens every block.
async fn open(vault: &Vault, key: &str, bytes: &Bytes) -> Result<()> {
    let object = vault.open_bytes(key, ObjectKind::Changes, sealed_id(key)?, bytes).await?;
    (0..object.footer.blocks.len()).try_for_each(|number| object.block_of(bytes, number).map(|_| ()))
}
