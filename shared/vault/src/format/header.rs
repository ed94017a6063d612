//! The frame around every sealed object: header and trailer.

use super::FORMAT;
use std::fmt;

/// The first eight bytes of every sealed object.
pub const MAGIC: &[u8; 8] = b"HOLDFAST";
/// The last four bytes of every sealed object.
pub const END_MAGIC: &[u8; 4] = b"HFND";
/// Bytes of a header.
pub const HEADER_LEN: usize = 48;
/// Bytes of a trailer.
pub const TRAILER_LEN: usize = 16;
/// The number under which the footer is sealed; blocks count from 0.
pub const FOOTER_NUMBER: u64 = u64::MAX;

/// Sixteen random bytes that name a thing: a vault, an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// The id of its 32 hex digits, lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let bytes = hex::decode(text).ok()?;
        lower.then_some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("an id has 32 hex digits in lower case"))
    }
}

/// What a sealed object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum ObjectKind {
    /// File content, tree entries, records: what a restore needs.
    Pack = 1,
    /// The description of a completed backup.
    Manifest = 2,
    /// Chunk lists and state tables: what the next backup needs, and no restore.
    Index = 3,
    /// Captured changes of a resource.
    Changes = 4,
}

impl ObjectKind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Pack),
            2 => Some(Self::Manifest),
            3 => Some(Self::Index),
            4 => Some(Self::Changes),
            _ => None,
        }
    }

    /// What the keys of such objects begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Pack => "packs/",
            Self::Index => "index/",
            Self::Manifest => "manifests/",
            Self::Changes => "changes/",
        }
    }

    /// The key of a pack or index object of this id. Manifests go by the backup's id ([`super::manifest::manifest_key`]),
    /// change objects by their resource and times ([`super::changes::ChangeName`]).
    #[must_use]
    pub fn object_key(self, id: Id) -> String {
        let id = id.to_string();
        format!("{}{}/{id}", self.prefix(), &id[..2])
    }
}

/// The header of a sealed object. Its bytes are part of what every block is authenticated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the object holds.
    pub kind: ObjectKind,
    /// The version of the vault key that its key is derived from.
    pub key_version: u32,
    /// The vault it belongs to.
    pub vault: Id,
    /// Its random id; never used twice.
    pub object: Id,
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0_u8; HEADER_LEN];
        out[..8].copy_from_slice(MAGIC);
        out[8] = FORMAT;
        out[9] = self.kind as u8;
        out[12..16].copy_from_slice(&self.key_version.to_le_bytes());
        out[16..32].copy_from_slice(&self.vault.0);
        out[32..48].copy_from_slice(&self.object.0);
        out
    }

    /// A header from its bytes, or why they are none.
    ///
    /// # Errors
    /// What is wrong with them, as the end of a sentence.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; HEADER_LEN] = bytes.try_into().map_err(|_| "it is shorter than a header")?;
        if &bytes[..8] != MAGIC {
            return Err("it does not begin with HOLDFAST");
        }
        if bytes[8] != FORMAT {
            return Err("it is of another format");
        }
        let kind = ObjectKind::from_byte(bytes[9]).ok_or("its kind is unknown")?;
        if bytes[10..12] != [0, 0] {
            return Err("its reserved bytes are set");
        }
        let id = |from: usize| {
            let mut id = [0_u8; 16];
            id.copy_from_slice(&bytes[from..from + 16]);
            Id(id)
        };
        let key_version = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        Ok(Self { kind, key_version, vault: id(16), object: id(32) })
    }
}

/// The last bytes of a sealed object: where its footer is, and under which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Bytes of the sealed footer, which stands right before the trailer.
    pub footer_len: u32,
    /// The header's key version again, so that a reader needs no third request.
    pub key_version: u32,
}

impl Trailer {
    /// The trailer's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; TRAILER_LEN] {
        let mut out = [0_u8; TRAILER_LEN];
        out[..4].copy_from_slice(&self.footer_len.to_le_bytes());
        out[4..8].copy_from_slice(&self.key_version.to_le_bytes());
        out[12..].copy_from_slice(END_MAGIC);
        out
    }

    /// A trailer from its bytes; `None` if they are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TRAILER_LEN] = bytes.try_into().ok()?;
        if &bytes[12..] != END_MAGIC || bytes[8..12] != [0, 0, 0, 0] {
            return None;
        }
        Some(Self {
            footer_len: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            key_version: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
    }
}
