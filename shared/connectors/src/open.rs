//! Opens the connector that a spec names.

use crate::clients::Clients;
use crate::document::{DocumentSource, DocumentTarget};
use crate::dynamodb::{DynamoDbSource, DynamoDbTarget};
use crate::files::{FilesSource, FilesTarget};
use crate::jsonl::{JsonlSource, JsonlTarget};
use crate::s3::{S3Source, S3Target};
use crate::source::Source;
use crate::spec::{Limits, SourceSpec, TargetSpec};
use crate::target::{RestoreOrder, Target};
use holdfast_vault::error::Result;

/// The source of a spec. Nothing is asked of it yet.
///
/// # Errors
/// `InvalidInput` if the spec cannot be used here.
pub async fn open_source(
    spec: &SourceSpec,
    limits: Limits,
    workers: u32,
    clients: &dyn Clients,
) -> Result<Box<dyn Source>> {
    Ok(match spec {
        SourceSpec::Files { path } => Box::new(FilesSource::new(path)),
        SourceSpec::Jsonl { path, key } => Box::new(JsonlSource::new(path, key.clone())?),
        SourceSpec::Json { document, path } => {
            Box::new(DocumentSource::new(document.as_ref(), path.as_deref())?)
        }
        SourceSpec::Dynamodb { table, endpoint, region } => {
            let client = clients.dynamodb(endpoint.as_deref(), region.as_deref()).await?;
            Box::new(DynamoDbSource::new(client, table, limits, workers))
        }
        SourceSpec::S3 { bucket, prefix, endpoint, region } => {
            let client = clients.s3(endpoint.as_deref(), region.as_deref()).await?;
            Box::new(S3Source::new(client, bucket, prefix))
        }
    })
}

/// The target of a spec, for one restore. Nothing is asked of it yet.
///
/// # Errors
/// `InvalidInput` if the spec cannot be used here.
pub async fn open_target(
    spec: &TargetSpec,
    order: &RestoreOrder,
    limits: Limits,
    clients: &dyn Clients,
) -> Result<Box<dyn Target>> {
    Ok(match spec {
        TargetSpec::Files { path } => Box::new(FilesTarget::new(path, order)),
        TargetSpec::Jsonl { path } => Box::new(JsonlTarget::new(path, order)),
        TargetSpec::Json { path } => Box::new(DocumentTarget::new(path, order)),
        TargetSpec::Dynamodb { table, endpoint, region } => {
            let client = clients.dynamodb(endpoint.as_deref(), region.as_deref()).await?;
            Box::new(DynamoDbTarget::new(client, table, limits, order.on_conflict))
        }
        TargetSpec::S3 { bucket, prefix, endpoint, region } => {
            let client = clients.s3(endpoint.as_deref(), region.as_deref()).await?;
            Box::new(S3Target::new(client, bucket, prefix, order.on_conflict))
        }
    })
}
