//! What an exported recovery key holds, and how it is sealed: JSON in an age file.

use age::x25519;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::header::Id;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use zeroize::{Zeroize as _, Zeroizing};

const KIND: &str = "holdfast-recovery-key";
const FORMAT: u8 = 1;
/// An exported file is far smaller, whatever it was sealed to.
const LARGEST: u64 = 4 << 20;

/// The keys of a vault, unwrapped. Whoever has this and the vault has the data.
#[derive(Serialize, Deserialize)]
pub(super) struct Material {
    kind: String,
    format: u8,
    /// The vault's id.
    pub(super) vault: Id,
    /// When they were exported, RFC 3339 UTC.
    pub(super) created_at: String,
    keys: Vec<VaultKey>,
}

#[derive(Serialize, Deserialize)]
struct VaultKey {
    version: u32,
    /// 32 bytes in base64.
    key: String,
}

impl Drop for VaultKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Material {
    /// All versions of a vault's key.
    pub(super) fn new(vault: Id, created_at: String, keys: &BTreeMap<u32, SecretKey>) -> Self {
        let keys = keys
            .iter()
            .map(|(version, key)| VaultKey { version: *version, key: BASE64.encode(key.expose()) })
            .collect();
        Self { kind: KIND.to_owned(), format: FORMAT, vault, created_at, keys }
    }

    /// The keys by version.
    pub(super) fn keys(&self) -> Result<BTreeMap<u32, SecretKey>> {
        let mut keys = BTreeMap::new();
        for of in &self.keys {
            let mut bytes = Zeroizing::new([0_u8; 32]);
            let whole = BASE64.decode_slice(&of.key, &mut *bytes).is_ok_and(|length| length == bytes.len());
            if !whole || of.version == 0 || keys.insert(of.version, SecretKey::new(*bytes)).is_some() {
                return Err(unusable(&format!("version {} is no key of 32 bytes", of.version)));
            }
        }
        if keys.is_empty() { Err(unusable("it holds no key")) } else { Ok(keys) }
    }

    /// Seals it to recipients.
    pub(super) fn seal(&self, recipients: &[x25519::Recipient]) -> Result<Vec<u8>> {
        let failed = |why: String| Error::new(Code::Internal, format!("the keys could not be sealed: {why}"));
        // Room for all of it from the start: what grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(512 + 128 * self.keys.len()));
        serde_json::to_writer(&mut *plain, self).map_err(|error| failed(error.to_string()))?;
        let to = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(to).map_err(|error| failed(error.to_string()))?;
        let seal = || -> io::Result<Vec<u8>> {
            let mut sealed = Vec::new();
            let mut writer = encryptor.wrap_output(&mut sealed)?;
            writer.write_all(&plain)?;
            writer.finish()?;
            Ok(sealed)
        };
        seal().map_err(|error| failed(error.to_string()))
    }

    /// Opens a sealed file with the identities of another.
    pub(super) fn open(file: &Path, identity: &Path) -> Result<Self> {
        let sealed = read(file, "FILE")?;
        let identities = identities(identity)?;
        let wrong = |why: String| {
            let shown = file.display().to_string();
            Error::new(Code::KeyWrong, format!("{shown} does not open with {}: {why}", identity.display()))
                .object(shown)
                .hint("use the identity (AGE-SECRET-KEY-1...) of one of the recipients it was exported to")
        };
        let decryptor = age::Decryptor::new(&sealed[..]).map_err(|error| wrong(error.to_string()))?;
        let mut reader = decryptor
            .decrypt(identities.iter().map(|identity| identity.as_ref() as &dyn age::Identity))
            .map_err(|error| wrong(error.to_string()))?;
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut plain).map_err(|error| wrong(error.to_string()))?;
        // Why it is unreadable is not told: the text is a secret.
        let material: Self =
            serde_json::from_slice(&plain).map_err(|_| unusable("what is sealed in it is not understood"))?;
        if material.kind != KIND || material.format != FORMAT {
            return Err(unusable(&format!("what is sealed in it is no recovery key of format {FORMAT}")));
        }
        Ok(material)
    }
}

/// The recipients that the command line names.
pub(super) fn recipients(texts: &[String]) -> Result<Vec<x25519::Recipient>> {
    let parse = |text: &String| {
        text.parse::<x25519::Recipient>().map_err(|why| {
            Error::new(Code::InvalidInput, format!("{text:?} is no age recipient: {why}"))
                .object("--recipient")
                .hint("give the public key of age-keygen: age1...")
        })
    };
    texts.iter().map(parse).collect()
}

fn identities(path: &Path) -> Result<Vec<Box<dyn age::Identity>>> {
    let text = read(path, "--identity")?;
    let parsed = age::IdentityFile::from_buffer(&text[..]).map_err(|error| error.to_string());
    // What age says of a line tells its number, not the line.
    parsed.and_then(|file| file.into_identities().map_err(|error| error.to_string())).map_err(|why| {
        Error::new(Code::InvalidInput, format!("{} holds no age identity: {why}", path.display()))
            .object("--identity")
            .hint("name the file that age-keygen wrote")
    })
}

fn read(path: &Path, option: &str) -> Result<Zeroizing<Vec<u8>>> {
    let bad =
        |why: String| Error::new(Code::InvalidInput, format!("{} {why}", path.display())).object(option);
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST { Err(bad("is too large".to_owned())) } else { Ok(bytes) }
}

/// Writes a file that must not exist, readable by its owner only, and waits for the disk.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: &io::Error| {
        let shown = path.display().to_string();
        let (code, hint) = match error.kind() {
            ErrorKind::AlreadyExists => (Code::InvalidInput, "name a new file: nothing is written over"),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Code::StorageFull, "free some space there"),
            _ => (Code::InvalidInput, "name a file in a directory that can be written"),
        };
        Error::new(code, format!("{shown} could not be written: {error}")).object("--out").hint(hint)
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed(&error))?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let done =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| File::open(above)?.sync_all());
    done.map_err(|error| {
        // Half a recovery key is worse than none.
        let _ = std::fs::remove_file(path);
        failed(&error)
    })
}

fn unusable(why: &str) -> Error {
    Error::new(Code::InvalidInput, format!("the recovery key cannot be used: {why}"))
        .object("FILE")
        .hint("name a file that `holdfast key export` wrote")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> Material {
        let keys = [(1, SecretKey::new([1; 32])), (3, SecretKey::new([3; 32]))].into();
        Material::new(Id([9; 16]), "2026-11-21T00:00:00.000Z".to_owned(), &keys)
    }

    #[test]
    fn each_recipient_opens_it_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, other) =
            (x25519::Identity::generate(), x25519::Identity::generate(), x25519::Identity::generate());
        let sealed = material().seal(&[one.to_public(), two.to_public()]).unwrap();
        let file = dir.path().join("recovery.age");
        write_new(&file, &sealed).unwrap();
        assert_eq!(write_new(&file, &sealed).unwrap_err().code, Code::InvalidInput, "not written over");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let identity = dir.path().join("identity.txt");
        let keep = |of: &x25519::Identity| {
            let text = age::secrecy::ExposeSecret::expose_secret(&of.to_string()).to_owned();
            std::fs::write(&identity, format!("# a comment\n{text}\n")).unwrap();
        };
        for of in [&one, &two] {
            keep(of);
            let opened = Material::open(&file, &identity).unwrap();
            let keys = opened.keys().unwrap();
            assert_eq!((opened.vault, keys.keys().copied().collect::<Vec<_>>()), (Id([9; 16]), vec![1, 3]));
            assert_eq!(keys[&3].expose(), &[3; 32]);
        }
        keep(&other);
        assert_eq!(Material::open(&file, &identity).err().map(|error| error.code), Some(Code::KeyWrong));
        std::fs::write(&identity, "age1notasecret\n").unwrap();
        let error = Material::open(&file, &identity).err().unwrap();
        assert!(error.code == Code::InvalidInput && !error.message.contains("age1notasecret"));
        let mut cut = sealed.clone();
        cut.pop();
        std::fs::write(&file, cut).unwrap();
        keep(&one);
        assert_eq!(Material::open(&file, &identity).err().map(|error| error.code), Some(Code::KeyWrong));
    }

    #[test]
    fn what_is_no_recovery_key_is_refused_without_telling_it() {
        for (version, key) in [(0, BASE64.encode([1; 32])), (1, BASE64.encode([1; 31])), (1, "?".to_owned())]
        {
            let mut bad = material();
            bad.keys = vec![VaultKey { version, key: key.clone() }];
            let error = bad.keys().err().unwrap();
            assert!(error.code == Code::InvalidInput && !error.message.contains(&key));
        }
        let mut empty = material();
        empty.keys.clear();
        assert_eq!(empty.keys().err().unwrap().code, Code::InvalidInput);
        let mut twice = material();
        twice.keys[1].version = 1;
        assert_eq!(twice.keys().err().unwrap().code, Code::InvalidInput);
        assert_eq!(recipients(&["age1x".to_owned()]).err().unwrap().code, Code::InvalidInput);
    }
}
