//! The functions of the embedded cloud: the handlers by their names, and what else a state machine calls.

use crate::asl::{Failure, Objects, Tasks};
use crate::home::Home;
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error};
use holdfast_vault::storage::ByteRange;
use holdfast_workflow::{Services, handler};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::RwLock;

const INVOKE: &str = "arn:aws:states:::lambda:invoke";
const PUBLISH: &str = "arn:aws:states:::sns:publish";
/// What a state machine's `${NotificationTopicArn}` is here: a file of the home.
const TOPIC: &str = "notifications.jsonl";

/// What the placeholders of the state machines stand for.
#[must_use]
pub fn substitutions() -> BTreeMap<String, String> {
    let functions = [
        ("PlanFunctionArn", "plan"),
        ("ExportChunkFunctionArn", "export-chunk"),
        ("UploadPartFunctionArn", "upload-part"),
        ("CommitFunctionArn", "commit"),
        ("VerifyFunctionArn", "verify"),
        ("PruneFunctionArn", "prune"),
        ("RestoreFunctionArn", "restore"),
        ("DrillFunctionArn", "drill"),
        ("FailFunctionArn", "fail"),
        ("UndoFunctionArn", "undo"),
        ("CaptureFunctionArn", "capture"),
        ("NativeRestoreFunctionArn", "native-restore"),
        ("RestoreTestFunctionArn", "restore-test"),
        ("ValidateRecoveryPointsFunctionArn", "validate-recovery-points"),
        ("NotificationTopicArn", TOPIC),
    ];
    functions.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Calls handlers.
#[derive(Clone)]
pub struct Functions {
    services: Services,
    home: Arc<Home>,
    last_error: Arc<Mutex<Option<Error>>>,
    /// Held by every call, and by `fail` alone.
    calls: Arc<RwLock<()>>,
}

impl Functions {
    /// The functions over these services.
    #[must_use]
    pub fn new(services: Services, home: Arc<Home>) -> Self {
        Self { services, home, last_error: Arc::default(), calls: Arc::default() }
    }

    /// Invokes a handler by its function's name.
    ///
    /// # Errors
    /// The handler's own, or `Internal` for a name that no function has.
    pub async fn invoke(&self, function: &str, event: Value) -> Result<Value, Error> {
        let services = &self.services;
        match function {
            "capture" => holdfast_capture::handle(services, event).await,
            "plan" => holdfast_plan::handle(services, event).await,
            "export-chunk" => holdfast_export_chunk::handle(services, event).await,
            "upload-part" => holdfast_upload_part::handle(services, event).await,
            "commit" => holdfast_commit::handle(services, event).await,
            "verify" => holdfast_verify::handle(services, event).await,
            "prune" => holdfast_prune::handle(services, event).await,
            "restore" => holdfast_restore::handle(services, event).await,
            "drill" => holdfast_drill::handle(services, event).await,
            "fail" => holdfast_fail::handle(services, event).await,
            "undo" => holdfast_undo::handle(services, event).await,
            // Recovery points are AWS's own: there are none in a home.
            "native-restore" | "restore-test" | "validate-recovery-points" => {
                Err(Error::new(Code::InvalidInput, format!("{function} works on a stack only"))
                    .object(function)
                    .hint("deploy the stack, and name it with --stack"))
            }
            other => Err(Error::new(Code::Internal, format!("no function is named {other:?}"))),
        }
    }

    /// Runs a call to its end, even where nobody waits for it any more: a map that fails drops its other calls, and what
    /// they have begun on disk goes on. `fail` waits for that, so that nothing is written behind its clearing.
    async fn invoke_to_end(&self, function: String, event: Value) -> Result<Value, Error> {
        let functions = self.clone();
        let call = async move {
            if function == "fail" {
                let _alone = functions.calls.write().await;
                return functions.invoke(&function, event).await;
            }
            let _shared = functions.calls.read().await;
            functions.invoke(&function, event).await
        };
        match tokio::spawn(call).await {
            Ok(answer) => answer,
            Err(error) => Err(Error::new(Code::Internal, format!("a function ended early: {error}"))),
        }
    }

    /// The last error that a handler gave, once.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn publish(&self, parameters: &Value) -> Result<Value, Error> {
        let path = self.home.path().join(TOPIC);
        let notice = json!({
            "at": format!("{:.3}", self.services.clock.now()),
            "subject": parameters["Subject"],
            "message": parameters["Message"],
        });
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{notice}\n").as_bytes())
        };
        write().map_err(|e| {
            Error::new(Code::StorageUnavailable, format!("cannot write {}: {e}", path.display()))
        })?;
        Ok(json!({ "MessageId": notice["at"] }))
    }
}

fn failure(error: &Error) -> Failure {
    Failure::new(error.code.as_str(), handler::diagnostic(error).to_string())
}

#[async_trait]
impl Tasks for Functions {
    async fn call(&self, resource: &str, parameters: Value) -> Result<Value, Failure> {
        self.home.carry_out_cancels(&self.services).await.map_err(|error| failure(&error))?;
        let answer = match resource {
            INVOKE => {
                let function = parameters["FunctionName"].as_str().unwrap_or_default().to_owned();
                let payload = parameters.get("Payload").cloned().unwrap_or(Value::Null);
                self.invoke_to_end(function, payload).await
            }
            PUBLISH => self.publish(&parameters),
            other => Err(Error::new(Code::Internal, format!("nothing answers to {other:?} here"))),
        };
        answer.map_err(|error| {
            let told = failure(&error);
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            told
        })
    }
}

#[async_trait]
impl Objects for Functions {
    async fn read(&self, bucket: &str, key: &str, offset: u64) -> Result<Vec<u8>, Failure> {
        const PIECE: u64 = 1 << 20;
        let staging = &self.services.staging;
        if bucket != staging.name() {
            return Err(Failure::new(
                "States.ItemReaderFailed",
                format!("there is no bucket {bucket:?} here"),
            ));
        }
        let size = staging.head(key).await.map_err(|error| failure(&error))?.size;
        if offset >= size {
            return Ok(Vec::new());
        }
        let range = ByteRange::Span { start: offset, end: size.min(offset + PIECE) };
        Ok(staging.get(key, range).await.map_err(|error| failure(&error))?.into())
    }
}
