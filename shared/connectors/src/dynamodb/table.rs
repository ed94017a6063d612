//! The table that a restore makes: created, waited for, given its settings, removed.

use super::describe::{FILLED_BY, MADE_BY, definition, describe, point_in_time_recovery, tags, time_to_live};
use super::schema::{
    Index, OnDemandThroughput, SseSpecification, TableSchema, Throughput, attributes, key_schema,
};
use crate::aws::{Subject, Tell, not_offered};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::delete_table::DeleteTableError;
use aws_sdk_dynamodb::types::{
    PointInTimeRecoverySpecification, SseSpecification as SdkSse, TableDescription, TableStatus, Tag,
    TimeToLiveSpecification,
};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a target waits before it asks or tries again.
#[derive(Debug, Clone, Copy)]
pub struct Delays {
    /// Between two looks at a table that is being made, changed or deleted.
    pub poll: Duration,
    /// Before the first retry of what a batch left undone; each further one waits twice as long, up to 5 s.
    pub retry: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self { poll: Duration::from_secs(1), retry: Duration::from_millis(50) }
    }
}

/// A table takes seconds to make, one with indexes minutes.
const MOST_POLLS: u32 = 600;

#[derive(Debug)]
pub(crate) struct Table {
    pub client: Client,
    pub name: String,
    pub subject: Subject,
    pub delays: Delays,
}

impl Table {
    pub(crate) async fn describe(&self) -> Result<Option<TableDescription>> {
        describe(&self.client, &self.name, &self.subject).await
    }

    pub(crate) async fn tags(&self, table: &TableDescription) -> Result<BTreeMap<String, String>> {
        Ok(tags(&self.client, table, &self.subject).await?.unwrap_or_default())
    }

    /// Makes the table with the restore's tag, and waits until it can be written. What another process made
    /// meanwhile is waited for.
    pub(crate) async fn create(&self, schema: &TableSchema, restore_id: &str) -> Result<()> {
        let mut failed = None;
        for sse in ways_to_encrypt(schema.create_table.sse_specification.as_ref()) {
            match self.send_create(schema, sse, restore_id).await? {
                Ok(()) => return self.wait_active().await,
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| Error::new(Code::Internal, "no way to make a table was tried")))
    }

    /// The inner error is one that another encryption may cure.
    async fn send_create(
        &self,
        schema: &TableSchema,
        sse: Option<SdkSse>,
        restore_id: &str,
    ) -> Result<Result<()>> {
        let wanted = &schema.create_table;
        let indexes = |indexes: &[Index]| (!indexes.is_empty()).then(|| indexes.to_vec());
        let local = indexes(&wanted.local_secondary_indexes)
            .map(|indexes| indexes.iter().map(Index::to_local).collect::<Result<Vec<_>>>())
            .transpose()?;
        let global = indexes(&wanted.global_secondary_indexes)
            .map(|indexes| indexes.iter().map(Index::to_global).collect::<Result<Vec<_>>>())
            .transpose()?;
        // Tags of AWS's own cannot be set.
        let kept = schema.tags.iter().filter(|(name, _)| !name.starts_with("aws:"));
        let own = [(MADE_BY.to_owned(), restore_id.to_owned())];
        let all = kept.map(|(name, value)| (name.clone(), value.clone())).chain(own);
        let tags = all.map(|(name, value)| tag(&name, &value)).collect::<Result<Vec<_>>>()?;
        let sent = self
            .client
            .create_table()
            .table_name(&self.name)
            .set_attribute_definitions(Some(attributes(&wanted.attribute_definitions)?))
            .set_key_schema(Some(key_schema(&wanted.key_schema)?))
            .billing_mode(wanted.billing_mode.as_str().into())
            .set_provisioned_throughput(wanted.provisioned_throughput.map(Throughput::to_sdk).transpose()?)
            .set_on_demand_throughput(wanted.on_demand_throughput.map(OnDemandThroughput::to_sdk))
            .set_local_secondary_indexes(local)
            .set_global_secondary_indexes(global)
            .set_table_class(wanted.table_class.as_deref().map(Into::into))
            .set_sse_specification(sse.clone())
            .set_tags(Some(tags))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Ok(())),
            Err(error)
                if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) =>
            {
                Ok(Ok(()))
            }
            Err(error) => {
                let fault = self.subject.fault("create", Tell::All, &error);
                let curable = sse.is_some() && fault.code != Code::TargetThrottled && refused(&error);
                if curable { Ok(Err(fault)) } else { Err(fault) }
            }
        }
    }

    /// Waits until the table is there and nothing of it is being changed.
    pub(crate) async fn wait_active(&self) -> Result<()> {
        for _ in 0..MOST_POLLS {
            let status = self.describe().await?.and_then(|table| table.table_status);
            match status {
                Some(TableStatus::Active) => return Ok(()),
                None | Some(TableStatus::Creating | TableStatus::Updating) => {
                    tokio::time::sleep(self.delays.poll).await;
                }
                Some(status) => return Err(self.not_ready(status.as_str())),
            }
        }
        Err(self.not_ready("still not ACTIVE"))
    }

    pub(crate) fn not_ready(&self, status: &str) -> Error {
        Error::new(Code::TargetUnavailable, format!("table {} cannot be written: it is {status}", self.name))
            .object(self.subject.what.clone())
            .hint("try again when it is ACTIVE")
    }

    /// Marks an empty table as the one that a restore fills, where tags can be set.
    pub(crate) async fn claim(&self, table: &TableDescription, restore_id: &str) -> Result<()> {
        let Some(arn) = &table.table_arn else { return Ok(()) };
        match self.client.tag_resource().resource_arn(arn).tags(tag(FILLED_BY, restore_id)?).send().await {
            Ok(_) => Ok(()),
            Err(error) if not_offered(&error) => Ok(()),
            Err(error) => Err(self.subject.fault("tag", Tell::All, &error)),
        }
    }

    pub(crate) async fn untag(&self, table: &TableDescription, name: &str) -> Result<()> {
        let Some(arn) = &table.table_arn else { return Ok(()) };
        match self.client.untag_resource().resource_arn(arn).tag_keys(name).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.subject.fault("untag", Tell::All, &error)),
        }
    }

    /// Gives a finished table what it should not have while it is filled, or cannot be given at once: expiry, a
    /// stream, recovery, protection. Says what could not be given.
    pub(crate) async fn settle(&self, schema: &TableSchema) -> Result<Vec<Warning>> {
        let mut warnings: Vec<_> = schema
            .unread
            .iter()
            .map(|setting| self.not_restored(&setting.replace('_', " "), "the backup does not hold them"))
            .collect();
        warnings.extend(self.settle_time_to_live(schema).await?);
        warnings.extend(self.settle_recovery(schema).await?);
        warnings.extend(self.settle_stream(schema).await?);
        warnings.extend(self.settle_protection(schema).await?);
        let Some(now) = self.describe().await?.map(|table| definition(&table)) else {
            return Err(self.gone());
        };
        let wanted = &schema.create_table;
        let class = |class: &Option<String>| class.clone().unwrap_or_else(|| "STANDARD".to_owned());
        for (setting, same) in [
            ("encryption", now.sse_specification == wanted.sse_specification),
            ("table class", class(&now.table_class) == class(&wanted.table_class)),
            ("on-demand throughput", now.on_demand_throughput == wanted.on_demand_throughput),
            ("global secondary indexes", now.global_secondary_indexes == wanted.global_secondary_indexes),
            ("local secondary indexes", now.local_secondary_indexes == wanted.local_secondary_indexes),
        ] {
            if !same {
                warnings.push(self.not_restored(setting, "the endpoint did not take it as it was"));
            }
        }
        Ok(warnings)
    }

    pub(crate) fn gone(&self) -> Error {
        Error::new(Code::TargetInvalid, format!("there is no table {}", self.name))
            .object(self.subject.what.clone())
            .hint("it was deleted while it was restored: restore again")
    }

    fn not_restored(&self, setting: &str, why: &str) -> Warning {
        Warning::new("SettingNotRestored", format!("{}: {setting}: not restored: {why}", self.subject.what))
    }

    /// A setting that the endpoint refuses is a warning, whatever else fails is an error.
    fn set<T, E>(
        &self,
        setting: &str,
        answer: std::result::Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<Option<Warning>>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match answer {
            Ok(_) => Ok(None),
            Err(error) if not_offered(&error) || refused(&error) => {
                let why = error.message().or(error.code()).unwrap_or("refused").to_owned();
                Ok(Some(self.not_restored(setting, &why)))
            }
            Err(error) => Err(self.subject.fault(&format!("set {setting} of"), Tell::All, &error)),
        }
    }

    async fn settle_time_to_live(&self, schema: &TableSchema) -> Result<Option<Warning>> {
        let Some(attribute) = &schema.time_to_live else { return Ok(None) };
        if time_to_live(&self.client, &self.name, &self.subject).await?.flatten().as_ref() == Some(attribute)
        {
            return Ok(None);
        }
        let wanted = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(attribute)
            .build()
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let answer = self
            .client
            .update_time_to_live()
            .table_name(&self.name)
            .time_to_live_specification(wanted)
            .send()
            .await;
        self.set("time to live", answer)
    }

    async fn settle_recovery(&self, schema: &TableSchema) -> Result<Option<Warning>> {
        let Some(wanted) = &schema.point_in_time_recovery else { return Ok(None) };
        let now = point_in_time_recovery(&self.client, &self.name, &self.subject).await?.flatten();
        if now.as_ref() == Some(wanted) {
            return Ok(None);
        }
        let specification = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(true)
            .set_recovery_period_in_days(wanted.recovery_period_in_days)
            .build()
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let answer = self
            .client
            .update_continuous_backups()
            .table_name(&self.name)
            .point_in_time_recovery_specification(specification)
            .send()
            .await;
        self.set("point-in-time recovery", answer)
    }

    async fn settle_stream(&self, schema: &TableSchema) -> Result<Option<Warning>> {
        let Some(wanted) = &schema.create_table.stream_specification else { return Ok(None) };
        let now = self.describe().await?.map(|table| definition(&table)).ok_or_else(|| self.gone())?;
        if now.stream_specification.as_ref() == Some(wanted) {
            return Ok(None);
        }
        let answer =
            self.client.update_table().table_name(&self.name).stream_specification(wanted.to_sdk()?).send();
        let warning = self.set("stream", answer.await)?;
        self.wait_active().await?;
        Ok(warning)
    }

    async fn settle_protection(&self, schema: &TableSchema) -> Result<Option<Warning>> {
        if !schema.create_table.deletion_protection_enabled {
            return Ok(None);
        }
        self.protect(true).await
    }

    async fn protect(&self, on: bool) -> Result<Option<Warning>> {
        let answer =
            self.client.update_table().table_name(&self.name).deletion_protection_enabled(on).send().await;
        let warning = self.set("deletion protection", answer)?;
        self.wait_active().await?;
        Ok(warning)
    }

    /// Deletes the table and waits until it is gone.
    pub(crate) async fn delete(&self, table: &TableDescription) -> Result<()> {
        if table.table_status == Some(TableStatus::Creating) {
            self.wait_active().await?;
        }
        if table.deletion_protection_enabled == Some(true) {
            self.protect(false).await?;
        }
        match self.client.delete_table().table_name(&self.name).send().await {
            Ok(_) => {}
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DeleteTableError::is_resource_not_found_exception) => {}
            Err(error) => return Err(self.subject.fault("delete", Tell::All, &error)),
        }
        for _ in 0..MOST_POLLS {
            if self.describe().await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(self.delays.poll).await;
        }
        Err(self.not_ready("still being deleted"))
    }
}

fn tag(name: &str, value: &str) -> Result<Tag> {
    Tag::builder()
        .key(name)
        .value(value)
        .build()
        .map_err(|error| Error::new(Code::Internal, error.to_string()))
}

/// The key of another account, or of another region, cannot be used: then KMS's default key, then DynamoDB's own.
fn ways_to_encrypt(wanted: Option<&SseSpecification>) -> Vec<Option<SdkSse>> {
    let Some(wanted) = wanted else { return vec![None] };
    let default_key = SseSpecification { kms_master_key_id: None, ..wanted.clone() };
    vec![Some(wanted.to_sdk()), Some(default_key.to_sdk()), None]
}

/// Whether the endpoint understood a call and will not do it, however often it is asked.
fn refused<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(
        error.code(),
        Some("ValidationException" | "InvalidParameterException" | "AccessDeniedException")
    )
}
