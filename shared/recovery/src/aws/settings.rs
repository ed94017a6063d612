//! The settings of a table that a restore drops: tags, expiry, recovery, stream, protection.

use super::clients::Recovery;
use super::fault::{Side, reason, refused};
use super::table::{State, Table, describe, schema};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    PointInTimeRecoverySpecification, StreamSpecification, Tag, TimeToLiveSpecification,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use holdfast_connectors::dynamodb::TableSchema;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use std::collections::BTreeMap;

/// What a restored table should have.
#[derive(Debug, Clone)]
pub(crate) enum Settings {
    /// What a table has.
    Of(Box<TableSchema>),
    /// Only tags are known.
    Tags(BTreeMap<String, String>),
}

/// Settings that were put back or refused already, each once.
pub(crate) type Tried = Vec<String>;

/// Whether there is more to put back.
type More = bool;

struct Work<'a> {
    client: &'a Client,
    table: &'a Table,
    tried: &'a mut Tried,
    warnings: &'a mut Vec<Warning>,
}

/// Puts back as much as goes without waiting. True if another call is to go on, once the table is ACTIVE again.
///
/// # Errors
/// `Source*`, `Target*`. What the service refuses is a warning.
pub(crate) async fn settle(
    recovery: &Recovery,
    name: &str,
    wanted: &Settings,
    tried: &mut Tried,
    warnings: &mut Vec<Warning>,
) -> Result<More> {
    let client = &recovery.dynamodb;
    let Some(table) = describe(client, name, Side::Target).await? else {
        return Err(Error::new(Code::TargetInvalid, format!("there is no table {name}"))
            .object(name)
            .hint("it was deleted while it was restored: restore again"));
    };
    if table.state != State::Active {
        return Ok(true);
    }
    let now = schema(client, &table).await?;
    let before = tried.len();
    let mut work = Work { client, table: &table, tried, warnings };
    match wanted {
        Settings::Tags(tags) => work.tags(tags, &now.tags).await?,
        Settings::Of(wanted) => {
            work.tags(&wanted.tags, &now.tags).await?;
            work.expiry(wanted, &now).await?;
            work.recovery(wanted, &now).await?;
            // Each of these changes the table itself, one after the other.
            if !work.stream(wanted, &now).await? {
                work.protection(wanted, &now).await?;
            }
        }
    }
    if work.tried.len() > before {
        return Ok(true);
    }
    if let Settings::Of(wanted) = wanted {
        work.prove(wanted, &now);
    }
    Ok(false)
}

impl Work<'_> {
    /// Whether it is the setting's turn: each is put back once.
    fn turn(&mut self, setting: &str) -> bool {
        let first = !self.tried.iter().any(|tried| tried == setting);
        if first {
            self.tried.push(setting.to_owned());
        }
        first
    }

    fn not_restored(&mut self, setting: &str, why: &str) {
        let message = format!("table {}: {setting}: not put back: {why}", self.table.name);
        self.warnings.push(Warning::new("SettingNotRestored", message));
    }

    /// True if it was done; what the service refuses is a warning.
    fn done<T, E>(
        &mut self,
        setting: &str,
        answer: std::result::Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<bool>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match answer {
            Ok(_) => Ok(true),
            Err(error) if refused(&error) => {
                self.not_restored(setting, &reason(&error));
                Ok(false)
            }
            Err(error) => {
                // The next call tries again.
                self.tried.retain(|tried| tried != setting);
                let name = &self.table.name;
                Err(Side::Target.fault(&format!("set {setting} of table {name}"), name, &error))
            }
        }
    }

    async fn tags(
        &mut self,
        wanted: &BTreeMap<String, String>,
        now: &BTreeMap<String, String>,
    ) -> Result<()> {
        // Tags of AWS's own cannot be set.
        let lacking =
            wanted.iter().filter(|(name, value)| !name.starts_with("aws:") && now.get(*name) != Some(value));
        let lacking = lacking
            .map(|(name, value)| Tag::builder().key(name).value(value).build())
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(unbuilt)?;
        if lacking.is_empty() || !self.turn("tags") {
            return Ok(());
        }
        let call = self.client.tag_resource().resource_arn(&self.table.arn).set_tags(Some(lacking));
        self.done("tags", call.send().await).map(|_| ())
    }

    async fn expiry(&mut self, wanted: &TableSchema, now: &TableSchema) -> Result<()> {
        let Some(attribute) = &wanted.time_to_live else { return Ok(()) };
        if now.time_to_live.as_ref() == Some(attribute) || !self.turn("time to live") {
            return Ok(());
        }
        let specification = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(attribute)
            .build()
            .map_err(unbuilt)?;
        let call = self
            .client
            .update_time_to_live()
            .table_name(&self.table.name)
            .time_to_live_specification(specification);
        self.done("time to live", call.send().await).map(|_| ())
    }

    async fn recovery(&mut self, wanted: &TableSchema, now: &TableSchema) -> Result<()> {
        let Some(recovery) = &wanted.point_in_time_recovery else { return Ok(()) };
        if now.point_in_time_recovery.as_ref() == Some(recovery) || !self.turn("point-in-time recovery") {
            return Ok(());
        }
        let specification = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(true)
            .set_recovery_period_in_days(recovery.recovery_period_in_days)
            .build()
            .map_err(unbuilt)?;
        let call = self
            .client
            .update_continuous_backups()
            .table_name(&self.table.name)
            .point_in_time_recovery_specification(specification);
        self.done("point-in-time recovery", call.send().await).map(|_| ())
    }

    async fn stream(&mut self, wanted: &TableSchema, now: &TableSchema) -> Result<bool> {
        let Some(stream) = &wanted.create_table.stream_specification else { return Ok(false) };
        if now.create_table.stream_specification.as_ref() == Some(stream) || !self.turn("stream") {
            return Ok(false);
        }
        let specification = StreamSpecification::builder()
            .stream_enabled(true)
            .set_stream_view_type(stream.stream_view_type.as_deref().map(Into::into))
            .build()
            .map_err(unbuilt)?;
        let call =
            self.client.update_table().table_name(&self.table.name).stream_specification(specification);
        self.done("stream", call.send().await)
    }

    async fn protection(&mut self, wanted: &TableSchema, now: &TableSchema) -> Result<bool> {
        let protected = |schema: &TableSchema| schema.create_table.deletion_protection_enabled;
        if !protected(wanted) || protected(now) || !self.turn("deletion protection") {
            return Ok(false);
        }
        let call = self.client.update_table().table_name(&self.table.name).deletion_protection_enabled(true);
        self.done("deletion protection", call.send().await)
    }

    /// What should be so by now, and is not.
    fn prove(&mut self, wanted: &TableSchema, now: &TableSchema) {
        for setting in &wanted.unread {
            self.not_restored(
                &setting.replace('_', " "),
                "the source's cannot be read, or is nothing that is kept",
            );
        }
        let unreadable = |setting: &str| now.unread.iter().any(|unread| unread == setting);
        let stream = |schema: &TableSchema| schema.create_table.stream_specification.clone();
        let protected = |schema: &TableSchema| schema.create_table.deletion_protection_enabled;
        for (setting, holds) in [
            (
                "time to live",
                wanted.time_to_live.is_none()
                    || unreadable("time_to_live")
                    || wanted.time_to_live == now.time_to_live,
            ),
            (
                "point-in-time recovery",
                wanted.point_in_time_recovery.is_none()
                    || unreadable("continuous_backups")
                    || wanted.point_in_time_recovery == now.point_in_time_recovery,
            ),
            ("stream", stream(wanted).is_none() || stream(wanted) == stream(now)),
            ("deletion protection", !protected(wanted) || protected(now)),
        ] {
            let said = format!(": {setting}: not put back: ");
            if !holds && !self.warnings.iter().any(|warning| warning.message.contains(&said)) {
                self.not_restored(setting, "the service took it, and does not show it");
            }
        }
    }
}

fn unbuilt(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("a request could not be built: {error}"))
}
