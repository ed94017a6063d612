//! What can be asked for.

use crate::Api;
use crate::answer::Answer;
use crate::request::{Request, wrong};
use holdfast_common::jobs::{BackupType, Job, JobChange, JobError, JobKind, Status};
use holdfast_connectors::TargetSpec;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::config::Resource;
use holdfast_workflow::events::{BackupInput, RestoreRequest};
use holdfast_workflow::report::{BackupReport, JobReport, leave_out_data};
use holdfast_workflow::retention::{self, Due};
use holdfast_workflow::verify::Level;
use holdfast_workflow::{drill, handler, plan, restore, status as promises};
use serde::Deserialize;
use serde_json::{Value, json};

/// Tasks that a job is told with, at most: an answer has its limits.
const TASKS_TOLD: usize = 1_000;
/// Backups in one answer.
const BACKUPS: u32 = 50;
const BACKUPS_MAX: u32 = 200;

/// Does what a request asks for.
pub(crate) async fn route(api: &Api, request: &Request) -> Result<Answer> {
    match request.route() {
        "POST /resources/{resource}/backups" => back_up(api, request).await,
        "GET /resources" => resources(api, request).await,
        "GET /status" => status(api, request).await,
        "GET /backups" => backups(api, request).await,
        "GET /jobs/{id}" => job(api, request).await,
        "POST /jobs/{id}/cancel" => cancel(api, request).await,
        "POST /backups/{id}/verify" => verify(api, request).await,
        "POST /backups/{id}/hold" => hold(api, request).await,
        "POST /backups/{id}/release" => release(api, request).await,
        "POST /backups/{id}/delete" => delete(api, request).await,
        "POST /backups/{id}/undelete" => undelete(api, request).await,
        "GET /resources/{resource}/retention" => explain(api, request).await,
        "POST /restores" => restores(api, request).await,
        other => Err(Error::new(Code::JobUnknown, format!("there is nothing at {other:?}")).object("route")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupBody {
    #[serde(default, rename = "type")]
    backup_type: Option<BackupType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyBody {
    #[serde(default)]
    level: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteBody {
    #[serde(default)]
    now: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

async fn back_up(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    let body: BackupBody = request.body()?;
    let input = BackupInput { resource: request.path("resource")?.to_owned(), backup_type: body.backup_type };
    let id = api.ids.next();
    plan::request(&api.jobs, api.clock.now(), &id, &input).await?;
    begin(api, &api.machines.backup, &id, &handler::encode(&input)?).await
}

async fn restores(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    let asked: RestoreRequest = request.body()?;
    check_restore(&asked)?;
    let id = api.ids.next();
    restore::request_unplanned(&api.jobs, api.clock.now(), &id, &asked).await?;
    begin(api, &api.machines.restore, &id, &json!({ "restore": id })).await
}

/// Starts the execution of a job that was made. Where that cannot be, the job says so.
async fn begin(api: &Api, machine: &str, id: &str, input: &Value) -> Result<Answer> {
    if let Err(error) = api.executions.start(machine, id, input).await {
        let change = JobChange { error: Some(JobError::from(&error)), ..JobChange::default() };
        if let Err(left) = api.jobs.transition(id, &[Status::Pending], Status::Failed, change).await {
            // The dispatcher finds it without an execution, and ends it.
            tracing::warn!(job = id, code = left.code.as_str(), "the job was left pending");
        }
        return Err(error);
    }
    tracing::info!(job = id, "started");
    Ok(Answer::accepted(&json!({ "id": id })))
}

fn check_restore(asked: &RestoreRequest) -> Result<()> {
    match (asked.backup.is_empty(), asked.resource.is_some(), asked.at.is_some()) {
        (false, false, false) | (true, true, true) => {}
        _ => {
            return Err(wrong("backup", "a restore is of a backup, or of a resource at a time")
                .hint("give either backup, or resource and at"));
        }
    }
    let endpoint = match &asked.target {
        TargetSpec::Dynamodb { endpoint, .. } | TargetSpec::S3 { endpoint, .. } => endpoint,
        TargetSpec::Files { .. } | TargetSpec::Jsonl { .. } | TargetSpec::Json { .. } => {
            return Err(wrong("target.kind", "a stack restores into tables and buckets").hint(
                "use dynamodb or s3; a copy of the vault restores into directories, by the command line",
            ));
        }
    };
    match endpoint {
        None => Ok(()),
        Some(_) => Err(wrong("target.endpoint", "a stack restores into its own account's services")
            .hint("leave the field out")),
    }
}

async fn resources(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    let mut told = Vec::new();
    let mut pages = api.jobs.resources();
    while let Some(page) = pages.next().await? {
        for (name, document) in page {
            let mut resource: Resource = serde_json::from_value(document).map_err(|error| {
                Error::new(Code::Internal, format!("resource {name:?} is unreadable: {error}"))
                    .object(&name)
                    .hint("apply it again")
            })?;
            leave_out_data(&mut resource.source);
            told.push(resource);
        }
    }
    Answer::ok(&json!({ "resources": handler::encode(&told)? }))
}

async fn status(api: &Api, request: &Request) -> Result<Answer> {
    let query = request.query(&["resource"])?;
    let resource = query.get("resource").copied();
    Answer::ok(&promises::report(&api.jobs, api.clock.now(), resource, true).await?)
}

async fn backups(api: &Api, request: &Request) -> Result<Answer> {
    let query = request.query(&["resource", "limit", "after"])?;
    let limit = match query.get("limit") {
        None => BACKUPS,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=BACKUPS_MAX).contains(limit)).ok_or_else(|| {
                wrong("limit", format!("{text:?} is no limit")).hint(format!("give 1 to {BACKUPS_MAX}"))
            })?
        }
    };
    let resource = query.get("resource").copied();
    let after = query.get("after").copied().filter(|after| !after.is_empty());
    let mut pages = api.jobs.jobs_before(JobKind::Backup, resource, after).page_size(limit);
    let mut jobs: Vec<Job> = Vec::new();
    // A page may be short of what was asked for: rows are of any size.
    while jobs.len() < limit as usize
        && let Some(page) = pages.next().await?
    {
        jobs.extend(page);
    }
    let more = jobs.len() >= limit as usize;
    jobs.truncate(limit as usize);
    if let Some(resource) = resource.filter(|_| jobs.is_empty() && after.is_none()) {
        // An empty list of a name that nothing has would hide a slip of the pen.
        api.jobs.resource(resource).await?;
    }
    let next = jobs.last().filter(|_| more).map(|job| job.id.clone());
    let told: Vec<BackupReport> = jobs.into_iter().map(BackupReport::new).collect();
    Answer::ok(&json!({ "backups": handler::encode(&told)?, "after": next }))
}

async fn job(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    let id = request.path("id")?;
    let job = api.jobs.job(id).await?;
    let mut tasks = Vec::new();
    let mut pages = api.jobs.tasks(id);
    while tasks.len() < TASKS_TOLD
        && let Some(page) = pages.next().await?
    {
        tasks.extend(page);
    }
    tasks.truncate(TASKS_TOLD);
    Answer::ok(&JobReport::new(job, tasks)?)
}

async fn cancel(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    request.body::<NoBody>()?;
    let from = [Status::Pending, Status::Running];
    let job =
        api.jobs.transition(request.path("id")?, &from, Status::Cancelled, JobChange::default()).await?;
    drill::cancel_restore(&api.jobs, &job).await?;
    Answer::ok(&json!({ "id": job.id, "status": job.status }))
}

async fn verify(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    let body: VerifyBody = request.body()?;
    let level: Option<Level> = match body.level {
        Some(level) => Some(level.parse().map_err(|error: Error| error.object("level"))?),
        None => None,
    };
    let id = request.path("id")?;
    let job = api.jobs.job(id).await?;
    if job.kind != JobKind::Backup || job.status != Status::Completed {
        return Err(Error::new(Code::JobState, format!("{} {id} is {}", job.kind, job.status))
            .object(id)
            .hint("only a completed backup can be verified"));
    }
    let execution = format!("verify-{id}-{}", api.ids.next());
    let mut input = json!({ "verify": id });
    if let Some(level) = level {
        input["level"] = json!(level.to_string());
    }
    api.executions.start(&api.machines.verify, &execution, &input).await?;
    Ok(Answer::accepted(&json!({ "execution": execution })))
}

async fn hold(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    let body: HoldBody = request.body()?;
    let job = retention::hold(&api.jobs, api.clock.now(), request.path("id")?, &body.reason).await?;
    Answer::ok(&BackupReport::new(job))
}

async fn release(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    request.body::<NoBody>()?;
    Answer::ok(&BackupReport::new(retention::release(&api.jobs, request.path("id")?).await?))
}

async fn delete(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    let body: DeleteBody = request.body()?;
    let due = if body.now { Due::Now } else { Due::AfterGrace };
    let job = retention::delete(&api.jobs, api.clock.now(), request.path("id")?, due).await?;
    Answer::ok(&BackupReport::new(job))
}

async fn undelete(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    request.body::<NoBody>()?;
    Answer::ok(&BackupReport::new(retention::undelete(&api.jobs, request.path("id")?).await?))
}

async fn explain(api: &Api, request: &Request) -> Result<Answer> {
    request.query(&[])?;
    Answer::ok(&retention::explain(&api.jobs, api.clock.now(), request.path("resource")?).await?)
}
