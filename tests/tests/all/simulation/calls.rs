//! Calls of handlers as a state machine makes them, and worse: twice at once, late, with answers that are lost.

use super::stage::Teller;
use super::tally::Happened;
use super::world::World;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::capture::{self, CaptureEvent, CheckEvent, ExpireEvent};
use holdfast_workflow::events::{
    Caught, FailEvent, JobEvent, JoinEvent, PlanEvent, RestoreEvent, TaskEvent, UndoEvent, VerifyEvent,
};
use holdfast_workflow::prune::{self, PruneEvent};
use holdfast_workflow::{Services, commit, export, fail, handler, join, plan, restore, undo, upload, verify};
use jiff::SignedDuration;
use serde_json::Value;
use std::sync::Arc;

/// A call of a handler.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Plan(PlanEvent),
    Join(JoinEvent),
    Export(TaskEvent),
    Upload(TaskEvent),
    Commit(JobEvent),
    Verify(VerifyEvent),
    Restore(RestoreEvent),
    Undo(UndoEvent),
    Prune(PruneEvent),
    Capture(CaptureEvent),
    Check(CheckEvent),
    Expire(ExpireEvent),
    Fail(FailEvent),
}

impl Request {
    /// The job that is worked on, where the call names one.
    pub(super) fn job(&self) -> Option<String> {
        match self {
            Self::Plan(event) => event.execution.job_id().ok(),
            Self::Join(event) => Some(event.join.clone()),
            Self::Export(event) | Self::Upload(event) | Self::Restore(RestoreEvent::Part(event)) => {
                Some(event.job.clone())
            }
            Self::Commit(event) | Self::Restore(RestoreEvent::Finish(event)) => Some(event.job.clone()),
            _ => None,
        }
    }
}

async fn perform(services: &Services, request: &Request) -> Result<Value> {
    match request {
        Request::Plan(event) => handler::encode(&plan::plan(services, event).await?),
        Request::Join(event) => handler::encode(&join::plan(services, event).await?),
        Request::Export(event) => handler::encode(&export::export_chunk(services, event).await?),
        Request::Upload(event) => handler::encode(&upload::upload_part(services, event).await?),
        Request::Commit(event) => handler::encode(&commit::commit(services, event).await?),
        Request::Verify(event) => handler::encode(&verify::verify(services, event).await?),
        Request::Restore(event) => restore::restore(services, event).await,
        Request::Undo(event) => handler::encode(&undo::undo(services, event).await?),
        Request::Prune(event) => prune::prune(services, event).await,
        Request::Capture(event) => handler::encode(&capture::capture(services, event).await?),
        Request::Check(event) => handler::encode(&capture::check(services, event).await?),
        Request::Expire(event) => handler::encode(&capture::expire(services, event).await?),
        Request::Fail(event) => handler::encode(&fail::fail(services, event).await?),
    }
}

/// A class of errors that a state is tried again for, as the definitions of the state machines have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Ports,
    Lambda,
    Staging,
}

impl Class {
    fn of(request: &Request, error: &str) -> Option<Self> {
        match error {
            "StorageUnavailable" | "StateUnavailable" | "StateConflict" => Some(Self::Ports),
            "Lambda.Unknown" => Some(Self::Lambda),
            "StagingDamaged" => {
                matches!(request, Request::Upload(_) | Request::Undo(_)).then_some(Self::Staging)
            }
            _ => None,
        }
    }

    const fn tries(self, request: &Request) -> usize {
        match (self, request) {
            (Self::Ports, Request::Fail(_)) => 8,
            (Self::Ports, _) => 5,
            (Self::Lambda, _) => 3,
            (Self::Staging, _) => 2,
        }
    }
}

/// Calls a handler until it answers, as often as its state is tried.
pub(super) async fn invoke(world: &Arc<World>, request: Request) -> Result<Value, Caught> {
    let mut failed: Vec<Class> = Vec::new();
    loop {
        let caught = match once(world, &request).await {
            Ok(answer) => return Ok(answer),
            Err(caught) => caught,
        };
        let Some(class) = Class::of(&request, &caught.error) else { return Err(caught) };
        let before = failed.iter().filter(|of| **of == class).count();
        if before >= class.tries(&request) {
            return Err(caught);
        }
        failed.push(class);
        world.tally.count(Happened::Retried);
        let most = (2_u64 << before).min(60);
        let wait = world.chance(|chance| chance.below(most * 1000));
        world.stage.after(SignedDuration::from_millis(i64::try_from(wait).unwrap())).await;
    }
}

async fn once(world: &Arc<World>, request: &Request) -> Result<Value, Caught> {
    if world.mishap(1) {
        // Throttled for hours, so that an execution may run out of time, and a backup become too old to be completed.
        world.tally.count(Happened::Slow);
        let wait = world.chance(|chance| chance.below(400));
        world.stage.after(SignedDuration::from_mins(i64::try_from(wait).unwrap())).await;
    }
    if world.mishap(5) {
        world.tally.count(Happened::Twin);
        begin(world, request.clone(), None);
    }
    if world.mishap(5) {
        later(world, request.clone());
    }
    let lost = world.mishap(3);
    let (teller, listener) = world.stage.line();
    begin(world, request.clone(), Some(teller));
    if lost {
        // Whoever called gives up, and the handler goes on.
        world.tally.count(Happened::LostAnswer);
        let wait = world.chance(|chance| chance.below(900));
        world.stage.after(SignedDuration::from_secs(i64::try_from(wait).unwrap())).await;
        return Err(unknown());
    }
    match listener.await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => Err(caught(&error)),
        None => Err(unknown()),
    }
}

/// What a state catches of a handler's error.
fn caught(error: &Error) -> Caught {
    Caught { error: error.code.to_string(), cause: handler::diagnostic(error).to_string() }
}

/// What a state catches of a function that crashed, or ran out of time.
fn unknown() -> Caught {
    Caught { error: "Lambda.Unknown".to_owned(), cause: String::new() }
}

/// Begins a call of a handler; somebody may wait for what it answers.
fn begin(world: &Arc<World>, request: Request, teller: Option<Teller<Result<Value>>>) {
    let (on, mut role) = (world.clone(), world.handler());
    // What a time was is read from what is listed, which S3 and directories tell as it is.
    role.weather.reads_changes = matches!(request, Request::Restore(_));
    world.stage.enter(role, async move {
        let answer = perform(&on.rough, &request).await;
        if let Err(error) = &answer
            && error.code == Code::Internal
        {
            on.is_excused(&request, error).await;
        }
        if let Some(teller) = teller {
            teller.tell(answer);
        }
    });
}

/// Makes a call once more, minutes or days later.
fn later(world: &Arc<World>, request: Request) {
    let on = world.clone();
    let minutes = world.chance(|chance| {
        // A stream holds its records for a day; what a machine called may come at any time.
        let days = !matches!(request, Request::Capture(_));
        let most = chance.of(if days { &[3, 30, 300, 600, 3_000, 10_000][..] } else { &[3, 30, 300, 600] });
        chance.below(most)
    });
    let time = world.stage.now() + SignedDuration::from_mins(i64::try_from(minutes).unwrap());
    world.stage.enter(super::stage::Role::OPERATOR, async move {
        on.stage.until(time).await;
        on.tally.count(Happened::Late);
        begin(&on, request, None);
    });
}
