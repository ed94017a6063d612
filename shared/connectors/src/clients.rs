//! Where connectors get their AWS clients.

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region};
use holdfast_vault::error::{Code, Error, Result};

/// Gives out AWS clients for an endpoint and a region. The embedded cloud has one of its own.
#[async_trait]
pub trait Clients: Send + Sync {
    /// A DynamoDB client.
    ///
    /// # Errors
    /// `InvalidInput` if the endpoint cannot be used here.
    async fn dynamodb(
        &self,
        endpoint: Option<&str>,
        region: Option<&str>,
    ) -> Result<aws_sdk_dynamodb::Client>;

    /// An S3 client.
    ///
    /// # Errors
    /// `InvalidInput` if the endpoint cannot be used here.
    async fn s3(&self, endpoint: Option<&str>, region: Option<&str>) -> Result<aws_sdk_s3::Client>;
}

/// Clients with the region and credentials that the environment gives, as the AWS CLI takes them.
#[derive(Debug, Default, Clone, Copy)]
pub struct EnvironmentClients;

/// Region, credentials and endpoint as the AWS CLI finds them, but for what is given.
pub async fn environment_config(region: Option<&str>, endpoint: Option<&str>) -> aws_config::SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

async fn load(endpoint: Option<&str>, region: Option<&str>) -> Result<aws_config::SdkConfig> {
    let bad = endpoint.filter(|text| !text.starts_with("http://") && !text.starts_with("https://"));
    if let Some(endpoint) = bad {
        return Err(Error::new(Code::InvalidInput, format!("endpoint {endpoint:?} is no http(s) address"))
            .object("endpoint")
            .hint("write it as http://127.0.0.1:8000"));
    }
    Ok(environment_config(region, endpoint).await)
}

#[async_trait]
impl Clients for EnvironmentClients {
    async fn dynamodb(
        &self,
        endpoint: Option<&str>,
        region: Option<&str>,
    ) -> Result<aws_sdk_dynamodb::Client> {
        Ok(aws_sdk_dynamodb::Client::new(&load(endpoint, region).await?))
    }

    async fn s3(&self, endpoint: Option<&str>, region: Option<&str>) -> Result<aws_sdk_s3::Client> {
        let config = aws_sdk_s3::config::Builder::from(&load(endpoint, region).await?)
            .force_path_style(endpoint.is_some())
            .build();
        Ok(aws_sdk_s3::Client::from_conf(config))
    }
}
