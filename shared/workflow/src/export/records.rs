//! Takes the records of a range: all of them, or those that the base does not hold as they are.

use super::base_rows::{BaseRows, Compared};
use super::seen::Seen;
use super::staged::StagedObjects;
use crate::staging;
use async_trait::async_trait;
use bytes::Bytes;
use holdfast_common::jobs::Totals;
use holdfast_connectors::{Flow, RecordBatch, RecordRef, RecordSink};
use holdfast_vault::crypto::DigestSum;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_vault::write::RecordsWriter;
use holdfast_vault::write::records::{DeltaKind, Identity, state_digest};

/// What the records are compared with.
pub(super) enum Against {
    /// Nothing: all are stored.
    Nothing,
    /// Nothing yet: all are sorted, stay in staging, and are joined afterwards.
    Later,
    /// What the base holds.
    Base(BaseRows),
}

/// A bit for each live row of a state table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bitmap(Vec<u8>);

impl Bitmap {
    /// No bit is set.
    pub(crate) fn new(rows: usize) -> Self {
        Self(vec![0; rows.div_ceil(8)])
    }

    /// Sets a bit; false if it was set.
    pub(crate) fn set(&mut self, at: usize) -> bool {
        let (byte, bit) = (at / 8, 1_u8 << (at % 8));
        let Some(byte) = self.0.get_mut(byte) else { return false };
        let fresh = *byte & bit == 0;
        *byte |= bit;
        fresh
    }

    /// Whether a bit is set.
    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0)
    }

    /// Adds the bits of another step; false if both have one, so that two steps saw the same key.
    pub(crate) fn merge(&mut self, other: &[u8]) -> Option<bool> {
        if other.len() != self.0.len() {
            return None;
        }
        let mut apart = true;
        for (byte, more) in self.0.iter_mut().zip(other) {
            apart &= *byte & more == 0;
            *byte |= more;
        }
        Some(apart)
    }
}

/// Takes records on their way from a source into runs.
pub(super) struct RecordExport<'a, 'b> {
    pub(super) writer: RecordsWriter,
    pub(super) out: &'a mut StagedObjects<'b>,
    pub(super) budget: u64,
    pub(super) against: Against,
    pub(super) totals: Totals,
    pub(super) digest: DigestSum,
    pub(super) warnings: Vec<Warning>,
    /// The place of a record whose key had been seen by this step before.
    pub(super) twice: Option<u64>,
}

impl<'a, 'b> RecordExport<'a, 'b> {
    pub(super) fn new(
        writer: RecordsWriter,
        out: &'a mut StagedObjects<'b>,
        budget: u64,
        against: Against,
    ) -> Self {
        Self {
            writer,
            out,
            budget,
            against,
            totals: Totals::default(),
            digest: DigestSum::default(),
            warnings: Vec::new(),
            twice: None,
        }
    }

    pub(super) async fn store(&mut self) -> Result<()> {
        for object in self.writer.take_finished() {
            self.out.put(object).await?;
        }
        self.out.put_places(self.writer.take_origins()).await
    }

    /// What the step saw, its bitmap in staging; none where all is stored.
    pub(super) async fn seen(&mut self) -> Result<Option<Seen>> {
        let bitmap = match &self.against {
            Against::Nothing => return Ok(None),
            Against::Later => None,
            Against::Base(base) => {
                let key = staging::bitmap(self.out.job, self.out.task, self.out.step)?;
                let bits = Bytes::from(base.seen().0.clone());
                self.out.services.staging.put_if_absent(&key, bits).await?;
                Some(key)
            }
        };
        Ok(Some(Seen {
            records: self.totals.records,
            files: 0,
            bytes: self.totals.bytes,
            digest: hex::encode(self.digest.to_bytes()),
            bitmap,
        }))
    }

    fn take(&mut self, record: &RecordRef<'_>) -> Result<()> {
        let identity: Identity = self.writer.identify(record.key, record.value);
        let kind = match &mut self.against {
            Against::Nothing => Some(DeltaKind::Added),
            Against::Later => {
                self.digest.add(&identity.digest);
                Some(DeltaKind::Added)
            }
            Against::Base(base) => {
                self.digest.add(&identity.digest);
                match base.compare(identity.hash, identity.state_digest()) {
                    Compared::New => Some(DeltaKind::Added),
                    Compared::Other => Some(DeltaKind::Changed),
                    Compared::Same => None,
                    Compared::Twice => return Err(self.seen_twice(record.origin)),
                }
            }
        };
        match kind {
            Some(kind) => {
                self.writer.push_identified(&identity, kind, record.key, record.value, record.origin)
            }
            None => Ok(()),
        }
    }

    fn seen_twice(&mut self, origin: u64) -> Error {
        self.twice = Some(origin);
        Error::new(Code::SourceInvalid, "two records have the same key")
    }

    fn count(&mut self, value: &[u8]) {
        self.totals.records += 1;
        self.totals.bytes += value.len() as u64;
    }

    fn flow(&self) -> Flow {
        if self.totals.bytes >= self.budget { Flow::Enough } else { Flow::More }
    }
}

#[async_trait]
impl RecordSink for RecordExport<'_, '_> {
    async fn records(&mut self, batch: &RecordBatch) -> Result<Flow> {
        for record in batch.iter() {
            self.take(&record)?;
            self.count(record.value);
        }
        self.store().await?;
        Ok(self.flow())
    }

    fn known(&mut self, value: &[u8], origin: u64) -> Result<Option<Flow>> {
        let Against::Base(base) = &mut self.against else { return Ok(None) };
        let Some(digest) = self.writer.digest_of(value) else { return Ok(None) };
        match base.find(state_digest(&digest)) {
            None => return Ok(None),
            Some(Compared::Twice) => return Err(self.seen_twice(origin)),
            Some(_) => self.digest.add(&digest),
        }
        self.count(value);
        Ok(Some(self.flow()))
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}
