//! All of Holdfast's cryptography: AES-256-GCM, HKDF-SHA-256, HMAC-SHA-256, SHA-256 and randomness.
//!
//! Nonces never repeat under one key because every stored object has a key of its own, derived from its random id,
//! and numbers its blocks from zero (docs/vault-format.md, "Keys" and "Nonces").

use crate::error::{Code, Error, Result};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes that sealing adds: the GCM tag.
pub const TAG_LEN: usize = 16;

/// The 32 bytes of a key; wiped when dropped, never printed.
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// A key from its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A key from the operating system's randomness.
    ///
    /// # Errors
    /// `Internal` if the system gives none.
    pub fn random() -> Result<Self> {
        Ok(Self::new(random()?))
    }

    /// The key's bytes, for wrapping them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Another key, bound to a purpose and a salt: HKDF-SHA-256.
    #[must_use]
    pub fn derive(&self, salt: &[u8], info: &[u8]) -> Self {
        let mut out = [0_u8; 32];
        // One block of output is always within HKDF's limit of 255.
        let _ = hkdf::Hkdf::<Sha256>::new(Some(salt), &self.0[..]).expand(info, &mut out);
        Self::new(out)
    }
}

impl Clone for SecretKey {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Bytes from the operating system.
///
/// # Errors
/// `Internal` if the system gives none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Code::Internal, format!("the system gives no random bytes: {e}")))?;
    Ok(bytes)
}

/// Seals and opens messages under one key, each with a number of its own.
pub struct Sealer(Aes256Gcm);

impl Sealer {
    /// A sealer for a key.
    #[must_use]
    pub fn new(key: &SecretKey) -> Self {
        Self(Aes256Gcm::new(key.expose().into()))
    }

    /// Seals `buffer[from..]` in place and appends the tag. `number` must not repeat under this key.
    ///
    /// # Errors
    /// `Internal` if the message is longer than GCM allows.
    pub fn seal(&self, number: u64, aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<()> {
        let tag = self
            .0
            .encrypt_inout_detached(&nonce(number), aad, (&mut buffer[from..]).into())
            .map_err(|_| Error::new(Code::Internal, "a block is too long to be sealed"))?;
        buffer.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens a sealed message in place and cuts off its tag. `None` if it is not what was sealed.
    #[must_use]
    pub fn open(&self, number: u64, aad: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let body = sealed.len().checked_sub(TAG_LEN)?;
        let (message, tag) = sealed.split_at_mut(body);
        let tag = <&[u8; TAG_LEN]>::try_from(&*tag).ok()?;
        self.0.decrypt_inout_detached(&nonce(number), aad, message.into(), tag.into()).ok()?;
        sealed.truncate(body);
        Some(sealed)
    }
}

fn nonce(number: u64) -> Nonce<aes_gcm::aes::cipher::consts::U12> {
    let mut bytes = [0_u8; 12];
    bytes[4..].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

/// Names data by a keyed hash, so that a name tells nothing without the key: HMAC-SHA-256, cut to 16 bytes.
#[derive(Clone)]
pub struct Namer(Hmac<Sha256>);

impl Namer {
    /// A namer under a key.
    #[must_use]
    pub fn new(key: &SecretKey) -> Self {
        // HMAC pads a short key with zeros to the hash's block; done here, the length is right by its type.
        let mut block = Zeroizing::new([0_u8; 64]);
        block[..32].copy_from_slice(key.expose());
        Self(<Hmac<Sha256> as hmac::KeyInit>::new((&*block).into()))
    }

    /// The name of some data.
    #[must_use]
    pub fn name(&self, data: &[u8]) -> [u8; 16] {
        let mut mac = self.0.clone();
        mac.update(data);
        let full = mac.finalize().into_bytes();
        let mut name = [0_u8; 16];
        name.copy_from_slice(&full[..16]);
        name
    }
}

/// SHA-256 of some data.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// SHA-256 of data that comes in pieces.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// More data.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The hash, and a fresh start.
    pub fn finish(&mut self) -> [u8; 32] {
        self.0.finalize_reset().into()
    }
}

/// A sum of SHA-256 hashes modulo 2^256: the digest of a multiset, whatever the order of its members.
///
/// It finds faults, not forgeries: what it sums is authenticated before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DigestSum([u64; 4]);

impl DigestSum {
    /// Adds one hash, read as a little-endian number.
    pub fn add(&mut self, hash: &[u8; 32]) {
        let mut other = [0_u64; 4];
        for (limb, bytes) in other.iter_mut().zip(hash.chunks_exact(8)) {
            let mut word = [0_u8; 8];
            word.copy_from_slice(bytes);
            *limb = u64::from_le_bytes(word);
        }
        self.add_limbs(&other);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.add_limbs(&other.0);
    }

    fn add_limbs(&mut self, other: &[u64; 4]) {
        let mut carry = false;
        for (limb, add) in self.0.iter_mut().zip(other) {
            let (sum, over) = limb.overflowing_add(*add);
            let (sum, over_carry) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_carry;
        }
    }

    /// The sum as 32 little-endian bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0_u8; 32];
        for (out, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            out.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    /// A sum from its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut sum = Self::default();
        sum.add(bytes);
        sum
    }
}
