//! What a step of an increment saw in the source, whether or not it had to be stored.

use holdfast_vault::crypto::DigestSum;
use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// What stands in the part of the source that a step read: with it a stream that is stored as layers is told, and
/// checked, without reading the layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Records.
    pub records: u64,
    /// Files, directories and links.
    pub files: u64,
    /// Bytes of content or of values.
    pub bytes: u64,
    /// The sum of the digests of all entries or records, in hex.
    pub digest: String,
    /// The key in staging of one bit for each live row of the base's state table: set where the record was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitmap: Option<String>,
}

impl Seen {
    /// The sum of digests.
    ///
    /// # Errors
    /// `Internal` if it is no sum.
    pub fn sum(&self) -> Result<DigestSum> {
        let bytes: Option<[u8; 32]> = hex::decode(&self.digest).ok().and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(|bytes| DigestSum::from_bytes(&bytes))
            .ok_or_else(|| Error::new(Code::Internal, "a step tells no sum of digests"))
    }

    /// Adds what another step saw; bitmaps are not added.
    ///
    /// # Errors
    /// `Internal` if the other tells no sum of digests.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let mut sum = if self.digest.is_empty() { DigestSum::default() } else { self.sum()? };
        sum.merge(&other.sum()?);
        self.digest = hex::encode(sum.to_bytes());
        self.records += other.records;
        self.files += other.files;
        self.bytes += other.bytes;
        Ok(())
    }
}
