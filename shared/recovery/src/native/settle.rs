//! The third step: the settings that a restore drops are put back.

use super::Progress;
use crate::aws::{self, Recovery, Settings, Side, describe, schema};
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;

/// A table that is being changed is ACTIVE again after about so many seconds.
const CHANGING: u32 = 5;

pub(super) async fn settle(recovery: &Recovery, mut progress: Progress) -> Result<Progress> {
    let (settings, gone) = wanted(recovery, &progress).await?;
    let table = progress.table.clone();
    let more = aws::settle(recovery, &table, &settings, &mut progress.tried, &mut progress.warnings).await?;
    if more {
        return Ok(progress.on(CHANGING));
    }
    if gone {
        let message = format!(
            "table {table}: only tags were put back: time to live, point-in-time recovery, stream and deletion \
             protection are not known, since the table that had them is gone"
        );
        progress.warnings.push(Warning::new("SettingNotRestored", message));
    }
    if let Some(from) = progress.settings_from.clone() {
        let indexes = match &settings {
            Settings::Of(settings) => {
                let indexes = settings.create_table.global_secondary_indexes.iter();
                indexes.map(|index| index.index_name.clone()).collect()
            }
            Settings::Tags(_) => Vec::new(),
        };
        let pair = (from.as_str(), table.as_str());
        // What scales a table and watches it outlives it.
        aws::copy_scaling(recovery, pair, &indexes, &mut progress.warnings).await?;
        aws::copy_alarms(recovery, pair, &mut progress.warnings).await?;
    }
    progress.settled_at = Some(recovery.clock.now());
    Ok(progress.done())
}

/// What the new table should have, and whether the table that had it is gone.
async fn wanted(recovery: &Recovery, progress: &Progress) -> Result<(Settings, bool)> {
    if let Some(name) = &progress.settings_from
        && let Some(table) = describe(&recovery.dynamodb, name, Side::Source).await?
    {
        return Ok((Settings::Of(Box::new(schema(&recovery.dynamodb, &table).await?)), false));
    }
    let tags = match &progress.recovery_point {
        Some(point) => aws::tags(recovery, point).await?,
        None => std::collections::BTreeMap::new(),
    };
    Ok((Settings::Tags(tags), true))
}
