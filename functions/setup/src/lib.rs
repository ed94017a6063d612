//! Makes the vault of a stack: its description and its key, wrapped by KMS. A CloudFormation custom resource, so that a
//! stack whose key does not wrap, or whose bucket takes nothing, is rolled back before anyone trusts it.

use holdfast_kms::{create_vault, make_versions};
use holdfast_lambda::custom_resource::{Answer, Request, RequestType, answer};
use holdfast_lambda::{Environment, aws_config};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::Storage;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Versions that one request makes, at most: a slip of the keyboard is not carried out.
const VERSIONS_AT_ONCE: u32 = 10;

/// What a resource is called whose request could not be carried out before it had a name.
const NAMELESS: &str = "holdfast-vault";

/// Where the vault is, and what wraps its key.
#[derive(Debug, Clone)]
pub struct Setup {
    kms: aws_sdk_kms::Client,
    storage: Arc<dyn Storage>,
    key: String,
}

/// What the environment names.
///
/// # Errors
/// `HomeInvalid` if a variable is missing.
pub async fn open() -> Result<Setup> {
    let config = aws_config().await;
    Ok(Setup {
        kms: aws_sdk_kms::Client::new(&config),
        storage: Environment::bucket(&config, Environment::VAULT_BUCKET)?,
        key: Environment::get(Environment::KEY_ARN)?,
    })
}

/// What a template says of the vault: where it is. A vault is never moved, so that another place is another vault.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Properties {
    bucket: String,
    /// The version of the vault key that there is to be. The vault's key is rotated by raising it.
    #[serde(default)]
    key_version: Option<String>,
}

/// Makes the vault, or finds it there, and answers CloudFormation. Deleting keeps the vault: it outlives its stack.
///
/// # Errors
/// `InvalidInput` if the event is no request of CloudFormation, or what answering gives.
pub async fn handle(setup: &Setup, event: Value) -> Result<Value> {
    let request: Request = serde_json::from_value(event).map_err(|error| {
        Error::new(Code::InvalidInput, format!("the event is not understood: {error}")).object("event")
    })?;
    let known = request.physical_resource_id.clone();
    let said = if request.request_type == RequestType::Delete {
        Answer::success(&request, known.unwrap_or_else(|| NAMELESS.to_owned()), Map::new())
    } else {
        match make(setup, &request).await {
            Ok((vault, key_version)) => {
                let data = Map::from_iter([
                    ("VaultId".to_owned(), json!(vault)),
                    ("KeyVersion".to_owned(), json!(key_version.to_string())),
                ]);
                Answer::success(&request, format!("holdfast-vault-{vault}"), data)
            }
            Err(error) => {
                tracing::error!(code = error.code.as_str(), "{}", error.message);
                Answer::failed(&request, known.unwrap_or_else(|| NAMELESS.to_owned()), &error)
            }
        }
    };
    answer(&request.response_url, &said).await?;
    Ok(json!({ "status": said.status, "vault": said.physical_resource_id }))
}

/// Makes the vault and the versions of its key that are asked for. Gives its id and the newest version.
async fn make(setup: &Setup, request: &Request) -> Result<(String, u32)> {
    let properties: Properties = request.properties()?;
    if properties.bucket != setup.storage.name() {
        let told =
            format!("the vault of this stack is in {}, not in {}", setup.storage.name(), properties.bucket);
        return Err(Error::new(Code::InvalidInput, told).object("Bucket"));
    }
    let vault = create_vault(&setup.kms, setup.storage.clone(), &setup.key).await?;
    if let Some(asked) = &properties.key_version {
        let newest = vault.keys().newest_version();
        let wanted = asked.parse().ok().filter(|wanted| (1..=newest + VERSIONS_AT_ONCE).contains(wanted));
        let wanted = wanted.ok_or_else(|| {
            let told = format!("KeyVersion {asked:?} is none that can be made: the vault key has {newest}");
            Error::new(Code::InvalidInput, told).object("KeyVersion").hint(format!("give {}", newest + 1))
        })?;
        make_versions(&setup.kms, &vault, &setup.key, wanted).await?;
    }
    Ok((vault.id().to_string(), vault.keys().newest_version()))
}
