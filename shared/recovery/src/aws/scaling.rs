//! Auto scaling of a table and its indexes, copied for another table.

use super::clients::Recovery;
use super::fault::{Side, reason, refused};
use aws_sdk_applicationautoscaling::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_applicationautoscaling::types::{ScalableTarget, ScalingPolicy, ServiceNamespace};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;

/// What a request names at most.
const AT_ONCE: usize = 50;

/// Copies what scales a table. `indexes` are the new table's.
///
/// # Errors
/// `Source*`, `Target*`. What the service refuses is a warning.
pub(crate) async fn copy_scaling(
    recovery: &Recovery,
    (source, target): (&str, &str),
    indexes: &[String],
    warnings: &mut Vec<Warning>,
) -> Result<()> {
    let of_source = format!("table/{source}");
    let ids: Vec<String> = std::iter::once(of_source.clone())
        .chain(indexes.iter().map(|index| format!("{of_source}/index/{index}")))
        .collect();
    let rename =
        |id: &str| format!("table/{target}{}", id.strip_prefix(of_source.as_str()).unwrap_or_default());
    for some in ids.chunks(AT_ONCE) {
        let targets = match scalable(recovery, some, source).await? {
            Ok(targets) => targets,
            Err(why) => {
                warnings.push(not_copied(target, &format!("it cannot be read: {why}")));
                return Ok(());
            }
        };
        for scaled in targets {
            register(recovery, &scaled, &rename(&scaled.resource_id), target, warnings).await?;
        }
    }
    for id in &ids {
        for policy in policies(recovery, id, source).await? {
            put(recovery, &policy, &rename(id), target, warnings).await?;
        }
    }
    Ok(())
}

fn not_copied(target: &str, why: &str) -> Warning {
    Warning::new("SettingNotRestored", format!("table {target}: auto scaling: not put back: {why}"))
}

/// The inner error is why the service does not tell.
async fn scalable(
    recovery: &Recovery,
    ids: &[String],
    source: &str,
) -> Result<std::result::Result<Vec<ScalableTarget>, String>> {
    let mut pages = recovery
        .scaling
        .describe_scalable_targets()
        .service_namespace(ServiceNamespace::Dynamodb)
        .set_resource_ids(Some(ids.to_vec()))
        .into_paginator()
        .send();
    let mut targets = Vec::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => targets.extend(page.scalable_targets.unwrap_or_default()),
            Err(error) if refused(&error) => return Ok(Err(reason(&error))),
            Err(error) => {
                let doing = format!("read the auto scaling of table {source}");
                return Err(Side::Source.fault(&doing, source, &error));
            }
        }
    }
    Ok(Ok(targets))
}

async fn policies(recovery: &Recovery, id: &str, source: &str) -> Result<Vec<ScalingPolicy>> {
    let mut pages = recovery
        .scaling
        .describe_scaling_policies()
        .service_namespace(ServiceNamespace::Dynamodb)
        .resource_id(id)
        .into_paginator()
        .send();
    let mut policies = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| {
            Side::Source.fault(&format!("read the scaling policies of table {source}"), source, &error)
        })?;
        policies.extend(page.scaling_policies.unwrap_or_default());
    }
    Ok(policies)
}

/// Registering what is registered changes it to what is asked.
async fn register(
    recovery: &Recovery,
    scaled: &ScalableTarget,
    id: &str,
    target: &str,
    warnings: &mut Vec<Warning>,
) -> Result<()> {
    let call = recovery
        .scaling
        .register_scalable_target()
        .service_namespace(ServiceNamespace::Dynamodb)
        .resource_id(id)
        .scalable_dimension(scaled.scalable_dimension.clone())
        .min_capacity(scaled.min_capacity)
        .max_capacity(scaled.max_capacity)
        .set_suspended_state(scaled.suspended_state.clone());
    settled(call.send().await, target, warnings)
}

/// What is refused is told, and no reason to give up the rest.
fn settled<T, E>(
    answer: Result<T, SdkError<E, HttpResponse>>,
    target: &str,
    warnings: &mut Vec<Warning>,
) -> Result<()>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match answer {
        Ok(_) => Ok(()),
        Err(error) if refused(&error) => {
            warnings.push(not_copied(target, &reason(&error)));
            Ok(())
        }
        Err(error) => Err(Side::Target.fault(&format!("scale table {target}"), target, &error)),
    }
}

async fn put(
    recovery: &Recovery,
    policy: &ScalingPolicy,
    id: &str,
    target: &str,
    warnings: &mut Vec<Warning>,
) -> Result<()> {
    let call = recovery
        .scaling
        .put_scaling_policy()
        .policy_name(&policy.policy_name)
        .service_namespace(ServiceNamespace::Dynamodb)
        .resource_id(id)
        .scalable_dimension(policy.scalable_dimension.clone())
        .policy_type(policy.policy_type.clone())
        .set_step_scaling_policy_configuration(policy.step_scaling_policy_configuration.clone())
        .set_target_tracking_scaling_policy_configuration(
            policy.target_tracking_scaling_policy_configuration.clone(),
        );
    settled(call.send().await, target, warnings)
}
