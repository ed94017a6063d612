//! Reads blocks of packs, whole packs at a time or block by block, and keeps the last few.

use super::vault::{OpenObject, Vault};
use crate::error::{Error, Result};
use crate::format::footer::Footer;
use crate::format::header::Id;
use crate::format::manifest::{Manifest, StoredObject};
use bytes::Bytes;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// How blocks are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Each pack whole, its checksums compared: when most of it is needed.
    Whole,
    /// Each block by a range: when little is needed. Small objects are fetched whole, since a request costs more.
    Blocks,
}

/// An object of at most so many bytes is fetched with one request.
const SMALL: u64 = 1 << 20;

/// Packs kept: the one that is read, and one before it, since a large file's extents may reach back.
const PACKS: usize = 2;
/// Plain blocks kept: enough for content that alternates between two blocks, and its entries.
const BLOCKS: usize = 6;

struct Loaded {
    object: OpenObject,
    bytes: Option<Bytes>,
}

/// Reads the blocks of one backup.
pub struct PackReader {
    vault: Vault,
    manifest: Arc<Manifest>,
    by_id: HashMap<Id, u32>,
    fetch: Fetch,
    room: usize,
    blocks_kept: usize,
    loaded: VecDeque<(u32, Loaded)>,
    blocks: VecDeque<((u32, u32), Bytes)>,
    /// Every block opened so far, whether or not it is still kept.
    opened: HashSet<(u32, u32)>,
    bytes_read: u64,
}

impl PackReader {
    /// A reader for a backup.
    #[must_use]
    pub fn new(vault: &Vault, manifest: &Arc<Manifest>, fetch: Fetch) -> Self {
        let by_id = manifest.objects.iter().zip(0..).map(|(object, at)| (object.id, at)).collect();
        Self {
            vault: vault.clone(),
            manifest: manifest.clone(),
            by_id,
            fetch,
            room: PACKS,
            blocks_kept: BLOCKS,
            loaded: VecDeque::new(),
            blocks: VecDeque::new(),
            opened: HashSet::new(),
            bytes_read: 0,
        }
    }

    /// Keeps so many objects open, and so many plain blocks of about 1 MiB, where what is read alternates between them.
    /// With [`Fetch::Blocks`] little of each object is kept.
    #[must_use]
    pub fn with_room(mut self, objects: usize, blocks: usize) -> Self {
        (self.room, self.blocks_kept) = (objects.max(PACKS), blocks.max(BLOCKS));
        self
    }

    /// Different blocks opened so far.
    #[must_use]
    pub fn blocks_read(&self) -> u64 {
        self.opened.len() as u64
    }

    /// Opens a block unless it has been opened before.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub async fn block_once(&mut self, object: u32, number: u32) -> Result<()> {
        if !self.opened.contains(&(object, number)) {
            self.block(object, number).await?;
        }
        Ok(())
    }

    /// Plain bytes of the blocks opened so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The place in the manifest of an object of this id.
    #[must_use]
    pub fn object_of(&self, id: Id) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// An object of the manifest.
    ///
    /// # Errors
    /// `ObjectDamaged` naming the manifest if it has no such object.
    pub fn stored(&self, object: u32) -> Result<&StoredObject> {
        self.manifest.objects.get(object as usize).ok_or_else(|| {
            Error::damaged(
                crate::format::manifest::manifest_key(&self.manifest.id),
                format!("it names object {object}, which it does not list"),
            )
        })
    }

    /// An object's footer.
    ///
    /// # Errors
    /// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`.
    pub async fn footer(&mut self, object: u32) -> Result<&Footer> {
        Ok(&self.load(object).await?.object.footer)
    }

    /// A plain block of an object.
    ///
    /// # Errors
    /// As [`Self::footer`].
    pub async fn block(&mut self, object: u32, number: u32) -> Result<Bytes> {
        let kept = self.blocks.iter().position(|(key, _)| *key == (object, number));
        if let Some(entry) = kept.and_then(|at| self.blocks.remove(at)) {
            let bytes = entry.1.clone();
            self.blocks.push_back(entry);
            return Ok(bytes);
        }
        let storage = self.vault.storage().clone();
        let loaded = self.load(object).await?;
        let plain = if let Some(bytes) = &loaded.bytes {
            loaded.object.block_of(bytes, number as usize)?
        } else {
            let range = loaded.object.block_range(number as usize)?;
            let sealed = storage.get(&loaded.object.key, range).await?;
            loaded.object.open_block(number as usize, sealed.into())?
        };
        let plain = Bytes::from(plain);
        self.opened.insert((object, number));
        self.bytes_read += plain.len() as u64;
        if self.blocks.len() >= self.blocks_kept {
            self.blocks.pop_front();
        }
        self.blocks.push_back(((object, number), plain.clone()));
        Ok(plain)
    }

    async fn load(&mut self, object: u32) -> Result<&Loaded> {
        let kept = self.loaded.iter().position(|(at, _)| *at == object);
        let at = if let Some(at) = kept {
            at
        } else {
            let stored = self.stored(object)?.clone();
            if self.loaded.len() >= self.room {
                self.loaded.pop_front();
            }
            let loaded = match self.fetch {
                Fetch::Whole => self.load_whole(&stored).await?,
                Fetch::Blocks if stored.size <= SMALL => self.load_whole(&stored).await?,
                Fetch::Blocks => {
                    let object = self.vault.open_object(stored.kind, stored.id, stored.size).await?;
                    Loaded { object, bytes: None }
                }
            };
            self.loaded.push_back((object, loaded));
            self.loaded.len() - 1
        };
        self.loaded
            .get(at)
            .map(|(_, loaded)| loaded)
            .ok_or_else(|| Error::damaged(object.to_string(), "it could not be kept"))
    }

    async fn load_whole(&self, stored: &StoredObject) -> Result<Loaded> {
        let bytes = self.vault.whole(stored).await?;
        let key = stored.key();
        let object = self.vault.open_bytes(&key, stored.kind, stored.id, &bytes).await?;
        Ok(Loaded { object, bytes: Some(bytes) })
    }

    /// The key of an object, for messages.
    ///
    /// # Errors
    /// As [`Self::stored`].
    pub fn key(&self, object: u32) -> Result<String> {
        Ok(self.stored(object)?.key())
    }
}
