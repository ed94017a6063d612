//! Writes one sealed object: blocks, footer, trailer.

use crate::compress::{Codec, Compressor};
use crate::crypto::{Sealer, random, sha256};
use crate::error::{Code, Error, Result};
use crate::format::footer::{BlockInfo, Footer, Segment};
use crate::format::header::{FOOTER_NUMBER, HEADER_LEN, Header, Id, ObjectKind, Trailer};
use crate::keys::KeyRing;
use crate::storage::{PART_SIZE, PartSum};
use bytes::Bytes;

/// A whole sealed object, ready to be stored.
#[derive(Debug, Clone)]
pub struct FinishedObject {
    /// Its id.
    pub id: Id,
    /// What it holds.
    pub kind: ObjectKind,
    /// Its bytes.
    pub bytes: Bytes,
    /// The SHA-256 of each part.
    pub parts: Vec<PartSum>,
}

/// Builds one sealed object in memory.
pub struct ObjectWriter {
    header: Header,
    aad: [u8; HEADER_LEN],
    sealer: Sealer,
    out: Vec<u8>,
    footer: Footer,
}

impl ObjectWriter {
    /// A new object under the newest version of the vault key, with a random id.
    ///
    /// # Errors
    /// `Internal` if the system gives no random bytes.
    pub fn new(keys: &KeyRing, kind: ObjectKind) -> Result<Self> {
        let header =
            Header { kind, key_version: keys.newest_version(), vault: keys.vault(), object: Id(random()?) };
        let aad = header.encode();
        let sealer = keys.sealer(&header)?;
        Ok(Self { header, aad, sealer, out: aad.to_vec(), footer: Footer::default() })
    }

    /// As [`Self::new`], with room for an object of so many bytes. A large object that grows bit by bit leaves the
    /// allocator with pieces that fit nothing else.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_room(keys: &KeyRing, kind: ObjectKind, bytes: usize) -> Result<Self> {
        let mut writer = Self::new(keys, kind)?;
        writer.out.reserve_exact(bytes);
        Ok(writer)
    }

    /// The object's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.header.object
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there is no block yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.footer.blocks.is_empty()
    }

    /// The number that the next block gets.
    #[must_use]
    pub fn next_block(&self) -> u32 {
        u32::try_from(self.footer.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Compresses and seals a block.
    ///
    /// # Errors
    /// `Internal` if the codec fails.
    pub fn block(&mut self, compressor: &mut Compressor, plain: &[u8]) -> Result<()> {
        let start = self.out.len();
        compressor.append(plain, &mut self.out)?;
        self.seal_block(start, plain.len())
    }

    /// Seals a block of data that does not compress.
    ///
    /// # Errors
    /// `Internal` if the block is too long.
    pub fn dense_block(&mut self, plain: &[u8]) -> Result<()> {
        let start = self.out.len();
        self.out.push(Codec::None as u8);
        self.out.extend_from_slice(plain);
        self.seal_block(start, plain.len())
    }

    fn seal_block(&mut self, start: usize, plain_len: usize) -> Result<()> {
        let too_long = |_| Error::new(Code::Internal, "a block is longer than 4 GiB");
        let number = u64::from(self.next_block());
        self.sealer.seal(number, &aad(&self.aad, number), &mut self.out, start)?;
        self.footer.blocks.push(BlockInfo {
            offset: start as u64,
            sealed_len: u32::try_from(self.out.len() - start).map_err(too_long)?,
            plain_len: u32::try_from(plain_len).map_err(too_long)?,
        });
        Ok(())
    }

    /// Tells what stands in blocks already written.
    pub fn segment(&mut self, segment: Segment) {
        self.footer.segments.push(segment);
    }

    /// Ends the object.
    ///
    /// # Errors
    /// `Internal` if the codec fails.
    pub fn finish(mut self) -> Result<FinishedObject> {
        let start = self.out.len();
        Compressor::new(Codec::Zstd)?.append(&self.footer.encode(), &mut self.out)?;
        self.sealer.seal(FOOTER_NUMBER, &aad(&self.aad, FOOTER_NUMBER), &mut self.out, start)?;
        let footer_len = u32::try_from(self.out.len() - start)
            .map_err(|_| Error::new(Code::Internal, "a footer is longer than 4 GiB"))?;
        let trailer = Trailer { footer_len, key_version: self.header.key_version };
        self.out.extend_from_slice(&trailer.encode());
        let parts = part_sums(&self.out);
        Ok(FinishedObject { id: self.header.object, kind: self.header.kind, bytes: self.out.into(), parts })
    }
}

/// What a block or footer is authenticated with beside its own bytes: the header and the number.
#[must_use]
pub fn aad(header: &[u8; HEADER_LEN], number: u64) -> [u8; HEADER_LEN + 8] {
    let mut aad = [0_u8; HEADER_LEN + 8];
    aad[..HEADER_LEN].copy_from_slice(header);
    aad[HEADER_LEN..].copy_from_slice(&number.to_le_bytes());
    aad
}

/// The size and SHA-256 of each part of an object; one empty part for an empty object.
#[must_use]
pub fn part_sums(bytes: &[u8]) -> Vec<PartSum> {
    let part = usize::try_from(PART_SIZE).unwrap_or(usize::MAX);
    let sum = |piece: &[u8]| PartSum { size: piece.len() as u64, sha256: hex::encode(sha256(piece)) };
    if bytes.is_empty() {
        return vec![sum(bytes)];
    }
    bytes.chunks(part).map(sum).collect()
}
