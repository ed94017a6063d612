//! The two kinds of plain JSON object: the vault's description and its wrapped keys.

use super::header::Id;
use crate::crypto::{Sealer, SecretKey, random};
use crate::error::{Code, Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// The key of the vault's description.
pub const VAULT_KEY: &str = "holdfast.json";

/// The vault's description, `holdfast.json`. Not secret and not authenticated: what it says is proved by the wrapped
/// keys, which are bound to the vault's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultDescription {
    /// The format of all objects: 1.
    pub format: u8,
    /// The vault's id.
    pub vault: Id,
}

/// A version of the vault key, wrapped: `keys/00000001.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// The format of all objects: 1.
    pub format: u8,
    /// The vault's id.
    pub vault: Id,
    /// The version, from 1.
    pub version: u32,
    /// What wraps it.
    pub wrapped_by: Wrapping,
    /// The wrapped key in base64. By a local key: 12 bytes of salt, 32 of ciphertext, 16 of tag.
    pub wrapped: String,
}

/// What wraps a vault key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Wrapping {
    /// A key file, by its id.
    Local {
        /// The key file's id.
        key: String,
    },
    /// A KMS key, with the encryption context `{"holdfast:vault": <vault id>}`.
    Kms {
        /// The key's ARN.
        key: String,
    },
}

/// The key of a wrapped key of a version.
#[must_use]
pub fn wrapped_key_name(version: u32) -> String {
    format!("keys/{version:08}.json")
}

/// The version that the name of a wrapped key tells; `None` if it is no such name.
#[must_use]
pub fn version_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("keys/")?.strip_suffix(".json")?;
    digits.parse().ok().filter(|version| wrapped_key_name(*version) == name)
}

fn aad(vault: Id, version: u32) -> Vec<u8> {
    let mut aad = b"holdfast/1/vault-key".to_vec();
    aad.extend_from_slice(&vault.0);
    aad.extend_from_slice(&version.to_le_bytes());
    aad
}

impl WrappedKey {
    /// Wraps a vault key with the secret of a key file.
    ///
    /// # Errors
    /// `Internal` if the system gives no random bytes.
    pub fn wrap(
        vault: Id,
        version: u32,
        key_id: &str,
        by: &SecretKey,
        vault_key: &SecretKey,
    ) -> Result<Self> {
        // A wrapping key is used once a vault and version, so a key derived from a random salt never sees a nonce twice.
        let salt: [u8; 12] = random()?;
        let sealer = Sealer::new(&by.derive(&salt, b"holdfast/1/wrap"));
        let mut bytes = salt.to_vec();
        bytes.extend_from_slice(vault_key.expose());
        sealer.seal(0, &aad(vault, version), &mut bytes, salt.len())?;
        Ok(Self {
            format: super::FORMAT,
            vault,
            version,
            wrapped_by: Wrapping::Local { key: key_id.to_owned() },
            wrapped: BASE64.encode(&bytes),
        })
    }

    /// A vault key that KMS wrapped: its ciphertext.
    #[must_use]
    pub fn wrapped_by_kms(vault: Id, version: u32, key: &str, ciphertext: &[u8]) -> Self {
        Self {
            format: super::FORMAT,
            vault,
            version,
            wrapped_by: Wrapping::Kms { key: key.to_owned() },
            wrapped: BASE64.encode(ciphertext),
        }
    }

    /// What KMS is to unwrap; none if the base64 is broken.
    #[must_use]
    pub fn ciphertext(&self) -> Option<Vec<u8>> {
        BASE64.decode(&self.wrapped).ok()
    }

    /// Unwraps with the secret of a key file.
    ///
    /// # Errors
    /// `KeyWrong` if it is not the key that wrapped it, or the object was changed.
    pub fn unwrap_local(&self, by: &SecretKey) -> Result<SecretKey> {
        let name = wrapped_key_name(self.version);
        let wrong = || {
            Error::new(Code::KeyWrong, format!("the key does not open this vault ({name})"))
                .object(name.clone())
                .hint("use the key.json that was made with this vault")
        };
        let bytes = BASE64.decode(&self.wrapped).map_err(|_| wrong())?;
        let (salt, body) = bytes.split_at_checked(12).ok_or_else(wrong)?;
        let sealer = Sealer::new(&by.derive(salt, b"holdfast/1/wrap"));
        let plain = sealer.open(0, &aad(self.vault, self.version), body.to_vec()).ok_or_else(wrong)?;
        Ok(SecretKey::new(<[u8; 32]>::try_from(plain).map_err(|_| wrong())?))
    }
}
