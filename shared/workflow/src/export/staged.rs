//! What a step of a task puts into staging.

use super::StagedStep;
use super::seen::Seen;
use crate::services::Services;
use crate::staging;
use bytes::Bytes;
use holdfast_common::jobs::Totals;
use holdfast_connectors::Cursor;
use holdfast_vault::error::Result;
use holdfast_vault::format::manifest::StoredObject;
use holdfast_vault::model::Warning;
use holdfast_vault::write::FinishedObject;
use holdfast_vault::write::records::RunOrigins;
use serde::Deserialize;

/// The objects that a step has put into staging.
pub(crate) struct StagedObjects<'a> {
    pub(crate) services: &'a Services,
    pub(crate) job: &'a str,
    pub(crate) task: u32,
    pub(crate) step: u32,
    /// Whether they stay in staging for a join instead of being admitted.
    pub(crate) kept: bool,
    pub(crate) objects: Vec<StoredObject>,
}

impl StagedObjects<'_> {
    pub(crate) async fn put(&mut self, object: FinishedObject) -> Result<()> {
        let stored = StoredObject {
            id: object.id,
            kind: object.kind,
            size: object.bytes.len() as u64,
            parts: object.parts.iter().map(|part| part.sha256.clone()).collect(),
        };
        let key = self.key(&stored);
        // Noted before it is stored: a put that failed may still have happened.
        self.objects.push(stored);
        self.services.staging.put_if_absent(&key, object.bytes).await?;
        Ok(())
    }

    fn key(&self, object: &StoredObject) -> String {
        if self.kept {
            return format!("{}{}", staging::kept(self.job), object.key());
        }
        staging::exported(self.job, self.task, self.step, &object.id.to_string())
    }

    pub(super) async fn put_places(&self, runs: Vec<RunOrigins>) -> Result<()> {
        for run in runs {
            let mut bytes = Vec::with_capacity(run.places.len() * 8);
            for place in &run.places {
                bytes.extend_from_slice(&place.to_le_bytes());
            }
            let key = staging::places(self.job, self.task, run.run.sequence);
            self.services.staging.put_if_absent(&key, Bytes::from(bytes)).await?;
        }
        Ok(())
    }

    /// Removes what this attempt stored, but for what the winning attempt staged.
    pub(super) async fn remove_but(&self, winner: &serde_json::Value) -> Result<()> {
        let kept = StagedStep::deserialize(winner).map(|step| step.objects).unwrap_or_default();
        let keys = self
            .objects
            .iter()
            .filter(|object| !kept.iter().any(|other| other.id == object.id))
            .map(|object| self.key(object));
        staging::remove(self.services, keys.collect::<Vec<_>>()).await
    }

    pub(crate) fn staged_step(&self, cursor: Option<Cursor>, next_sequence: u32) -> StagedStep {
        let totals = Totals {
            stored_bytes: if self.kept { 0 } else { self.objects.iter().map(|object| object.size).sum() },
            ..Totals::default()
        };
        StagedStep {
            objects: self.objects.clone(),
            kept: self.kept,
            cursor,
            next_sequence,
            totals,
            warnings: Vec::new(),
            seen: None,
        }
    }

    pub(crate) fn exported(
        &self,
        cursor: Option<Cursor>,
        next_sequence: u32,
        read: Totals,
        warnings: Vec<Warning>,
        seen: Option<Seen>,
    ) -> StagedStep {
        let mut step = self.staged_step(cursor, next_sequence);
        step.totals = Totals { stored_bytes: step.totals.stored_bytes, ..read };
        StagedStep { warnings, seen, ..step }
    }
}
