//! Alarms that watch a table, copied for another table.

use super::clients::Recovery;
use super::fault::{Side, reason, refused};
use aws_sdk_cloudwatch::types::{AlarmType, Dimension, MetricAlarm, MetricDataQuery};
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;

/// The dimension by which metrics name a table.
const TABLE: &str = "TableName";
/// Alarms that auto scaling makes for its policies, and makes again for a copied policy.
const OF_SCALING: &str = "TargetTracking-";
/// The longest name of an alarm, in characters.
const LONGEST_NAME: usize = 255;

/// Copies the alarms that watch a table.
///
/// # Errors
/// `Source*`, `Target*`. What the service refuses is a warning.
pub(crate) async fn copy_alarms(
    recovery: &Recovery,
    (source, target): (&str, &str),
    warnings: &mut Vec<Warning>,
) -> Result<()> {
    let mut pages =
        recovery.alarms.describe_alarms().alarm_types(AlarmType::MetricAlarm).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            Err(error) if refused(&error) => {
                let why = format!("they cannot be read: {}", reason(&error));
                warnings.push(not_copied(target, "alarms", &why));
                return Ok(());
            }
            Err(error) => {
                return Err(Side::Source.fault(
                    &format!("read the alarms of table {source}"),
                    source,
                    &error,
                ));
            }
        };
        for alarm in page.metric_alarms.unwrap_or_default() {
            if watches(&alarm, source) {
                put(recovery, alarm, (source, target), warnings).await?;
            }
        }
    }
    Ok(())
}

fn not_copied(target: &str, alarm: &str, why: &str) -> Warning {
    Warning::new("SettingNotRestored", format!("table {target}: {alarm}: not put back: {why}"))
}

fn names(dimension: &Dimension, table: &str) -> bool {
    dimension.name.as_deref() == Some(TABLE) && dimension.value.as_deref() == Some(table)
}

fn queried(query: &MetricDataQuery) -> &[Dimension] {
    query.metric_stat.as_ref().and_then(|stat| stat.metric.as_ref()).map_or(&[], |metric| metric.dimensions())
}

fn watches(alarm: &MetricAlarm, table: &str) -> bool {
    let of_scaling = alarm.alarm_name.as_deref().is_some_and(|name| name.starts_with(OF_SCALING));
    let mut dimensions = alarm.dimensions().iter().chain(alarm.metrics().iter().flat_map(queried));
    !of_scaling && dimensions.any(|dimension| names(dimension, table))
}

/// The name of an alarm's copy: with the new table's name in the place of the old one, or behind.
fn renamed(name: &str, source: &str, target: &str) -> String {
    let name = if name.contains(source) { name.replace(source, target) } else { format!("{name}-{target}") };
    name.chars().take(LONGEST_NAME).collect()
}

fn retarget(dimensions: &mut [Dimension], source: &str, target: &str) {
    for dimension in dimensions.iter_mut().filter(|dimension| names(dimension, source)) {
        dimension.value = Some(target.to_owned());
    }
}

/// Putting an alarm that is there changes it to what is asked.
async fn put(
    recovery: &Recovery,
    mut alarm: MetricAlarm,
    (source, target): (&str, &str),
    warnings: &mut Vec<Warning>,
) -> Result<()> {
    let old = alarm.alarm_name.clone().unwrap_or_default();
    let name = renamed(&old, source, target);
    if let Some(dimensions) = alarm.dimensions.as_mut() {
        retarget(dimensions, source, target);
    }
    for query in alarm.metrics.iter_mut().flatten() {
        let metric = query.metric_stat.as_mut().and_then(|stat| stat.metric.as_mut());
        if let Some(dimensions) = metric.and_then(|metric| metric.dimensions.as_mut()) {
            retarget(dimensions, source, target);
        }
    }
    let call = recovery
        .alarms
        .put_metric_alarm()
        .alarm_name(name)
        .set_alarm_description(alarm.alarm_description)
        .set_actions_enabled(alarm.actions_enabled)
        .set_ok_actions(alarm.ok_actions)
        .set_alarm_actions(alarm.alarm_actions)
        .set_insufficient_data_actions(alarm.insufficient_data_actions)
        .set_metric_name(alarm.metric_name)
        .set_namespace(alarm.namespace)
        .set_statistic(alarm.statistic)
        .set_extended_statistic(alarm.extended_statistic)
        .set_dimensions(alarm.dimensions.filter(|dimensions| !dimensions.is_empty()))
        .set_period(alarm.period)
        .set_unit(alarm.unit)
        .set_evaluation_periods(alarm.evaluation_periods)
        .set_datapoints_to_alarm(alarm.datapoints_to_alarm)
        .set_threshold(alarm.threshold)
        .set_comparison_operator(alarm.comparison_operator)
        .set_treat_missing_data(alarm.treat_missing_data)
        .set_evaluate_low_sample_count_percentile(alarm.evaluate_low_sample_count_percentile)
        .set_metrics(alarm.metrics.filter(|metrics| !metrics.is_empty()))
        .set_threshold_metric_id(alarm.threshold_metric_id);
    match call.send().await {
        Ok(_) => Ok(()),
        Err(error) if refused(&error) => {
            warnings.push(not_copied(target, &format!("alarm {old}"), &reason(&error)));
            Ok(())
        }
        Err(error) => Err(Side::Target.fault(&format!("watch table {target}"), target, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn copies_have_names_of_their_own() {
        assert_eq!(renamed("orders-throttled", "orders", "orders-back"), "orders-back-throttled");
        assert_eq!(renamed("Throttled writes", "orders", "orders-back"), "Throttled writes-orders-back");
        assert_eq!(renamed(&"x".repeat(300), "orders", "o").len(), 255);
    }
}
