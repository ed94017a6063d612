//! The vault's keys, wrapped by KMS.

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::header::Id;
use holdfast_vault::format::root::{WrappedKey, Wrapping, wrapped_key_name};
use holdfast_vault::read::{Unwrap, Vault};
use holdfast_vault::storage::Storage;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The name in the encryption context that binds a wrapped key to its vault.
const CONTEXT: &str = "holdfast:vault";

struct KmsKeys(Client);

#[async_trait]
impl Unwrap for KmsKeys {
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<SecretKey> {
        unwrap(&self.0, wrapped).await
    }
}

/// Opens a vault: every version of its key is unwrapped by one call of KMS, those that are made later when they are met.
///
/// # Errors
/// `HomeInvalid` if there is no vault, `KeyWrong` if KMS does not open it, or what storage gives.
pub async fn open_vault(kms: &Client, storage: Arc<dyn Storage>) -> Result<Vault> {
    Vault::open_with(storage, Arc::new(KmsKeys(kms.clone()))).await
}

/// Makes a vault whose key is wrapped by a KMS key, or opens the one that is there.
///
/// # Errors
/// As [`open_vault`], and `KeyWrong` if KMS does not wrap with that key.
pub async fn create_vault(kms: &Client, storage: Arc<dyn Storage>, key: &str) -> Result<Vault> {
    Vault::describe_new(storage.as_ref(), async |vault, version, fresh: &SecretKey| {
        wrap(kms, key, vault, version, fresh).await
    })
    .await?;
    open_vault(kms, storage).await
}

/// Makes the versions of a vault's key up to one, each wrapped by a KMS key. Those that are there stay.
///
/// # Errors
/// `KeyWrong` if KMS does not wrap with that key, or what storage gives.
pub async fn make_versions(kms: &Client, vault: &Vault, key: &str, up_to: u32) -> Result<()> {
    vault.refresh().await?;
    for version in vault.keys().newest_version() + 1..=up_to {
        let by_kms = async |vault, version, fresh: &SecretKey| wrap(kms, key, vault, version, fresh).await;
        vault.make_version(version, by_kms).await?;
    }
    Ok(())
}

/// Has KMS wrap a version of a vault's key.
///
/// # Errors
/// `KeyWrong` if KMS does not wrap with that key; `StorageUnavailable` if it cannot be asked.
pub async fn wrap(kms: &Client, key: &str, vault: Id, version: u32, fresh: &SecretKey) -> Result<WrappedKey> {
    let answer = kms
        .encrypt()
        .key_id(key)
        .encryption_context(CONTEXT, vault.to_string())
        .plaintext(Blob::new(fresh.expose().to_vec()))
        .send()
        .await
        .map_err(|error| refused(&error, "wrap a key with", key))?;
    let wrapped = answer.ciphertext_blob.unwrap_or_else(|| Blob::new(Vec::new())).into_inner();
    Ok(WrappedKey::wrapped_by_kms(vault, version, key, &wrapped))
}

/// Has KMS unwrap a version of a vault's key. Where the key that wrapped it is a multi-region one, its replica in the
/// client's region is asked: a copy of a vault opens there when the first region is gone.
///
/// # Errors
/// `KeyWrong` if it is not KMS that wrapped it, or KMS does not open it; `StorageUnavailable` if KMS cannot be asked.
pub async fn unwrap(kms: &Client, wrapped: &WrappedKey) -> Result<SecretKey> {
    let name = wrapped_key_name(wrapped.version);
    let wrong = |why: &str| {
        Error::new(Code::KeyWrong, format!("the key of this vault ({name}) cannot be opened: {why}"))
            .object(name.clone())
            .hint("open it where its KMS key is, with the right to use it")
    };
    let Wrapping::Kms { key } = &wrapped.wrapped_by else {
        return Err(wrong("it is wrapped by a key file; copy the vault to a home and open it there"));
    };
    let key = &nearest(kms, key);
    let ciphertext = wrapped.ciphertext().ok_or_else(|| wrong("it is no base64"))?;
    let answer = kms
        .decrypt()
        .key_id(key)
        .encryption_context(CONTEXT, wrapped.vault.to_string())
        .ciphertext_blob(Blob::new(ciphertext))
        .send()
        .await
        .map_err(|error| refused(&error, "open the vault with", key))?;
    let plain = Zeroizing::new(answer.plaintext.map(Blob::into_inner).unwrap_or_default());
    let secret = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| wrong("KMS gave no key of 32 bytes"))?;
    Ok(SecretKey::new(secret))
}

/// The key's replica in the client's region, where it may have one: `arn:PARTITION:kms:REGION:ACCOUNT:key/mrk-ID`.
fn nearest(kms: &Client, key: &str) -> String {
    let parts: Vec<&str> = key.split(':').collect();
    match (parts.as_slice(), kms.config().region()) {
        ([arn, partition, service, _, account, id], Some(region)) if id.starts_with("key/mrk-") => {
            [arn, partition, service, region.as_ref(), account, id].join(":")
        }
        _ => key.to_owned(),
    }
}

/// What KMS said, as an error that says whether to come again.
fn refused<E>(error: &SdkError<E>, doing: &str, key: &str) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let name = error.code().unwrap_or_default();
    let busy = ["ThrottlingException", "KMSInternalException", "DependencyTimeoutException"];
    let code = match error {
        SdkError::ServiceError(_) if !busy.contains(&name) => Code::KeyWrong,
        _ => Code::StorageUnavailable,
    };
    Error::new(code, format!("KMS would not {doing} {key}: {}", DisplayErrorContext(error)))
        .object(key)
        .hint("who opens the vault needs kms:Decrypt on that key, and the key must be enabled")
}
