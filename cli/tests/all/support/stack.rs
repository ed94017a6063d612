//! A stack in this process: the calls of CloudFormation and Step Functions that the command line makes, answered over the
//! very state machines and handlers, with a DynamoDB behind its HTTP API.

use crate::support::{Place, Ran};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, Tag,
};
use holdfast_common::clock::SystemClock;
use holdfast_common::jobs::{JobKind, JobStore};
use holdfast_connectors::Clients;
use holdfast_local::asl::{
    self, Event, ExecutionOutcome, Failure, Happening, Interpreter, Observer, Ports, StateMachine, Tasks,
    WallTime,
};
use holdfast_local::functions::{Functions, substitutions};
use holdfast_local::{Cloud, Home};
use holdfast_vault::error::Result;
use holdfast_workflow::Services;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

const ACCOUNT: &str = "arn:aws:states:eu-central-1:123456789012";
const JOBS: &str = "shop-jobs";

/// The stack `shop` with a table `orders` that it may read, and tables `restored-*` that it may write.
pub(crate) struct Stack {
    pub(crate) place: Place,
    pub(crate) world: Arc<World>,
    runtime: Runtime,
    dynamodb: String,
    control: String,
}

/// What the calls are answered with.
pub(crate) struct World {
    client: Client,
    pub(crate) jobs: JobStore,
    outputs: Mutex<BTreeMap<String, String>>,
    machines: HashMap<String, StateMachine>,
    interpreter: Interpreter,
    executions: Mutex<HashMap<String, Execution>>,
    pub(crate) gate: Arc<Gate>,
    vault: PathBuf,
    handle: tokio::runtime::Handle,
    _cloud: Cloud,
}

/// An execution, as it is told.
#[derive(Default)]
struct Execution {
    input: String,
    outcome: Option<ExecutionOutcome>,
    events: Vec<Value>,
}

/// Stands before the functions: may refuse a call or hold it.
pub(crate) struct Gate {
    functions: Functions,
    /// A function that fails with this error.
    pub(crate) refusal: Mutex<Option<(String, Failure)>>,
    /// A function whose calls wait for a permit.
    pub(crate) held: Mutex<Option<String>>,
    pub(crate) arrived: Semaphore,
    pub(crate) go: Semaphore,
}

#[async_trait]
impl Tasks for Gate {
    async fn call(&self, resource: &str, parameters: Value) -> Result<Value, Failure> {
        let function = parameters["FunctionName"].as_str().unwrap_or_default().to_owned();
        let refusal = self.refusal.lock().unwrap().clone();
        if let Some((_, failure)) = refusal.filter(|(of, _)| *of == function) {
            return Err(failure);
        }
        if self.held.lock().unwrap().as_ref() == Some(&function) {
            self.arrived.add_permits(1);
            self.go.acquire().await.unwrap().forget();
        }
        self.functions.call(resource, parameters).await
    }
}

/// Writes what happens into the histories.
struct Histories(Mutex<Option<std::sync::Weak<World>>>);

#[async_trait]
impl Observer for Histories {
    async fn observe(&self, event: &Event<'_>) {
        let Some(world) = self.0.lock().unwrap().as_ref().and_then(std::sync::Weak::upgrade) else { return };
        let told = match event.what {
            Happening::StateEntered { state, kind, .. } => {
                json!({ "type": format!("{kind}StateEntered"), "stateEnteredEventDetails": { "name": state } })
            }
            Happening::StateRetried { failure, .. } | Happening::StateCaught { failure, .. } => {
                let details = json!({
                    "resourceType": "lambda", "resource": "invoke",
                    "error": failure.error, "cause": failure.cause,
                });
                json!({ "type": "TaskFailed", "taskFailedEventDetails": details })
            }
            _ => return,
        };
        let mut executions = world.executions.lock().unwrap();
        let name = format!(":{}", event.execution);
        if let Some((_, execution)) = executions.iter_mut().find(|(arn, _)| arn.ends_with(&name)) {
            let mut told = told;
            told["id"] = json!(execution.events.len() + 1);
            told["timestamp"] = json!(1_793_491_200.0);
            execution.events.push(told);
        }
    }
}

/// Every table is on the one endpoint.
struct Tables(Client);

#[async_trait]
impl Clients for Tables {
    async fn dynamodb(&self, _: Option<&str>, _: Option<&str>) -> Result<Client> {
        Ok(self.0.clone())
    }

    async fn s3(&self, endpoint: Option<&str>, region: Option<&str>) -> Result<aws_sdk_s3::Client> {
        holdfast_connectors::EnvironmentClients.s3(endpoint, region).await
    }
}

impl Stack {
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let place = Place::new();
        let (world, dynamodb) = runtime.block_on(World::new(&place));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let control = format!("http://{}", listener.local_addr().unwrap());
        let serving = world.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let world = serving.clone();
                std::thread::spawn(move || world.serve(&stream));
            }
        });
        place.write(
            "resources.yaml",
            "resources:\n\
             - name: orders\n  source: { kind: dynamodb, table: orders }\n  policy: { tier: critical }\n",
        );
        Self { place, world, runtime, dynamodb, control }
    }

    /// A command that finds the stack's services here.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        command
            .env("AWS_ENDPOINT_URL", &self.control)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.dynamodb)
            .env("AWS_REGION", "eu-central-1")
            .env("HOLDFAST_STACK", "shop");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    pub(crate) fn json(&self, args: &[&str]) -> Ran {
        self.run(&[args, &["--json"]].concat())
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The directory that stands for the vault bucket.
    pub(crate) fn vault(&self) -> PathBuf {
        self.world.vault.clone()
    }

    /// Gives an output another value.
    pub(crate) fn output(&self, name: &str, value: &str) {
        self.world.outputs.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// The items of a table, by their ids.
    pub(crate) fn items(&self, table: &str) -> BTreeMap<String, String> {
        let scanned = self.block_on(self.world.client.scan().table_name(table).send()).unwrap();
        let text = |value: &AttributeValue| format!("{value:?}");
        scanned.items().iter().map(|item| (text(&item["id"]), text(&item["price"]))).collect()
    }

    /// Gives an order a price.
    pub(crate) fn put(&self, id: &str, price: u32) {
        let put =
            self.world.client.put_item().table_name("orders").item("id", AttributeValue::S(id.to_owned()));
        self.block_on(put.item("price", AttributeValue::N(price.to_string())).send()).unwrap();
    }

    /// The restores that job state has.
    pub(crate) fn restores(&self) -> usize {
        self.block_on(self.world.jobs.jobs(JobKind::Restore, None).all()).unwrap().len()
    }

    pub(crate) fn tag(&self, table: &str, key: &str, value: &str) {
        let arn = format!("arn:aws:dynamodb:eu-central-1:123456789012:table/{table}");
        let tag = Tag::builder().key(key).value(value).build().unwrap();
        self.block_on(self.world.client.tag_resource().resource_arn(arn).tags(tag).send()).unwrap();
    }
}

impl World {
    async fn new(place: &Place) -> (Arc<Self>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let database = dynoxide::Database::memory().unwrap();
        tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()));
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("none", "none", None, None, "tests"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(&endpoint)
            .build();
        let client = Client::from_conf(config);
        let jobs = JobStore::new(client.clone(), JOBS, Arc::new(SystemClock));
        jobs.create_table_if_missing().await.unwrap();
        fill(&client).await;
        let options = holdfast_local::Options { create: true, ..Default::default() };
        let cloud = Cloud::open(&place.path("cloud"), options).await.unwrap();
        let services = Services {
            jobs: jobs.clone(),
            clients: Arc::new(Tables(client.clone())),
            ..cloud.services().clone()
        };
        let home = Arc::new(Home::open(&place.path("topic"), true).unwrap());
        let functions = Functions::new(services, home);
        let gate = Arc::new(Gate {
            functions: functions.clone(),
            refusal: Mutex::default(),
            held: Mutex::default(),
            arrived: Semaphore::new(0),
            go: Semaphore::new(0),
        });
        let histories = Arc::new(Histories(Mutex::default()));
        let ports = Ports {
            tasks: gate.clone(),
            objects: Arc::new(functions),
            time: Arc::new(WallTime),
            observer: histories.clone(),
        };
        let world = Arc::new(Self {
            client,
            jobs,
            outputs: Mutex::new(outputs()),
            machines: machines(),
            interpreter: Interpreter::new(ports, asl::Options::default()),
            executions: Mutex::default(),
            gate,
            vault: place.path("cloud/vault"),
            handle: tokio::runtime::Handle::current(),
            _cloud: cloud,
        });
        *histories.0.lock().unwrap() = Some(Arc::downgrade(&world));
        (world, endpoint)
    }

    /// What executions were started with.
    pub(crate) fn inputs(&self) -> Vec<String> {
        self.executions.lock().unwrap().values().map(|of| of.input.clone()).collect()
    }

    fn serve(self: Arc<Self>, stream: &TcpStream) {
        let Some((target, body)) = request(stream) else { return };
        let (status, kind, answer) = if target.is_empty() {
            let (status, xml) = self.describe_stacks(&body);
            (status, "text/xml", xml)
        } else {
            let (status, json) = self.step_functions(&target, &serde_json::from_str(&body).unwrap());
            (status, "application/x-amz-json-1.0", json.to_string())
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        // A client that was stopped takes no answer.
        let mut to = stream;
        let _ = to.write_all((head + &answer).as_bytes());
    }

    fn describe_stacks(&self, body: &str) -> (u16, String) {
        if !body.split('&').any(|part| part == "StackName=shop") {
            let error =
                "<Type>Sender</Type><Code>ValidationError</Code><Message>Stack does not exist</Message>";
            return (400, format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>"));
        }
        let member = |(name, value): (&String, &String)| {
            format!("<member><OutputKey>{name}</OutputKey><OutputValue>{value}</OutputValue></member>")
        };
        let outputs: String = self.outputs.lock().unwrap().iter().map(member).collect();
        let stack = format!(
            "<StackName>shop</StackName><CreationTime>2026-11-01T00:00:00Z</CreationTime>\
             <StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs>"
        );
        let result = format!("<Stacks><member>{stack}</member></Stacks>");
        (
            200,
            format!(
                "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\
                 <DescribeStacksResult>{result}</DescribeStacksResult></DescribeStacksResponse>"
            ),
        )
    }

    fn step_functions(self: &Arc<Self>, target: &str, asked: &Value) -> (u16, Value) {
        match target {
            "AWSStepFunctions.StartExecution" => self.start(asked),
            "AWSStepFunctions.DescribeExecution" => self.tell(asked, |arn, of| {
                let (status, more) = match &of.outcome {
                    None => ("RUNNING", json!({})),
                    Some(ExecutionOutcome::Succeeded { output }) => {
                        ("SUCCEEDED", json!({ "output": output.to_string() }))
                    }
                    Some(ExecutionOutcome::Failed { error, cause }) => {
                        ("FAILED", json!({ "error": error, "cause": cause }))
                    }
                    Some(ExecutionOutcome::TimedOut) => ("TIMED_OUT", json!({})),
                    Some(ExecutionOutcome::Aborted { .. }) => ("ABORTED", json!({})),
                };
                let mut told = json!({
                    "executionArn": arn, "stateMachineArn": arn, "status": status, "input": of.input,
                    "startDate": 1_793_491_200.0,
                });
                told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                told
            }),
            "AWSStepFunctions.GetExecutionHistory" => {
                self.tell(asked, |_, of| json!({ "events": of.events }))
            }
            other => refused("UnknownOperationException", other),
        }
    }

    fn tell(&self, asked: &Value, told: impl Fn(&str, &Execution) -> Value) -> (u16, Value) {
        let arn = asked["executionArn"].as_str().unwrap();
        match self.executions.lock().unwrap().get(arn) {
            Some(execution) => (200, told(arn, execution)),
            None => refused("ExecutionDoesNotExist", arn),
        }
    }

    fn start(self: &Arc<Self>, asked: &Value) -> (u16, Value) {
        let text = |name: &str| asked[name].as_str().unwrap().to_owned();
        let (machine, name, input) = (text("stateMachineArn"), text("name"), text("input"));
        let Some(definition) = self.machines.get(&machine).cloned() else {
            return refused("StateMachineDoesNotExist", &machine);
        };
        let arn = format!("{}:{name}", machine.replace(":stateMachine:", ":execution:"));
        let begun = Execution { input: input.clone(), ..Execution::default() };
        if self.executions.lock().unwrap().insert(arn.clone(), begun).is_some() {
            return refused("ExecutionAlreadyExists", &arn);
        }
        let (world, of) = (self.clone(), arn.clone());
        self.handle.spawn(async move {
            let input = serde_json::from_str(&input).unwrap();
            let outcome = world.interpreter.run(&definition, &name, input).await;
            world.executions.lock().unwrap().get_mut(&of).unwrap().outcome = Some(outcome);
        });
        (200, json!({ "executionArn": arn, "startDate": 1_793_491_200.0 }))
    }
}

fn refused(name: &str, what: &str) -> (u16, Value) {
    (400, json!({ "__type": name, "message": what }))
}

/// The target and the body of a request.
fn request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut target) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "x-amz-target" => value.trim().clone_into(&mut target),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((target, String::from_utf8(body).unwrap()))
}

fn outputs() -> BTreeMap<String, String> {
    let machine = |name: &str| format!("{ACCOUNT}:stateMachine:{name}");
    let table = "arn:aws:dynamodb:eu-central-1:123456789012:table";
    let all = [
        ("JobTableName", JOBS.to_owned()),
        ("BackupMachineArn", machine("backup")),
        ("RestoreMachineArn", machine("restore")),
        ("VerifyMachineArn", machine("verify")),
        ("UndoMachineArn", machine("undo")),
        ("DrillMachineArn", machine("drill")),
        ("PruneMachineArn", machine("prune")),
        ("StagingBucketName", "staging".to_owned()),
        ("SourceTableArns", format!("{table}/orders,{table}/gone")),
        ("SourceBucketArns", String::new()),
        ("TargetTableArns", format!("{table}/restored-*")),
        ("AccessTagKey", "holdfast:access".to_owned()),
        ("AccessTagValue", "allow".to_owned()),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn machines() -> HashMap<String, StateMachine> {
    let definitions = [
        ("backup", include_str!("../../../../infra/statemachines/backup.asl.json")),
        ("restore", include_str!("../../../../infra/statemachines/restore.asl.json")),
        ("verify", include_str!("../../../../infra/statemachines/verify.asl.json")),
        ("undo", include_str!("../../../../infra/statemachines/undo.asl.json")),
        ("drill", include_str!("../../../../infra/statemachines/drill.asl.json")),
    ];
    let load = |(name, text): (&str, &str)| {
        let machine = StateMachine::load(name, text, &substitutions()).unwrap();
        (format!("{ACCOUNT}:stateMachine:{name}"), machine)
    };
    definitions.into_iter().map(load).collect()
}

async fn fill(client: &Client) {
    for table in ["orders", "customers"] {
        let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
        let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
        client
            .create_table()
            .table_name(table)
            .key_schema(key)
            .attribute_definitions(id.build().unwrap())
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await
            .unwrap();
    }
    for number in 0..100 {
        client
            .put_item()
            .table_name("orders")
            .item("id", AttributeValue::S(format!("o-{number}")))
            .item("price", AttributeValue::N((number * 7).to_string()))
            .send()
            .await
            .unwrap();
    }
}
