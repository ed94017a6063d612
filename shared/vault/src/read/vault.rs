//! An open vault: its storage and its keys.

use crate::compress::{Codec, Compressor, expand, longest};
use crate::crypto::{Sealer, SecretKey, random};
use crate::error::{Code, Error, Result};
use crate::format::FORMAT;
use crate::format::footer::Footer;
use crate::format::header::{FOOTER_NUMBER, HEADER_LEN, Header, Id, ObjectKind, TRAILER_LEN, Trailer};
use crate::format::manifest::{Manifest, StoredObject, manifest_key};
use crate::format::root::{VAULT_KEY, VaultDescription, WrappedKey, Wrapping, wrapped_key_name};
use crate::keys::KeyRing;
use crate::read::key_source::{KeySource, Unwrap};
use crate::storage::{ByteRange, Put, Storage, list_all};
use crate::write::object::aad;
use crate::write::{BLOCK_LEN, ObjectWriter};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// How much of an object's end is read to find its footer with one request.
const TAIL: u64 = 64 << 10;

/// An open vault. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    storage: Arc<dyn Storage>,
    keys: KeyRing,
    source: Option<Arc<KeySource>>,
}

/// What unwraps the vault's keys.
pub struct WrappingKey {
    /// The key's id, as the wrapped keys name it.
    pub id: String,
    /// The key.
    pub secret: SecretKey,
}

#[async_trait]
impl Unwrap for WrappingKey {
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<SecretKey> {
        if let Wrapping::Kms { key } = &wrapped.wrapped_by {
            let name = wrapped_key_name(wrapped.version);
            return Err(Error::new(Code::KeyWrong, format!("{name} is wrapped by KMS key {key}"))
                .object(name)
                .hint("open this vault through its stack, or with an exported recovery key"));
        }
        wrapped.unwrap_local(&self.secret)
    }
}

impl Vault {
    /// Makes a vault with one key where there is none, or opens the one that is there.
    ///
    /// # Errors
    /// `KeyWrong` if a vault is there that the key does not open, or `Storage*`.
    pub async fn create(storage: Arc<dyn Storage>, key: &WrappingKey) -> Result<Self> {
        Self::describe_new(storage.as_ref(), async |vault, version, fresh: &SecretKey| {
            WrappedKey::wrap(vault, version, &key.id, &key.secret, fresh)
        })
        .await?;
        Self::open(storage, key).await
    }

    /// Writes a vault's description and its first key, as `wrap` wraps it, where there is no key yet. The first writer
    /// of each object wins, so that several at once make one vault.
    ///
    /// # Errors
    /// What `wrap` gives, `FormatUnsupported`, or `Storage*`.
    pub async fn describe_new(
        storage: &dyn Storage,
        wrap: impl AsyncFn(Id, u32, &SecretKey) -> Result<WrappedKey>,
    ) -> Result<()> {
        if !storage.list("keys/", None).await?.objects.is_empty() {
            return Ok(());
        }
        let fresh = VaultDescription { format: FORMAT, vault: Id(random()?) };
        storage.put_if_absent(VAULT_KEY, json(&fresh)?).await?;
        let description = describe(storage).await?;
        let wrapped = wrap(description.vault, 1, &SecretKey::random()?).await?;
        storage.put_if_absent(&wrapped_key_name(1), json(&wrapped)?).await?;
        Ok(())
    }

    /// Opens a vault with a key file's secret.
    ///
    /// # Errors
    /// `HomeInvalid` if there is none, `FormatUnsupported`, `KeyWrong`, or `Storage*`.
    pub async fn open(storage: Arc<dyn Storage>, key: &WrappingKey) -> Result<Self> {
        let key = WrappingKey { id: key.id.clone(), secret: key.secret.clone() };
        Self::open_with(storage, Arc::new(key)).await
    }

    /// Opens a vault: `unwrap` opens every version of its key, now and when a newer one is met.
    ///
    /// # Errors
    /// `HomeInvalid` if there is none, `FormatUnsupported`, what `unwrap` gives, or `Storage*`.
    pub async fn open_with(storage: Arc<dyn Storage>, unwrap: Arc<dyn Unwrap>) -> Result<Self> {
        let description = describe(storage.as_ref()).await?;
        let source = KeySource::new(description.vault, storage.clone(), unwrap);
        let keys = KeyRing::new(description.vault, source.first().await?)?;
        Ok(Self { storage, keys, source: Some(Arc::new(source)) })
    }

    /// A vault of known keys over its storage. It learns of no newer ones: see [`Vault::over`].
    #[must_use]
    pub fn with_keys(storage: Arc<dyn Storage>, keys: KeyRing) -> Self {
        Self { storage, keys, source: None }
    }

    /// The same vault and keys over other objects, such as those that wait in staging.
    #[must_use]
    pub fn over(&self, storage: Arc<dyn Storage>) -> Self {
        Self { storage, ..self.clone() }
    }

    /// Learns the versions of the vault key that were made since it was opened.
    ///
    /// # Errors
    /// `KeyWrong` if one does not open, or `Storage*`.
    pub async fn refresh(&self) -> Result<()> {
        match &self.source {
            Some(source) => source.refresh(&self.keys).await,
            None => Ok(()),
        }
    }

    /// Sees to it that a version of the vault key is held, if there is one: what was written after a rotation is met by
    /// processes that were at work before it. A version that is nowhere is told by whoever uses it.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub async fn need(&self, version: u32) -> Result<()> {
        match &self.source {
            Some(source) => source.need(&self.keys, version).await,
            None => Ok(()),
        }
    }

    /// Makes the vault key of a version, unless somebody has made it: from then on new objects use it. `wrap` wraps it as
    /// the vault's other versions are. It is opened again before it counts.
    ///
    /// # Errors
    /// `InvalidInput` if it would not be the next version, what `wrap` gives, `KeyWrong` if what it made does not open, or
    /// `Storage*`.
    pub async fn make_version(
        &self,
        version: u32,
        wrap: impl AsyncFn(Id, u32, &SecretKey) -> Result<WrappedKey>,
    ) -> Result<Put> {
        let source = self.source.as_ref().ok_or_else(|| {
            Error::new(Code::Internal, "a vault of known keys makes no new ones").object("keys/")
        })?;
        source.make_version(&self.keys, version, wrap).await
    }

    /// The version that comes after all that are there, and what wraps the newest one that is.
    ///
    /// # Errors
    /// `ObjectDamaged` if the newest is no wrapped key, or `Storage*`.
    pub async fn next_version(&self) -> Result<(u32, Option<Wrapping>)> {
        let storage = self.source.as_ref().map_or(&self.storage, |source| source.storage());
        super::key_source::next_version(storage.as_ref(), &self.keys).await
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The storage.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The vault's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.keys.vault()
    }

    /// The ids of all backups, oldest first.
    ///
    /// # Errors
    /// `Storage*`.
    pub async fn backups(&self) -> Result<Vec<String>> {
        let prefix = ObjectKind::Manifest.prefix();
        let objects = list_all(self.storage.as_ref(), prefix).await?;
        Ok(objects.into_iter().map(|o| o.key[prefix.len()..].to_owned()).collect())
    }

    /// A backup's manifest.
    ///
    /// # Errors
    /// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`.
    pub async fn manifest(&self, backup: &str) -> Result<Manifest> {
        let bytes = self.storage.get(&manifest_key(backup), ByteRange::All).await?;
        self.open_manifest(backup, &bytes).await
    }

    /// Opens the manifest of a backup of which all bytes are at hand.
    ///
    /// # Errors
    /// `ObjectDamaged`, `KeyMissing` or `Storage*`.
    pub async fn open_manifest(&self, backup: &str, bytes: &[u8]) -> Result<Manifest> {
        let key = manifest_key(backup);
        let header = bytes
            .get(..HEADER_LEN)
            .ok_or("it is shorter than a header")
            .and_then(Header::decode)
            .map_err(|why| Error::damaged(&key, why))?;
        let expected = Header { kind: ObjectKind::Manifest, vault: self.id(), ..header };
        self.need(header.key_version).await?;
        let object = OpenObject::from_bytes(self, &key, &expected, bytes)?;
        let mut plain = Vec::new();
        for number in 0..object.footer.blocks.len() {
            plain.extend(object.block_of(bytes, number)?);
        }
        let manifest = Manifest::decode(&plain, self.id(), backup)?;
        self.need(manifest.name_key_version).await?;
        Ok(manifest)
    }

    /// Seals a manifest and writes it: from then on the backup exists. The first writer wins.
    ///
    /// # Errors
    /// `Storage*`.
    pub async fn put_manifest(&self, manifest: &Manifest) -> Result<Put> {
        let mut object = ObjectWriter::new(&self.keys, ObjectKind::Manifest)?;
        let mut compressor = Compressor::new(Codec::Zstd)?;
        for piece in manifest.encode()?.chunks(BLOCK_LEN) {
            object.block(&mut compressor, piece)?;
        }
        self.storage.put_if_absent(&manifest_key(&manifest.id), object.finish()?.bytes).await
    }

    /// Opens an object by its footer, with one or two requests.
    ///
    /// # Errors
    /// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`.
    pub async fn open_object(&self, kind: ObjectKind, id: Id, size: u64) -> Result<OpenObject> {
        self.open_object_at(&kind.object_key(id), kind, id, size).await
    }

    /// Opens an object whose key does not follow from its id alone.
    ///
    /// # Errors
    /// As [`Self::open_object`].
    pub async fn open_object_at(&self, key: &str, kind: ObjectKind, id: Id, size: u64) -> Result<OpenObject> {
        let tail = self.storage.get(key, ByteRange::Last(TAIL)).await?;
        let trailer = tail
            .len()
            .checked_sub(TRAILER_LEN)
            .and_then(|at| Trailer::decode(&tail[at..]))
            .ok_or_else(|| Error::damaged(key, "it does not end as a sealed object does"))?;
        let needed = u64::from(trailer.footer_len) + TRAILER_LEN as u64;
        let tail = if needed <= tail.len() as u64 {
            tail
        } else {
            self.storage.get(key, ByteRange::Last(needed.min(size))).await?
        };
        self.need(trailer.key_version).await?;
        if !self.keys.holds(trailer.key_version) {
            self.versions_agree(key, &trailer).await?;
        }
        let header = Header { kind, key_version: trailer.key_version, vault: self.id(), object: id };
        OpenObject::from_tail(self, key, &header, &tail, size)
    }

    /// A version of the key is missing only where header and trailer both ask for it: else the object is damaged.
    async fn versions_agree(&self, key: &str, trailer: &Trailer) -> Result<()> {
        let start = self.storage.get(key, ByteRange::Span { start: 0, end: HEADER_LEN as u64 }).await?;
        let header = Header::decode(&start).map_err(|why| Error::damaged(key, why))?;
        if header.key_version == trailer.key_version {
            return Ok(());
        }
        Err(Error::damaged(key, "its trailer names another key version than its header"))
    }

    /// Opens an object of which all bytes are at hand.
    ///
    /// # Errors
    /// `ObjectDamaged`, `KeyMissing` or `Storage*`.
    pub async fn open_bytes(&self, key: &str, kind: ObjectKind, id: Id, bytes: &[u8]) -> Result<OpenObject> {
        let trailer = bytes
            .len()
            .checked_sub(TRAILER_LEN)
            .and_then(|at| Trailer::decode(&bytes[at..]))
            .ok_or_else(|| Error::damaged(key, "it does not end as a sealed object does"))?;
        self.need(trailer.key_version).await?;
        let header = Header { kind, key_version: trailer.key_version, vault: self.id(), object: id };
        OpenObject::from_bytes(self, key, &header, bytes)
    }

    /// Reads a whole object and compares every part of it with its sum.
    ///
    /// # Errors
    /// `ObjectMissing`, `ObjectDamaged` or `Storage*`.
    pub async fn whole(&self, object: &StoredObject) -> Result<Bytes> {
        let key = object.key();
        let bytes = self.storage.get(&key, ByteRange::All).await?;
        if bytes.len() as u64 != object.size {
            return Err(Error::damaged(&key, format!("{} bytes instead of {}", bytes.len(), object.size)));
        }
        let sums = crate::write::object::part_sums(&bytes);
        if sums.len() != object.parts.len() || sums.iter().zip(&object.parts).any(|(a, b)| a.sha256 != *b) {
            return Err(Error::damaged(&key, "its SHA-256 is not the one in the manifest"));
        }
        Ok(bytes)
    }
}

/// Reads a vault's description.
///
/// # Errors
/// `HomeInvalid` if there is none, `ObjectDamaged`, `FormatUnsupported`, or `Storage*`.
pub async fn describe(storage: &dyn Storage) -> Result<VaultDescription> {
    let missing = || {
        Error::new(Code::HomeInvalid, format!("{} holds no vault ({VAULT_KEY} is missing)", storage.name()))
            .object(storage.name())
            .hint("name the home that holds vault/, or copy the whole vault")
    };
    let bytes = storage
        .get(VAULT_KEY, ByteRange::All)
        .await
        .map_err(|e| if e.code == Code::ObjectMissing { missing() } else { e })?;
    let description: VaultDescription =
        serde_json::from_slice(&bytes).map_err(|e| Error::damaged(VAULT_KEY, e))?;
    if description.format != FORMAT {
        return Err(Error::new(
            Code::FormatUnsupported,
            format!("the vault is of format {}", description.format),
        )
        .object(VAULT_KEY)
        .hint(format!("this program reads format {FORMAT}: use a newer one")));
    }
    Ok(description)
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<Bytes> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(Code::Internal, format!("no JSON form: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

/// An object whose footer has been opened; its blocks can be.
pub struct OpenObject {
    /// The object's key.
    pub key: String,
    /// Its footer.
    pub footer: Footer,
    aad: [u8; HEADER_LEN],
    sealer: Sealer,
}

impl OpenObject {
    /// Opens an object of which all bytes are at hand; its header must be the expected one.
    ///
    /// # Errors
    /// `ObjectDamaged` or `KeyMissing`.
    pub fn from_bytes(vault: &Vault, key: &str, expected: &Header, bytes: &[u8]) -> Result<Self> {
        let start =
            bytes.get(..HEADER_LEN).ok_or_else(|| Error::damaged(key, "it is shorter than a header"))?;
        if start != expected.encode() {
            let why = Header::decode(start).err().unwrap_or("its header names another object or vault");
            return Err(Error::damaged(key, why));
        }
        Self::from_tail(vault, key, expected, bytes, bytes.len() as u64)
    }

    fn from_tail(vault: &Vault, key: &str, header: &Header, tail: &[u8], size: u64) -> Result<Self> {
        let damaged = |why: &str| Error::damaged(key, why);
        let (rest, trailer) = tail
            .split_at_checked(tail.len().saturating_sub(TRAILER_LEN))
            .ok_or_else(|| damaged("too short"))?;
        let trailer =
            Trailer::decode(trailer).ok_or_else(|| damaged("it does not end as a sealed object does"))?;
        if trailer.key_version != header.key_version {
            return Err(damaged("its trailer names another key version than its header"));
        }
        let from = rest
            .len()
            .checked_sub(trailer.footer_len as usize)
            .ok_or_else(|| damaged("its footer is cut"))?;
        let (aad_header, sealer) = (header.encode(), vault.keys.sealer(header)?);
        let plain = sealer
            .open(FOOTER_NUMBER, &aad(&aad_header, FOOTER_NUMBER), rest[from..].to_vec())
            .and_then(|codec_and_payload| expand_footer(&codec_and_payload))
            .ok_or_else(|| {
                let version = header.key_version;
                damaged(&format!(
                    "its footer is not what was sealed under version {version} of the vault key"
                ))
            })?;
        let footer =
            Footer::decode(&plain, HEADER_LEN as u64).ok_or_else(|| damaged("its footer is malformed"))?;
        let end =
            footer.end_of_blocks(HEADER_LEN as u64) + u64::from(trailer.footer_len) + TRAILER_LEN as u64;
        if end != size {
            return Err(damaged(&format!("{size} bytes instead of {end}")));
        }
        Ok(Self { key: key.to_owned(), footer, aad: aad_header, sealer })
    }

    /// The version of the vault key that it is sealed under.
    #[must_use]
    pub fn key_version(&self) -> u32 {
        Header::decode(&self.aad).map_or(0, |header| header.key_version)
    }

    /// Where a block stands in the object.
    ///
    /// # Errors
    /// `ObjectDamaged` if there is no such block.
    pub fn block_range(&self, number: usize) -> Result<ByteRange> {
        let block = self.footer.blocks.get(number).ok_or_else(|| self.no_block(number))?;
        Ok(ByteRange::Span { start: block.offset, end: block.offset + u64::from(block.sealed_len) })
    }

    fn no_block(&self, number: usize) -> Error {
        Error::damaged(&self.key, format!("block {number} is referred to and does not exist"))
    }

    /// Opens and decompresses a sealed block.
    ///
    /// # Errors
    /// `ObjectDamaged` if it is not what was sealed at this place of this object.
    pub fn open_block(&self, number: usize, sealed: Vec<u8>) -> Result<Vec<u8>> {
        let block = self.footer.blocks.get(number).ok_or_else(|| self.no_block(number))?;
        self.sealer
            .open(number as u64, &aad(&self.aad, number as u64), sealed)
            .and_then(|plain| expand(plain, block.plain_len as usize))
            .ok_or_else(|| Error::damaged(&self.key, format!("block {number} is not what was sealed")))
    }

    /// Opens a block of an object of which all bytes are at hand.
    ///
    /// # Errors
    /// As [`Self::open_block`].
    pub fn block_of(&self, bytes: &[u8], number: usize) -> Result<Vec<u8>> {
        let block = self.footer.blocks.get(number).ok_or_else(|| self.no_block(number))?;
        let start = usize::try_from(block.offset).unwrap_or(usize::MAX);
        let sealed = bytes
            .get(start..start.saturating_add(block.sealed_len as usize))
            .ok_or_else(|| Error::damaged(&self.key, format!("block {number} is cut")))?;
        self.open_block(number, sealed.to_vec())
    }
}

/// A footer's plain length stands nowhere: zstd frames carry it, and other codecs are bounded by what a footer can be.
fn expand_footer(codec_and_payload: &[u8]) -> Option<Vec<u8>> {
    const LONGEST: usize = 256 << 20;
    let (codec, payload) = codec_and_payload.split_first()?;
    match Codec::from_byte(*codec)? {
        Codec::None => Some(payload.to_vec()),
        Codec::Zstd => {
            let most = longest(Codec::Zstd, payload.len()).min(LONGEST);
            let length = zstd::bulk::Decompressor::upper_bound(payload).filter(|len| *len <= most)?;
            zstd::bulk::decompress(payload, length).ok()
        }
        Codec::Gzip => None,
    }
}
