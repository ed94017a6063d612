//! The key file of the embedded cloud: what KMS is on AWS. Whoever has it and the vault has the data.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

const KIND: &str = "holdfast-key";
const VERSION: u32 = 1;
/// A key file is far smaller; something larger is not one.
const LARGEST: u64 = 4_096;

/// A key and its id.
#[derive(Clone)]
pub struct KeyFile {
    id: [u8; 16],
    secret: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("id", &self.id_text()).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    kind: String,
    version: u32,
    id: String,
    secret: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl KeyFile {
    /// Makes a new key and writes it to a file that must not exist, readable by its owner only.
    ///
    /// # Errors
    /// `HomeInvalid` if the file exists, `Storage*` if it cannot be written; then there is none.
    pub fn create(path: &Path) -> Result<Self> {
        let mut key = Self { id: [0; 16], secret: Zeroizing::new([0; 32]) };
        let filled = getrandom::fill(&mut key.id).and_then(|()| getrandom::fill(&mut *key.secret));
        filled.map_err(|error| Error::new(Code::Internal, format!("no randomness for a key: {error}")))?;
        let stored = Stored {
            kind: KIND.to_owned(),
            version: VERSION,
            id: key.id_text(),
            secret: BASE64.encode(*key.secret),
        };
        let mut text = serde_json::to_vec(&stored)
            .map(Zeroizing::new)
            .map_err(|error| Error::new(Code::Internal, format!("the key could not be encoded: {error}")))?;
        text.push(b'\n');
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let hint = "use the key that is there; a vault cannot be read with another one";
                return Err(invalid(path, "exists already", hint));
            }
            Err(error) => return Err(unwritable(path, &error)),
        };
        if let Err(error) = write(&mut file, &text, path) {
            // Half a key is worse than none.
            let _ = std::fs::remove_file(path);
            return Err(unwritable(path, &error));
        }
        Ok(key)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// `HomeInvalid` if it is missing, is no key file, or may be read by others than its owner.
    pub fn load(path: &Path) -> Result<Self> {
        let mut text = Zeroizing::new(Vec::new());
        let read = || -> io::Result<u32> {
            let file = File::open(path)?;
            let mode = file.metadata()?.permissions().mode();
            file.take(LARGEST + 1).read_to_end(&mut text)?;
            Ok(mode)
        };
        let mode = { read }().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                invalid(path, "is missing", "put back the key.json that was made with the vault")
            }
            _ => invalid(path, &format!("cannot be read: {error}"), "give its owner the right to read it"),
        })?;
        if mode & 0o077 != 0 {
            let why = format!("may be used by others than its owner (mode {:o})", mode & 0o7777);
            return Err(invalid(path, &why, &format!("chmod 600 {}", path.display())));
        }
        Self::decode(&text).ok_or_else(|| {
            invalid(path, "is no key file of version 1", "put back the key.json that was made with the vault")
        })
    }

    // Why the text is no key is not told: the text is a secret.
    fn decode(text: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(text).ok()?;
        if stored.kind != KIND || stored.version != VERSION {
            return None;
        }
        let id = hex::decode(&stored.id).ok()?;
        let secret = Zeroizing::new(BASE64.decode(&stored.secret).ok()?);
        let mut key = Self { id: id.try_into().ok()?, secret: Zeroizing::new([0; 32]) };
        if secret.len() != key.secret.len() {
            return None;
        }
        key.secret.copy_from_slice(&secret);
        Some(key)
    }

    /// The key's id, which is no secret.
    #[must_use]
    pub fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The key's id in hex.
    #[must_use]
    pub fn id_text(&self) -> String {
        hex::encode(self.id)
    }

    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

fn write(file: &mut File, text: &[u8], path: &Path) -> io::Result<()> {
    file.write_all(text)?;
    file.sync_all()?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above)?.sync_all()
}

fn invalid(path: &Path, why: &str, hint: &str) -> Error {
    let shown = path.display().to_string();
    Error::new(Code::HomeInvalid, format!("the key file {shown} {why}")).object(shown).hint(hint)
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    let shown = path.display().to_string();
    let (code, hint) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Code::StorageFull, "free some space there"),
        _ => (Code::StorageDenied, "give this user the right to write there, or use another home"),
    };
    Error::new(code, format!("the key file {shown} could not be written: {error}")).object(shown).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.json");
        let key = KeyFile::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let again = KeyFile::load(&path).unwrap();
        assert_eq!((again.id(), again.secret()), (key.id(), key.secret()));
        assert_eq!(KeyFile::create(&path).unwrap_err().code, Code::HomeInvalid);
        assert_eq!(KeyFile::load(&path).unwrap().secret(), key.secret());
        let other = KeyFile::create(&home.path().join("other.json")).unwrap();
        assert_ne!(other.secret(), key.secret());
        let secret = BASE64.encode(key.secret());
        assert!(!format!("{key:?}").contains(&secret) && format!("{key:?}").contains(&key.id_text()));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.json");
        KeyFile::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = KeyFile::load(&path).unwrap_err();
            assert_eq!(error.code, Code::HomeInvalid);
            assert_eq!(error.hint, Some(format!("chmod 600 {}", path.display())));
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        KeyFile::load(&path).unwrap();
    }

    #[test]
    fn what_is_no_key_is_refused_without_telling_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.json");
        assert_eq!(KeyFile::load(&path).unwrap_err().code, Code::HomeInvalid);
        let id = "00".repeat(16);
        let secret = BASE64.encode([7; 32]);
        let short = BASE64.encode([7; 31]);
        let good = format!(r#"{{"kind":"holdfast-key","version":1,"id":"{id}","secret":"{secret}"}}"#);
        put(&path, &good, 0o600);
        KeyFile::load(&path).unwrap();
        for bad in [
            String::new(),
            "{}".to_owned(),
            good[..good.len() - 1].to_owned(),
            good.replace(":1,", ":2,"),
            good.replace("holdfast-key", "other-key"),
            good.replace(&id, &id[2..]),
            good.replace(&secret, &short),
            good.replace(&secret, "?"),
            good.replace("kind", "sort"),
        ] {
            put(&path, &bad, 0o600);
            let error = KeyFile::load(&path).unwrap_err();
            assert_eq!(error.code, Code::HomeInvalid, "{bad}");
            assert!(!error.message.contains(&secret) && error.hint.is_some());
        }
    }

    #[test]
    fn a_key_is_not_made_where_nothing_can_be() {
        let error = KeyFile::create(Path::new("/nonexistent/key.json")).unwrap_err();
        assert_eq!(error.code, Code::StorageDenied);
    }
}
