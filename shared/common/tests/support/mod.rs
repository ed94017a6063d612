//! A job table of its own for each test: an embedded `DynamoDB` behind its HTTP API.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use dynoxide::Database;
use dynoxide::server::serve_with_shutdown;
use holdfast_common::clock::{Clock, ManualClock};
use holdfast_common::jobs::JobStore;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const TABLE: &str = "jobs";

pub(crate) struct Cloud {
    pub(crate) store: JobStore,
    pub(crate) client: Client,
    pub(crate) clock: Arc<ManualClock>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let database = Database::memory().unwrap();
        let server = tokio::spawn(async move {
            let shutdown = async {
                // Dropping the sender stops the server as well.
                let _ = stopped.await;
            };
            serve_with_shutdown(listener, database, shutdown).await.unwrap();
        });
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(endpoint)
            .build();
        let client = Client::from_conf(config);
        let clock = Arc::new(ManualClock::new("2026-11-01T00:00:00Z".parse().unwrap()));
        let shared: Arc<dyn Clock> = clock.clone();
        let store = JobStore::new(client.clone(), TABLE, shared);
        store.create_table_if_missing().await.unwrap();
        Self { store, client, clock, stop, server }
    }

    pub(crate) async fn stop(self) {
        drop((self.stop, self.client));
        self.server.abort();
        let _ = self.server.await;
    }
}
