//! Where connectors get their clients in the embedded cloud.

use crate::dynamodb::EmbeddedDynamoDb;
use async_trait::async_trait;
use holdfast_connectors::{Clients, EnvironmentClients, environment_config};
use holdfast_vault::error::Result;

/// The endpoint that means the DynamoDB inside the home.
pub const EMBEDDED: &str = "embedded";

/// The embedded DynamoDB under the endpoint [`EMBEDDED`], and what the environment gives under all others.
#[derive(Debug, Clone)]
pub struct HomeClients {
    tables: EmbeddedDynamoDb,
}

impl HomeClients {
    /// Clients that reach these tables.
    #[must_use]
    pub fn new(tables: EmbeddedDynamoDb) -> Self {
        Self { tables }
    }
}

#[async_trait]
impl Clients for HomeClients {
    async fn dynamodb(
        &self,
        endpoint: Option<&str>,
        region: Option<&str>,
    ) -> Result<aws_sdk_dynamodb::Client> {
        if endpoint == Some(EMBEDDED) {
            return Ok(self.tables.client());
        }
        EnvironmentClients.dynamodb(endpoint, region).await
    }

    async fn s3(&self, endpoint: Option<&str>, region: Option<&str>) -> Result<aws_sdk_s3::Client> {
        EnvironmentClients.s3(endpoint, region).await
    }
}

/// KMS, as the environment gives it.
pub(crate) async fn kms() -> aws_sdk_kms::Client {
    aws_sdk_kms::Client::new(&environment_config(None, None).await)
}
