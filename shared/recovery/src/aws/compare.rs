//! A restored table beside the one that it was restored from: definition, number of records, a sample of them.

use super::clients::Recovery;
use super::count::Count;
use super::fault::Side;
use super::sample;
use super::table::{Table, describe, schema};
use aws_sdk_dynamodb::Client;
use holdfast_connectors::dynamodb::CreateTable;
use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// What is compared with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison<'a> {
    pub recovery: &'a Recovery,
    /// The client that reaches both tables.
    pub client: &'a Client,
    pub restored: &'a str,
    /// None where nobody knows what it was restored from.
    pub source: Option<&'a str>,
    /// Records to compare.
    pub sample: u32,
    /// Chooses them.
    pub seed: &'a str,
}

/// How far a comparison is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    restored: Count,
    source: Count,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compared {
    /// The restored table's ARN.
    pub arn: String,
    /// Records of the restored table.
    pub restored_count: u64,
    /// Records of the table that it was restored from; none if that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_count: Option<u64>,
    /// Records of the source that were looked up in the restored table.
    pub compared: u64,
    /// Those that are the same in both.
    pub same: u64,
    /// Those that are other ones in the restored table.
    pub differing: u64,
    /// Those that the restored table lacks.
    pub missing: u64,
    /// Parts of the definition in which the tables differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definition: Vec<String>,
}

impl Compared {
    /// Whether both tables are the same as far as was looked.
    #[must_use]
    pub fn identical(&self) -> bool {
        self.source_count == Some(self.restored_count) && self.compared == self.same
    }
}

impl Comparison<'_> {
    /// Compares on; `None` if there is more to do.
    ///
    /// # Errors
    /// `TargetInvalid` if the restored table is not there or has another key than its source; `Source*`, `Target*`.
    pub(crate) async fn advance(&self, progress: &mut Progress) -> Result<Option<Compared>> {
        let restored = self.restored().await?;
        let source = match self.source {
            Some(name) => describe(self.client, name, Side::Source).await?,
            None => None,
        };
        // A new table tells no size of its own.
        let bytes = restored.bytes.max(source.as_ref().map_or(0, |source| source.bytes));
        let to = (restored.name.as_str(), Side::Target);
        progress.restored.advance(self.recovery, self.client, to, bytes).await?;
        if !progress.restored.done() {
            return Ok(None);
        }
        let mut compared = Compared {
            arn: restored.arn.clone(),
            restored_count: progress.restored.records,
            source_count: None,
            compared: 0,
            same: 0,
            differing: 0,
            missing: 0,
            definition: Vec::new(),
        };
        let Some(source) = source else { return Ok(Some(compared)) };
        let from = (source.name.as_str(), Side::Source);
        progress.source.advance(self.recovery, self.client, from, source.bytes).await?;
        if !progress.source.done() {
            return Ok(None);
        }
        compared.source_count = Some(progress.source.records);
        compared.definition = self.definition(&restored, &source).await?;
        let records = progress.source.records;
        self.look_up(&mut compared, &restored, &source, records).await?;
        Ok(Some(compared))
    }

    /// Compares definitions and a sample without counting first.
    ///
    /// # Errors
    /// As [`Comparison::advance`].
    pub(crate) async fn at_a_glance(&self) -> Result<Option<Compared>> {
        let restored = self.restored().await?;
        let Some(name) = self.source else { return Ok(None) };
        let Some(source) = describe(self.client, name, Side::Source).await? else { return Ok(None) };
        let mut compared = Compared {
            arn: restored.arn.clone(),
            restored_count: restored.items,
            source_count: Some(source.items),
            compared: 0,
            same: 0,
            differing: 0,
            missing: 0,
            definition: self.definition(&restored, &source).await?,
        };
        let records = source.items;
        self.look_up(&mut compared, &restored, &source, records).await?;
        Ok(Some(compared))
    }

    /// Whether the restored table holds nothing at all.
    ///
    /// # Errors
    /// `Target*`.
    pub(crate) async fn is_empty(&self) -> Result<bool> {
        let sample = sample::take(self.client, (self.restored, Side::Target), 1, 0, self.seed).await?;
        Ok(sample.is_empty())
    }

    async fn restored(&self) -> Result<Table> {
        let Some(table) = describe(self.client, self.restored, Side::Target).await? else {
            return Err(Error::new(Code::TargetInvalid, format!("there is no table {}", self.restored))
                .object(self.restored));
        };
        table.readable()
    }

    async fn look_up(
        &self,
        compared: &mut Compared,
        restored: &Table,
        source: &Table,
        records: u64,
    ) -> Result<()> {
        let from = (source.name.as_str(), Side::Source);
        let sample = sample::take(self.client, from, self.sample, records, self.seed).await?;
        let to = (restored.name.as_str(), Side::Target);
        let found = sample::look_up(self.client, to, &restored.key, &sample).await?;
        compared.compared = found.same + found.differing + found.missing;
        (compared.same, compared.differing, compared.missing) = (found.same, found.differing, found.missing);
        Ok(())
    }

    async fn definition(&self, restored: &Table, source: &Table) -> Result<Vec<String>> {
        let wanted = schema(self.client, source).await?.create_table;
        let made = schema(self.client, restored).await?.create_table;
        let different = different_parts(&wanted, &made);
        if different.contains(&"key") {
            return Err(Error::new(
                Code::TargetInvalid,
                format!("table {} has another key than table {}", restored.name, source.name),
            )
            .object(&restored.name)
            .hint("it was not restored from that table, or that table was made anew since"));
        }
        Ok(different.into_iter().map(str::to_owned).collect())
    }
}

/// The parts in which two tables differ, of those that a restore keeps.
pub(super) fn different_parts(wanted: &CreateTable, made: &CreateTable) -> Vec<&'static str> {
    let key = |table: &CreateTable| {
        let kind = |name: &String| {
            let part = table.attribute_definitions.iter().find(|part| part.attribute_name == *name);
            part.map(|part| part.attribute_type.clone())
        };
        let parts = table.key_schema.iter();
        parts.map(|part| (part.clone(), kind(&part.attribute_name))).collect::<Vec<_>>()
    };
    let class = |table: &CreateTable| table.table_class.clone().unwrap_or_else(|| "STANDARD".to_owned());
    // Auto scaling changes figures of indexes all the time.
    let indexes = |indexes: &[holdfast_connectors::dynamodb::Index]| {
        let parts = indexes.iter();
        parts.map(|i| (i.index_name.clone(), i.key_schema.clone(), i.projection.clone())).collect::<Vec<_>>()
    };
    [
        ("key", key(wanted) == key(made)),
        (
            "global secondary indexes",
            indexes(&wanted.global_secondary_indexes) == indexes(&made.global_secondary_indexes),
        ),
        (
            "local secondary indexes",
            indexes(&wanted.local_secondary_indexes) == indexes(&made.local_secondary_indexes),
        ),
        ("billing mode", wanted.billing_mode == made.billing_mode),
        ("encryption", wanted.sse_specification == made.sse_specification),
        ("table class", class(wanted) == class(made)),
        ("on-demand throughput", wanted.on_demand_throughput == made.on_demand_throughput),
    ]
    .into_iter()
    .filter_map(|(part, same)| (!same).then_some(part))
    .collect()
}
