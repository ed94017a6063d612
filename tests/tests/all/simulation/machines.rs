//! The state machines, state by state as their definitions have them, and what starts and describes their executions.

use super::calls::{Request, invoke};
use super::stage::{Fate, Role, all};
use super::tally::Happened;
use super::world::{Running, World};
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::capture::{CheckAnswer, CheckEvent, ExpireEvent};
use holdfast_workflow::events::{
    BackupInput, Caught, Committed, Execution, FailEvent, JobEvent, JoinEvent, Joins, PlanEvent, Planned,
    RestoreEvent, RestoreInput, TaskAnswer, TaskEvent, UndoAnswer, UndoEvent, UndoInput, VerifyAnswer,
    VerifyEvent,
};
use holdfast_workflow::executions::{Described, ExecutionStatus, Executions, Started};
use holdfast_workflow::prune::{
    AbandonPrune, FinishPrune, PlanPrune, PruneEvent, PruneInput, PrunePlanned, SweepAnswer, SweepEvent,
};
use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;

type Outcome<T = ()> = Result<T, Caught>;
/// `TimeoutSeconds` of the state machines.
const LONGEST: SignedDuration = SignedDuration::from_hours(6);

/// Starts and describes executions, as the service does.
pub(super) struct Service(pub(super) Arc<World>);

#[async_trait]
impl Executions for Service {
    async fn start(&self, machine: &str, name: &str, input: &Value) -> Result<Started> {
        let away = || Error::new(Code::StateUnavailable, "the service is away");
        match self.0.stage.call().await {
            Fate::Before => Err(away()),
            Fate::After => {
                start(&self.0, machine, name, input.clone());
                Err(away())
            }
            _ => Ok(start(&self.0, machine, name, input.clone())),
        }
    }

    async fn describe(&self, machine: &str, name: &str) -> Result<Option<Described>> {
        self.0.stage.call().await;
        let all = self.0.executions.lock().unwrap();
        let found = all.get(&(machine.to_owned(), name.to_owned()));
        Ok(found.map(|one| Described { status: one.status, started_at: one.started_at }))
    }
}

/// Starts an execution, unless one of its name was started before.
pub(super) fn start(world: &Arc<World>, machine: &str, name: &str, input: Value) -> Started {
    let place = (machine.to_owned(), name.to_owned());
    let started_at = world.stage.now();
    let mut all = world.executions.lock().unwrap();
    if all.contains_key(&place) {
        return Started::Before;
    }
    let ends_at = Some(started_at + LONGEST);
    let (on, of) = (world.clone(), place.clone());
    let actor = world.stage.enter(Role { ends_at, ..Role::OPERATOR }, async move {
        let mut end = End { world: on, place: of, status: ExecutionStatus::TimedOut };
        end.status = run(&end.world, &end.place, input).await;
    });
    all.insert(place, Running { status: ExecutionStatus::Running, started_at, actor });
    Started::Now
}

/// Stops an execution as an operator does: what it has begun goes on, and nobody waits for it.
pub(super) fn stop(world: &World, machine: &str, name: &str) {
    let mut all = world.executions.lock().unwrap();
    let one = all.get_mut(&(machine.to_owned(), name.to_owned())).unwrap();
    if one.status == ExecutionStatus::Running {
        one.status = ExecutionStatus::Aborted;
        world.tally.count(Happened::Aborted);
        world.stage.kill(one.actor);
    }
}

/// Notes how an execution ended, also where its time was over before it did.
struct End {
    world: Arc<World>,
    place: (String, String),
    status: ExecutionStatus,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut all = self.world.executions.lock().unwrap();
        let one = all.get_mut(&self.place).unwrap();
        if one.status == ExecutionStatus::Running {
            one.status = self.status;
            if self.status == ExecutionStatus::TimedOut {
                self.world.tally.count(Happened::TimedOut);
            }
        }
    }
}

async fn run(world: &Arc<World>, place: &(String, String), input: Value) -> ExecutionStatus {
    let started_at = world.executions.lock().unwrap()[place].started_at;
    let execution = Execution { execution: place.1.clone(), started_at: format!("{started_at:.3}") };
    let machine = Machine { world, execution, input };
    let outcome = match place.0.as_str() {
        "backup" => machine.or_fail(machine.backup().await).await,
        "restore" => machine.or_fail(machine.restore().await).await,
        "undo" => machine.or_fail(machine.undo().await).await,
        "verify" => machine.verify().await,
        "prune" => machine.prune_or_abandon().await,
        "fail" => machine.fail().await,
        other => panic!("no machine is named {other}"),
    };
    if outcome.is_ok() { ExecutionStatus::Succeeded } else { ExecutionStatus::Failed }
}

struct Machine<'a> {
    world: &'a Arc<World>,
    execution: Execution,
    input: Value,
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Machine<'_> {
    async fn backup(&self) -> Outcome {
        let input: BackupInput = read(self.input.clone());
        let event = PlanEvent { input, execution: self.execution.clone() };
        let planned: Planned = read(invoke(self.world, Request::Plan(event)).await?);
        self.tasks(&planned.tasks.key).await?;
        let event = JoinEvent { join: planned.job.clone() };
        let joins: Joins = read(invoke(self.world, Request::Join(event)).await?);
        if joins.work {
            self.tasks(&joins.tasks.key).await?;
        }
        let event = JobEvent { job: planned.job };
        let committed: Committed = read(invoke(self.world, Request::Commit(event)).await?);
        // What comes after the commit fails no backup.
        let event = VerifyEvent { job: committed.job.clone(), level: None, progress: None };
        let _ = self.verified(event).await;
        if committed.captured {
            let _ = self.checked(committed.job).await;
        }
        Ok(())
    }

    /// Whether a change was missed before a backup.
    async fn checked(&self, check: String) -> Outcome {
        let mut event = CheckEvent { check, last: false };
        let answer: CheckAnswer = read(invoke(self.world, Request::Check(event.clone())).await?);
        if answer.again {
            self.world.stage.after(SignedDuration::from_secs(120)).await;
            event.last = true;
            invoke(self.world, Request::Check(event)).await?;
        }
        Ok(())
    }

    /// Every task of a list, each exported and admitted step by step.
    async fn tasks(&self, list: &str) -> Outcome {
        let each = self.list(list).await?.into_iter();
        let each = each.map(|task| Box::pin(self.task(task)) as Pin<Box<dyn Future<Output = _> + Send>>);
        map(each.collect()).await
    }

    async fn task(&self, task: TaskEvent) -> Outcome {
        loop {
            // A task that is done is admitted once more, to no effect, as the definition has it.
            invoke(self.world, Request::Export(task.clone())).await?;
            let answer: TaskAnswer = read(invoke(self.world, Request::Upload(task.clone())).await?);
            if !answer.more {
                return Ok(());
            }
        }
    }

    async fn list<T: DeserializeOwned>(&self, key: &str) -> Outcome<Vec<T>> {
        let gone = || Caught { error: "States.ItemReaderFailed".to_owned(), cause: String::new() };
        self.world.listed(key).await.ok_or_else(gone)
    }

    async fn restore(&self) -> Outcome {
        let input: RestoreInput = read(self.input.clone());
        let event = RestoreEvent::Plan { input, execution: self.execution.clone() };
        let planned: Planned = read(invoke(self.world, Request::Restore(event)).await?);
        let part = async |task: TaskEvent| {
            let event = RestoreEvent::Part(task);
            loop {
                let answer: TaskAnswer = read(invoke(self.world, Request::Restore(event.clone())).await?);
                if !answer.more {
                    return Ok(());
                }
            }
        };
        let each = self.list(&planned.tasks.key).await?.into_iter();
        map(each.map(|task| Box::pin(part(task)) as Pin<Box<dyn Future<Output = _> + Send>>).collect())
            .await?;
        let event = RestoreEvent::Finish(JobEvent { job: planned.job });
        invoke(self.world, Request::Restore(event)).await.map(|_| ())
    }

    async fn undo(&self) -> Outcome {
        let input: UndoInput = read(self.input.clone());
        let event = UndoEvent::Plan { input, execution: self.execution.clone() };
        let mut answer: UndoAnswer = read(invoke(self.world, Request::Undo(event)).await?);
        let job = JobEvent { job: answer.job.clone() };
        for step in [UndoEvent::Apply, UndoEvent::Prove] {
            loop {
                answer = read(invoke(self.world, Request::Undo(step(job.clone()))).await?);
                if !answer.more {
                    break;
                }
            }
        }
        invoke(self.world, Request::Undo(UndoEvent::Finish(job))).await.map(|_| ())
    }

    async fn verify(&self) -> Outcome {
        let text = |name: &str| self.input[name].as_str().map(str::to_owned);
        let level = text("level").or(Some("full".to_owned()));
        self.verified(VerifyEvent { job: text("verify").unwrap(), level, progress: None }).await
    }

    async fn verified(&self, mut event: VerifyEvent) -> Outcome {
        loop {
            let answer: VerifyAnswer = read(invoke(self.world, Request::Verify(event.clone())).await?);
            if !answer.more {
                self.world.tally.count(Happened::Verify);
                // A backup that is deleted meanwhile is found incomplete, and is.
                let valid = answer.valid || self.world.model.is_gone(&event.job);
                assert!(valid, "backup {} is found damaged: {:?}", event.job, answer.progress.findings);
                return Ok(());
            }
            (event.level, event.progress) = (Some(answer.level), Some(answer.progress));
        }
    }

    async fn prune_or_abandon(&self) -> Outcome {
        let model = &self.world.model;
        if model.prunes(true) > 0 {
            self.world.tally.count(Happened::TwoPrunes);
        }
        if self.world.is_at_work("backup") {
            self.world.tally.count(Happened::PruneBesideBackup);
        }
        let _counted = Counted(self.world);
        let outcome = self.prune().await;
        self.world.tally.count(if outcome.is_ok() { Happened::Prune } else { Happened::PruneFailed });
        if let Err(error) = &outcome {
            let event = AbandonPrune { execution: self.execution.clone(), error: error.clone() };
            invoke(self.world, Request::Prune(PruneEvent::Abandon(event))).await?;
        }
        outcome
    }

    async fn prune(&self) -> Outcome {
        let input: PruneInput = read(self.input.clone());
        let event = PlanPrune { input, execution: self.execution.clone() };
        let planned: PrunePlanned = loop {
            let event = PruneEvent::Plan(event.clone());
            let planned: PrunePlanned = read(invoke(self.world, Request::Prune(event)).await?);
            if !planned.more {
                break planned;
            }
        };
        if planned.expire {
            let expire =
                async |event: ExpireEvent| invoke(self.world, Request::Expire(event)).await.map(|_| ());
            let each = self.list(&planned.expiries.key).await?.into_iter();
            let each = each.map(|event| Box::pin(expire(event)) as Pin<Box<dyn Future<Output = _> + Send>>);
            map(each.collect()).await?;
        }
        let list = self.list(&planned.tasks.key).await?;
        let sweep = async |shard: SweepEvent| {
            loop {
                let event = PruneEvent::Sweep(shard.clone());
                let answer: SweepAnswer = read(invoke(self.world, Request::Prune(event)).await?);
                if !answer.more {
                    return Ok(());
                }
            }
        };
        let each = list.into_iter();
        map(each.map(|shard| Box::pin(sweep(shard)) as Pin<Box<dyn Future<Output = _> + Send>>).collect())
            .await?;
        let event = PruneEvent::Finish(FinishPrune { prune: planned.prune });
        invoke(self.world, Request::Prune(event)).await.map(|_| ())
    }

    /// Ends the job of an execution that came to nothing.
    async fn or_fail(&self, outcome: Outcome) -> Outcome {
        let id = self.job();
        if let Err(error) = &outcome {
            let (execution, input) = (self.execution.clone(), self.input.clone());
            let event = FailEvent { execution, input, error: error.clone() };
            // Where this fails too, the dispatcher finds the job.
            let _ = invoke(self.world, Request::Fail(event)).await;
        }
        self.world.ended(&id).await;
        outcome
    }

    fn job(&self) -> String {
        let named = ["restore", "undo"].iter().find_map(|kind| self.input[kind].as_str());
        named.map_or_else(|| self.execution.job_id().unwrap(), str::to_owned)
    }

    /// Ends a job whose execution died.
    async fn fail(&self) -> Outcome {
        self.world.tally.count(Happened::Swept);
        invoke(self.world, Request::Fail(read(self.input.clone()))).await.map(|_| ())
    }
}

struct Counted<'a>(&'a Arc<World>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.model.prunes(false);
    }
}

/// A map: the first item that fails ends it, and nobody waits for the others any more.
async fn map(items: Vec<Pin<Box<dyn Future<Output = Outcome> + Send + '_>>>) -> Outcome {
    all(items, Result::is_err).await.into_iter().collect()
}
