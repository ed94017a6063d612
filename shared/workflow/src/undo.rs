//! Takes a window of writes back, in place: plan, apply, prove, finish.
//!
//! The plan keeps the window, sealed, in pieces in staging. Each piece is put back once in effect, however often its
//! step runs: what stood before is noted first, what was written goes into the vault. In the end the records are read
//! again and compared with what they should be.

mod abandon;
mod apply;
mod dry_run;
mod model;
mod piece;
mod plan;
mod prove;
mod record;

pub use dry_run::{DryRun, dry_run};
pub use model::{Conflict, UndoCounts, UndoDetail, UndoOf, UndoPlan, UndoRequest};
pub use record::conflicts;

pub(crate) use abandon::abandon;

use crate::config::Resource;
use crate::events::{UndoAnswer, UndoEvent};
use crate::history::Choice;
use crate::plan::value;
use crate::services::{Services, Step};
use holdfast_common::jobs::{Job, JobKind, JobStore, Status};
use holdfast_connectors::{Live, open_live};
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;

/// Carries out one step of an undo.
///
/// # Errors
/// `JobUnknown`, `TargetConflict` if the policy is to fail or the proof fails, `Target*`, `Object*`, `Cancelled`, or
/// what state and storage give.
#[must_use]
pub fn undo<'a>(services: &'a Services, event: &'a UndoEvent) -> Step<'a, UndoAnswer> {
    Box::pin(async move {
        match event {
            UndoEvent::Plan { input, execution } => {
                Box::pin(plan::plan(services, &input.undo, execution)).await
            }
            UndoEvent::Apply(event) => apply::apply(services, &event.job).await,
            UndoEvent::Prove(event) => prove::prove(services, &event.job).await,
            UndoEvent::Finish(event) => prove::finish(services, &event.job).await,
        }
    })
}

/// Makes the job of an undo, pending, so that an execution can be started with its id alone. `keys` are the only
/// records that are meant, as an operator types them.
///
/// # Errors
/// `InvalidInput` if the window or the resource is not one that can be undone, `JobUnknown` if there is no such undo to
/// be taken back, or what state and staging give.
#[must_use]
pub fn request<'a>(
    services: &'a Services,
    id: &'a str,
    request: &'a UndoRequest,
    keys: Option<&'a [String]>,
) -> Step<'a, Job> {
    Box::pin(async move {
        let resource = check(services, request).await?;
        if let Some(keys) = keys {
            piece::keep_keys(services, id, keys).await?;
        }
        let detail = UndoDetail::new(request.clone(), keys.is_some());
        let job = Job::new(id, JobKind::Undo, &resource, services.clock.now(), value(&detail)?);
        services.jobs.create_job(&job).await
    })
}

/// As [`request`], where job state is at hand and the vault is not: what the vault must say, the plan asks it. There is
/// no list of keys then, since a list is sealed.
///
/// # Errors
/// `ResourceUnknown`, `JobUnknown` if there is no such undo to be taken back, or what state gives.
pub async fn request_unplanned(
    jobs: &JobStore,
    now: Timestamp,
    id: &str,
    request: &UndoRequest,
) -> Result<Job> {
    let resource = match &request.of {
        UndoOf::Window { asked, .. } => {
            jobs.resource(&asked.resource).await?;
            asked.resource.clone()
        }
        UndoOf::Undo(of) => {
            let job = jobs.job(of).await?;
            if job.kind != JobKind::Undo {
                return Err(
                    Error::new(Code::JobUnknown, format!("{of} is a {}, no undo", job.kind)).object(of)
                );
            }
            job.resource
        }
    };
    let detail = UndoDetail::new(request.clone(), false);
    jobs.create_job(&Job::new(id, JobKind::Undo, &resource, now, value(&detail)?)).await
}

/// The resource's name, if an undo can work in it.
async fn check(services: &Services, request: &UndoRequest) -> Result<String> {
    let resource = match &request.of {
        UndoOf::Window { asked, .. } => asked.resource.clone(),
        UndoOf::Undo(id) => record::about(services, id).await?.resource,
    };
    live(services, &resource).await?;
    if let UndoOf::Window { asked, .. } = &request.of {
        crate::history::window(services, asked).await?;
    }
    Ok(resource)
}

/// The resource itself, to be written into.
async fn live(services: &Services, resource: &str) -> Result<Box<dyn Live>> {
    let document = services.jobs.resource(resource).await?;
    let resource: Resource = serde_json::from_value(document)
        .map_err(|e| Error::new(Code::Internal, format!("resource {resource:?} is unreadable: {e}")))?;
    open_live(&resource.source, resource.policy.limits, services.clients.as_ref()).await
}

/// The job of an undo that is at work, and what it keeps.
async fn running(services: &Services, id: &str) -> Result<(Job, UndoDetail, UndoPlan)> {
    let job = services.jobs.job(id).await?;
    if job.status != Status::Running {
        return Err(Error::new(Code::Cancelled, format!("undo {id} is {}", job.status)).object(id));
    }
    let detail: UndoDetail = crate::plan::detail(&job)?;
    let plan = detail.plan.clone();
    let plan = plan.ok_or_else(|| Error::new(Code::Internal, format!("undo {id} was not planned")))?;
    Ok((job, detail, plan))
}

/// What of a window is meant.
async fn choice(services: &Services, id: &str, detail: &UndoDetail) -> Result<Choice> {
    let filter = match &detail.request.of {
        UndoOf::Window { filter, .. } => filter.clone(),
        UndoOf::Undo(_) => holdfast_connectors::RecordFilter::default(),
    };
    let keys = if detail.listed { Some(piece::kept_keys(services, id).await?) } else { None };
    Ok(Choice { filter, keys })
}
