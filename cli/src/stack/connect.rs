//! Finding a stack: region and credentials as the AWS CLI takes them, and the stack's outputs.

use super::Stack;
use super::fault::{fault, name_of};
use super::outputs::Outputs;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use holdfast_common::clock::{Clock, RandomIds, SystemClock};
use holdfast_common::jobs::JobStore;
use holdfast_vault::error::{Code, Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which stack, and how it is reached; what is not given comes from the environment and the profile.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    /// The stack's name or ARN.
    pub(crate) stack: &'a str,
    /// The region.
    pub(crate) region: Option<&'a str>,
    /// The profile.
    pub(crate) profile: Option<&'a str>,
}

impl Stack {
    /// Finds a stack.
    ///
    /// # Errors
    /// `HomeInvalid` if there is no such stack, it is not one of ours, or access is refused; `InvalidInput` without a
    /// region; `StateUnavailable` if nobody answers.
    pub(crate) async fn find(access: &Access<'_>) -> Result<Self> {
        let config = config(access).await?;
        let outputs = Outputs::read(access.stack, describe(access, &config).await?)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self {
            executions: aws_sdk_sfn::Client::new(&config),
            jobs: JobStore::new(
                aws_sdk_dynamodb::Client::new(&config),
                outputs.job_table.clone(),
                clock.clone(),
            ),
            ids: RandomIds::new(clock.clone()),
            clock,
            outputs,
            config,
        })
    }
}

async fn config(access: &Access<'_>) -> Result<SdkConfig> {
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(profile) = access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = access.region.or_else(|| region_of(access.stack)) {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(Error::new(Code::InvalidInput, "no region is given for the stack")
            .object("--region")
            .hint(
                "set AWS_REGION, or a region in the profile, or write --region REGION before the command",
            ));
    }
    Ok(config)
}

/// The region in a stack's ARN.
fn region_of(stack: &str) -> Option<&str> {
    let mut parts = stack.split(':');
    let region = (parts.next() == Some("arn")).then(|| parts.nth(2)).flatten()?;
    (!region.is_empty()).then_some(region)
}

async fn describe(access: &Access<'_>, config: &SdkConfig) -> Result<BTreeMap<String, String>> {
    let Access { stack, .. } = access;
    let region = config.region().map(ToString::to_string).unwrap_or_default();
    let none = || {
        Error::new(Code::HomeInvalid, format!("there is no stack {stack} in {region}"))
            .object(*stack)
            .hint("check the name, the region and the account; `sam deploy` makes one")
    };
    let client = aws_sdk_cloudformation::Client::new(config);
    let answer = match client.describe_stacks().stack_name(*stack).send().await {
        Ok(answer) => answer,
        Err(error) if name_of(&error) == Some("ValidationError") => return Err(none()),
        Err(error) => {
            return Err(fault(&format!("find the stack {stack} in {region}"), &error).object(*stack));
        }
    };
    let found = answer.stacks.and_then(|stacks| stacks.into_iter().next()).ok_or_else(none)?;
    let outputs = found.outputs.unwrap_or_default().into_iter();
    Ok(outputs.filter_map(|output| output.output_key.zip(output.output_value)).collect())
}

#[cfg(test)]
mod tests {
    use super::region_of;

    #[test]
    fn an_arn_names_its_region() {
        assert_eq!(region_of("arn:aws:cloudformation:eu-central-1:1:stack/shop/4f"), Some("eu-central-1"));
        assert_eq!(
            [region_of("shop"), region_of("arn"), region_of("arn:aws:cloudformation::1:x")],
            [None; 3]
        );
    }
}
