//! The embedded DynamoDB: the SDK's requests answered by a database inside the process, without a socket.

use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};
use holdfast_vault::error::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::Path;

pub mod stream;

/// A DynamoDB in a file or in memory. All of its clients, and all of its clones, see the same tables.
#[derive(Clone)]
pub struct EmbeddedDynamoDb {
    database: Database,
}

impl fmt::Debug for EmbeddedDynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedDynamoDb")
    }
}

impl EmbeddedDynamoDb {
    /// Opens the database file, or makes it. One process at a time may have it open.
    ///
    /// # Errors
    /// `HomeInvalid`, naming the file, if it cannot be opened or is no database.
    pub fn open(path: &Path) -> Result<Self> {
        let invalid = |why: String| {
            Error::new(Code::HomeInvalid, format!("cannot open the database {}: {why}", path.display()))
                .object(path.display().to_string())
                .hint("check that the home is writable; if the file is damaged, move it away and run `holdfast rebuild`")
        };
        let text = path.to_str().ok_or_else(|| invalid("its path is not UTF-8".to_owned()))?;
        let database = Database::new(text).map_err(|error| invalid(error.to_string()))?;
        // SQLite then waits for the disk at checkpoints only, not at every item (4 ms each). A killed process loses nothing;
        // a power cut may lose the last commits, never the database: the vault, which holds the backups, waits for the disk.
        database.disable_bulk_loading().map_err(|error| invalid(error.to_string()))?;
        Ok(Self { database })
    }

    /// A database that ends with its last clone and client.
    ///
    /// # Errors
    /// `Internal` if there is no memory for it.
    pub fn memory() -> Result<Self> {
        let database = Database::memory()
            .map_err(|error| Error::new(Code::Internal, format!("no database in memory: {error}")))?;
        Ok(Self { database })
    }

    /// A client of the SDK that talks to this database.
    #[must_use]
    pub fn client(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("local"))
            .endpoint_url("http://embedded.invalid")
            // A request never leaves the process, so it is not signed, and no credentials are needed.
            .allow_no_auth()
            .http_client(self.clone())
            .build();
        aws_sdk_dynamodb::Client::from_conf(config)
    }
}

impl HttpClient for EmbeddedDynamoDb {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for EmbeddedDynamoDb {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").and_then(|target| target.split_once('.'));
        let body = request.body().bytes().unwrap_or_default();
        let answer = match operation {
            Some((_, operation)) => dispatch(&self.database, operation, body),
            None => None,
        };
        let (status, body) = match answer {
            Some(Ok(body)) => (200, body),
            Some(Err(error)) => (error.status_code(), error.to_json()),
            None => {
                let unknown = r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;
                (400, unknown.to_owned())
            }
        };
        HttpConnectorFuture::ready(
            StatusCode::try_from(status)
                .map(|status| HttpResponse::new(status, SdkBody::from(body)))
                .map_err(|error| ConnectorError::other(error.into(), None)),
        )
    }
}

/// `None` where the database does not know the operation.
fn dispatch(database: &Database, operation: &str, body: &[u8]) -> Option<dynoxide::Result<String>> {
    Some(match operation {
        "BatchGetItem" | "BatchWriteItem" | "DeleteItem" | "GetItem" | "PutItem" | "Query" | "Scan"
        | "TransactGetItems" | "TransactWriteItems" | "UpdateItem" => items(database, operation, body)?,
        "CreateTable" => answer(body, |request| database.create_table(request)),
        "DeleteTable" => answer(body, |request| database.delete_table(request)),
        // The database has no continuous backups: it says so as DynamoDB does of a table that has them switched off.
        "DescribeContinuousBackups" => {
            answer(body, |request| database.describe_table(request).map(|_| no_backups()))
        }
        "DescribeTable" => answer(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => answer(body, |request| database.describe_time_to_live(request)),
        "ListTables" => answer(body, |request| database.list_tables(request)),
        "ListTagsOfResource" => answer(body, |request| database.list_tags_of_resource(request)),
        "TagResource" => answer(body, |request| database.tag_resource(request)),
        "UntagResource" => answer(body, |request| database.untag_resource(request)),
        "UpdateTable" => answer(body, |request| database.update_table(request)),
        "UpdateTimeToLive" => answer(body, |request| database.update_time_to_live(request)),
        _ => return streams(database, operation, body),
    })
}

/// The operations of `DynamoDBStreams_20120810`.
fn streams(database: &Database, operation: &str, body: &[u8]) -> Option<dynoxide::Result<String>> {
    Some(match operation {
        "DescribeStream" => answer(body, |request| database.describe_stream(request)),
        "GetRecords" => answer(body, |request| database.get_records(request)),
        "GetShardIterator" => answer(body, |request| database.get_shard_iterator(request)),
        "ListStreams" => answer(body, |request| database.list_streams(request)),
        _ => return None,
    })
}

fn no_backups() -> serde_json::Value {
    serde_json::json!({ "ContinuousBackupsDescription": {
        "ContinuousBackupsStatus": "ENABLED",
        "PointInTimeRecoveryDescription": { "PointInTimeRecoveryStatus": "DISABLED" },
    } })
}

fn items(database: &Database, operation: &str, body: &[u8]) -> Option<dynoxide::Result<String>> {
    Some(match operation {
        "BatchGetItem" => answer(body, |request| database.batch_get_item(request)),
        "BatchWriteItem" => answer(body, |request| database.batch_write_item(request)),
        "DeleteItem" => answer(body, |request| database.delete_item(request)),
        "GetItem" => answer(body, |request| database.get_item(request)),
        "PutItem" => answer(body, |request| database.put_item(request)),
        "Query" => answer(body, |request| database.query(request)),
        "Scan" => answer(body, |request| database.scan(request)),
        "TransactGetItems" => answer(body, |request| database.transact_get_items(request)),
        "TransactWriteItems" => answer(body, |request| database.transact_write_items(request)),
        "UpdateItem" => answer(body, |request| database.update_item(request)),
        _ => return None,
    })
}

fn answer<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    run: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> dynoxide::Result<String> {
    let request = serde_json::from_slice(body).map_err(|error| refusal(&error.to_string()))?;
    serde_json::to_string(&run(request)?)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// The database marks why it refuses a value while it is read; what bears no mark is a value that DynamoDB would call
/// invalid too, since the SDK writes no malformed request.
fn refusal(message: &str) -> DynoxideError {
    let text = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    match text.split_once(':') {
        Some(("SERIALIZATION" | "SERIALIZATION_AS_READ", text)) => {
            DynoxideError::SerializationException(text.to_owned())
        }
        Some(("VALIDATION" | "VALIDATION_AS_READ" | "VALIDATION_REQUEST", text)) => {
            DynoxideError::ValidationException(text.to_owned())
        }
        _ => DynoxideError::ValidationException(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::EmbeddedDynamoDb;
    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::error::ProvideErrorMetadata;
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, PutRequest,
        ScalarAttributeType, TransactWriteItem, WriteRequest,
    };
    use std::collections::HashMap;

    async fn make(client: &Client) {
        let attribute = |name: &str| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap()
        };
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
        };
        client
            .create_table()
            .table_name("jobs")
            .attribute_definitions(attribute("pk"))
            .attribute_definitions(attribute("sk"))
            .key_schema(key("pk", KeyType::Hash))
            .key_schema(key("sk", KeyType::Range))
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await
            .unwrap();
    }

    fn item(pk: &str, sk: &str) -> HashMap<String, AttributeValue> {
        HashMap::from([
            ("pk".to_owned(), AttributeValue::S(pk.to_owned())),
            ("sk".to_owned(), AttributeValue::S(sk.to_owned())),
        ])
    }

    async fn count(client: &Client, pk: &str) -> i32 {
        let found = client
            .query()
            .table_name("jobs")
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .send()
            .await
            .unwrap();
        found.count()
    }

    fn transact(sk: &str) -> TransactWriteItem {
        let put = Put::builder()
            .table_name("jobs")
            .set_item(Some(item("t", sk)))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .unwrap();
        TransactWriteItem::builder().put(put).build()
    }

    #[tokio::test]
    async fn conditions_and_transactions_fail_by_name() {
        let client = EmbeddedDynamoDb::memory().unwrap().client();
        make(&client).await;
        let put = || {
            let put = client.put_item().table_name("jobs").set_item(Some(item("a", "1")));
            put.condition_expression("attribute_not_exists(pk)").send()
        };
        put().await.unwrap();
        let refused = put().await.unwrap_err().into_service_error();
        assert!(refused.is_conditional_check_failed_exception());

        let write = |sks: [&str; 2]| {
            client.transact_write_items().set_transact_items(Some(sks.map(transact).to_vec())).send()
        };
        write(["1", "2"]).await.unwrap();
        let refused = write(["3", "2"]).await.unwrap_err().into_service_error();
        assert!(refused.is_transaction_canceled_exception());
        assert_eq!(count(&client, "t").await, 2, "a cancelled transaction writes nothing");
    }

    #[tokio::test]
    async fn batches_and_queries_see_one_table_from_every_client() {
        let database = EmbeddedDynamoDb::memory().unwrap();
        make(&database.client()).await;
        let requests = (0..25).map(|n| {
            let put = PutRequest::builder().set_item(Some(item("b", &n.to_string()))).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        });
        let written = database
            .client()
            .batch_write_item()
            .request_items("jobs", requests.collect())
            .send()
            .await
            .unwrap();
        assert!(written.unprocessed_items().is_none_or(HashMap::is_empty));
        assert_eq!(count(&database.client(), "b").await, 25);
    }

    #[tokio::test]
    async fn an_unknown_operation_and_a_bad_value_are_refused_by_name() {
        let client = EmbeddedDynamoDb::memory().unwrap().client();
        make(&client).await;
        let unknown = client.describe_limits().send().await.unwrap_err();
        assert_eq!(unknown.code(), Some("UnknownOperationException"));
        let mut bad = item("a", "1");
        bad.insert("n".to_owned(), AttributeValue::N("no number".to_owned()));
        let refused = client.put_item().table_name("jobs").set_item(Some(bad)).send().await.unwrap_err();
        assert_eq!(refused.code(), Some("ValidationException"));
        let missing = client.describe_table().table_name("none").send().await.unwrap_err();
        assert!(missing.into_service_error().is_resource_not_found_exception());
    }

    #[tokio::test]
    async fn a_file_keeps_its_tables() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        make(&EmbeddedDynamoDb::open(&path).unwrap().client()).await;
        let again = EmbeddedDynamoDb::open(&path).unwrap().client();
        assert_eq!(again.list_tables().send().await.unwrap().table_names(), ["jobs"]);
        std::fs::write(directory.path().join("text"), "this is no database, but a text of some length")
            .unwrap();
        let error = EmbeddedDynamoDb::open(&directory.path().join("text")).unwrap_err();
        assert_eq!(error.code.as_str(), "HomeInvalid");
    }
}
