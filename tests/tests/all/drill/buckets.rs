//! Drills of objects: into a directory of a home, and into a prefix of a stack's staging bucket.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use holdfast_common::jobs::{Job, Status};
use holdfast_common::storage::S3Storage;
use holdfast_connectors::{Clients, SourceSpec};
use holdfast_local::Cloud;
use holdfast_tests::servers::{s3, s3_client};
use holdfast_tests::{cloud, configure, noise, tiny_limits};
use holdfast_vault::error::{Code, Result};
use holdfast_vault::storage::ByteRange;
use holdfast_workflow::Services;
use holdfast_workflow::drill::{DrillDetail, DrillEvent, DrillInput, DrillRequest, drill};
use holdfast_workflow::events::{
    BackupInput, Execution, JobEvent, PlanEvent, RestoreEvent, RestoreInput, TaskEvent,
};
use holdfast_workflow::plan::detail;
use holdfast_workflow::{commit, export, plan, restore, upload};
use std::sync::Arc;

struct Buckets(Client);

#[async_trait]
impl Clients for Buckets {
    async fn dynamodb(&self, _: Option<&str>, _: Option<&str>) -> Result<aws_sdk_dynamodb::Client> {
        panic!("nobody asks for tables here")
    }

    async fn s3(&self, _: Option<&str>, _: Option<&str>) -> Result<Client> {
        Ok(self.0.clone())
    }
}

/// A bucket that is backed up, and services as those of a stack: staging is a bucket too.
struct Shop {
    _dir: tempfile::TempDir,
    cloud: Cloud,
    client: Client,
    services: Services,
}

impl Shop {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let client = s3_client(s3(&dir.path().join("s3"), &["shop", "staging"]).await);
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        let services = Services {
            clients: Arc::new(Buckets(client.clone())),
            staging: Arc::new(S3Storage::new(client.clone(), "staging")),
            ..cloud.services().clone()
        };
        for number in 0..20 {
            let put = client.put_object().bucket("shop").key(format!("site/{}/{number}", number % 3));
            let body = ByteStream::from(noise(number, 4_000));
            put.metadata("colour", "sand").body(body).send().await.unwrap();
        }
        let large = client.put_object().bucket("shop").key("site/large").body(noise(99, 90_000).into());
        large.send().await.unwrap();
        let (bucket, prefix) = ("shop".to_owned(), "site/".to_owned());
        configure(&cloud, "site", SourceSpec::S3 { bucket, prefix, endpoint: None, region: None }).await;
        let shop = Self { _dir: dir, cloud, client, services };
        shop.back_up().await;
        shop
    }

    fn execution(name: &str) -> Execution {
        Execution { execution: name.to_owned(), started_at: "2026-11-21T00:00:00Z".to_owned() }
    }

    async fn tasks(services: &Services, key: &str) -> Vec<TaskEvent> {
        let list = services.staging.get(key, ByteRange::All).await.unwrap();
        let lines = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    async fn back_up(&self) {
        let input = BackupInput { resource: "site".to_owned(), backup_type: None };
        let event = PlanEvent { input, execution: Self::execution("b") };
        // The vault is a directory, and takes what is exported from its neighbour.
        let clients = Arc::new(Buckets(self.client.clone()));
        let services = Services { clients, ..self.cloud.services().clone() };
        let planned = plan::plan(&services, &event).await.unwrap();
        for task in Self::tasks(&services, &planned.tasks.key).await {
            loop {
                if !export::export_chunk(&services, &task).await.unwrap().more
                    || !upload::upload_part(&services, &task).await.unwrap().more
                {
                    break;
                }
            }
        }
        commit::commit(&services, &JobEvent { job: planned.job }).await.unwrap();
    }

    /// Restores for a drill, and gives the drill's id.
    async fn restored(&self) -> String {
        let input = DrillInput::Request(DrillRequest::random("site"));
        let event = DrillEvent::Plan { input, execution: Self::execution("d") };
        let planned = drill(&self.services, &event).await.unwrap();
        let (job, restore) = (&planned["job"], planned["restore"].as_str().unwrap().to_owned());
        let input = RestoreInput::Job { restore: restore.clone() };
        let event = RestoreEvent::Plan { input, execution: Self::execution("d") };
        let told = restore::restore(&self.services, &event).await.unwrap();
        for task in Self::tasks(&self.services, told["tasks"]["key"].as_str().unwrap()).await {
            let event = RestoreEvent::Part(task);
            while restore::restore(&self.services, &event).await.unwrap()["more"] == true {}
        }
        let event = RestoreEvent::Finish(JobEvent { job: restore });
        restore::restore(&self.services, &event).await.unwrap();
        job.as_str().unwrap().to_owned()
    }

    async fn ended(&self, id: &str) -> Job {
        let job = JobEvent { job: id.to_owned() };
        while drill(&self.services, &DrillEvent::Compare(job.clone())).await.unwrap()["more"] == true {}
        drill(&self.services, &DrillEvent::Remove(job.clone())).await.unwrap();
        drill(&self.services, &DrillEvent::Finish(job)).await.unwrap();
        self.services.jobs.job(id).await.unwrap()
    }

    async fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let list = self.client.list_objects_v2().bucket(bucket).prefix(prefix).send().await.unwrap();
        list.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_come_back_equal_in_the_staging_bucket_and_go_again() {
    let shop = Shop::new().await;
    let id = shop.restored().await;
    let target = format!("drills/{id}/");
    assert_eq!(shop.keys("staging", &target).await.len(), 21);
    let job = shop.ended(&id).await;
    let told: DrillDetail = detail(&job).unwrap();
    assert_eq!(job.status, Status::Completed);
    assert!(told.equal(), "{:?}", told.compared);
    assert_eq!((told.compared[0].found.files, job.totals.files), (21, 21));
    assert_eq!(shop.keys("staging", "").await, [] as [String; 0], "nothing is left in staging");
    assert_eq!(shop.keys("shop", "").await.len(), 21, "the source is as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_that_are_not_what_was_backed_up_are_found() {
    let shop = Shop::new().await;
    let id = shop.restored().await;
    let put = shop.client.put_object().bucket("staging").key(format!("drills/{id}/large"));
    let mut other = noise(99, 90_000);
    other[89_999] ^= 1;
    put.body(other.into()).send().await.unwrap();
    let delete = shop.client.delete_object().bucket("staging").key(format!("drills/{id}/1/4"));
    delete.send().await.unwrap();
    let put = shop.client.put_object().bucket("staging").key(format!("drills/{id}/zzz"));
    put.body(ByteStream::default()).send().await.unwrap();
    let told: DrillDetail = detail(&shop.ended(&id).await).unwrap();
    let found = &told.compared[0].found;
    assert!(!told.equal());
    assert_eq!((found.changed, found.missing, found.unexpected), (1, 1, 1));
    assert_eq!(shop.keys("staging", "").await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stack_refuses_what_needs_a_directory() {
    let shop = Shop::new().await;
    let event = DrillEvent::Plan {
        input: DrillInput::Request(DrillRequest::random("notes")),
        execution: Shop::execution("n"),
    };
    let source = serde_json::json!({ "kind": "json", "document": { "notes": [{ "id": 1 }] } });
    let resource = serde_json::json!({ "name": "notes", "source": source });
    shop.services.jobs.put_resource("notes", &resource).await.unwrap();
    let error = drill(&shop.services, &event).await.unwrap_err();
    assert_eq!(error.code, Code::JobUnknown, "nothing is backed up");
    shop.cloud.run_backup(&shop.cloud.new_id(), "notes", None).await.unwrap();
    let error = drill(&shop.services, &event).await.unwrap_err();
    assert_eq!(error.code, Code::InvalidInput);
    assert!(error.message.contains("kind json"), "{}", error.message);
}
