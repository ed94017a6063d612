//! Plans an undo: finds its window and stages it in pieces.

use super::piece::{About, Holds, PieceSink, Pieces, stage, window_key};
use super::{UndoDetail, UndoOf, UndoPlan, choice, record};
use crate::events::{Execution, UndoAnswer};
use crate::history::sealed::{Recorder, Section};
use crate::history::{self, Difference, Exactness};
use crate::plan::{detail, value};
use crate::services::Services;
use async_trait::async_trait;
use holdfast_common::jobs::{JobChange, JobKind, Status};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::StreamInfo;
use holdfast_vault::storage::ByteRange;

/// Where the plan stands once it is whole. It tells numbers and times alone.
pub(super) fn plan_key(job: &str) -> String {
    format!("{job}/plan.json")
}

/// The plan that counts; `None` until there is one.
pub(super) async fn staged_plan(services: &Services, job: &str) -> Result<Option<UndoPlan>> {
    let key = plan_key(job);
    let bytes = match services.staging.get(&key, ByteRange::All).await {
        Ok(bytes) => bytes,
        Err(error) if error.code == Code::ObjectMissing => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| {
        Error::new(Code::StagingDamaged, format!("staged object {key} is unreadable: {e}")).object(key)
    })
}

pub(super) async fn plan(services: &Services, id: &str, execution: &Execution) -> Result<UndoAnswer> {
    let job = services.jobs.job(id).await?;
    if job.kind != JobKind::Undo {
        return Err(Error::new(Code::JobState, format!("job {id} is a {}", job.kind)).object(id));
    }
    let change = JobChange { execution: Some(execution.execution.clone()), ..JobChange::default() };
    let job = services.jobs.transition(id, &[Status::Pending], Status::Running, change).await?;
    let mut detail: UndoDetail = detail(&job)?;
    let planned = if let Some(planned) = staged_plan(services, id).await? {
        planned
    } else {
        let planned = Box::pin(window(services, id, &detail)).await?;
        let bytes = serde_json::to_vec(&planned)
            .map_err(|e| Error::new(Code::Internal, format!("a plan has no JSON form: {e}")))?;
        services.staging.put_if_absent(&plan_key(id), bytes.into()).await?;
        staged_plan(services, id).await?.unwrap_or(planned)
    };
    let warnings = planned.exactness.notes.clone();
    let more = planned.pieces > 0;
    detail.counts.in_window = planned.window.total();
    detail.plan = Some(planned);
    let change = JobChange { detail: Some(value(&detail)?), warnings, ..JobChange::default() };
    services.jobs.update_job(id, change).await?;
    Ok(UndoAnswer { job: id.to_owned(), more })
}

async fn window(services: &Services, id: &str, detail: &UndoDetail) -> Result<UndoPlan> {
    let name = hex::encode(holdfast_vault::crypto::random::<8>()?);
    let mut about = Staging {
        services,
        undo: id,
        plan: &name,
        resource: String::new(),
        times: (String::new(), String::new()),
        pieces: 0,
    };
    let (counts, staged, exactness) = match &detail.request.of {
        UndoOf::Window { asked, .. } => {
            let window = history::window(services, asked).await?;
            about.resource.clone_from(&window.resource);
            about.times = (format!("{:.3}", window.from), format!("{:.3}", window.to));
            let mut pieces = Pieces::new(about);
            let chosen = choice(services, id, detail).await?;
            let notes = window.read(services, &chosen, &mut pieces).await?;
            let (counts, staged) = pieces.end().await?;
            let mut exactness = window.exactness;
            exactness.notes.extend(notes);
            (counts, staged, exactness)
        }
        UndoOf::Undo(of) => {
            let said = record::about(services, of).await?;
            about.resource = said.resource;
            about.times = (said.from, said.to);
            let mut pieces = Pieces::new(about);
            record::written(services, of, &mut pieces).await?;
            let (counts, staged) = pieces.end().await?;
            (counts, staged, Exactness { exact: true, ..Exactness::default() })
        }
    };
    let (from, to) = staged.times;
    Ok(UndoPlan { pieces: staged.pieces, name, from, to, window: counts, exactness })
}

/// Stages pieces under their numbers.
struct Staging<'a> {
    services: &'a Services,
    undo: &'a str,
    plan: &'a str,
    resource: String,
    times: (String, String),
    pieces: u32,
}

#[async_trait]
impl PieceSink for Staging<'_> {
    async fn piece(&mut self, stream: &StreamInfo, differences: Vec<Difference>) -> Result<()> {
        let recorder = Recorder::new(self.services.vault.keys(), self.services.clock.now().as_millisecond())?;
        let change = |of: Difference| recorder.change(&of.key, of.before, of.after);
        let changes = differences.into_iter().map(change).collect();
        let description = About {
            undo: self.undo.to_owned(),
            piece: self.pieces,
            holds: Holds::Window,
            resource: self.resource.clone(),
            stream: stream.clone(),
            from: self.times.0.clone(),
            to: self.times.1.clone(),
            plan: Some(self.plan.to_owned()),
        };
        let key = window_key(self.undo, self.plan, self.pieces);
        let section = Section { description, changes };
        stage(self.services, &key, (self.undo, self.pieces), vec![section]).await?;
        self.pieces += 1;
        Ok(())
    }
}
