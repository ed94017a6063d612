//! The vault's keys in KMS, against its documented API: what is asked for, and what is made of its answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_kms::{create_vault, make_versions, open_vault};
use holdfast_vault::error::Code;
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{ByteRange, Storage, list_all};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd";

/// A KMS that wraps by naming what is bound: it opens a ciphertext only with the key and the context that made it.
#[derive(Debug, Clone, Default)]
struct Kms {
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    refusal: Option<&'static str>,
}

impl Kms {
    fn client(&self) -> Client {
        self.client_in("eu-central-1")
    }

    fn client_in(&self, region: &'static str) -> Client {
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(self.clone())
            .build();
        Client::from_conf(config)
    }

    fn answer(&self, operation: &str, body: &Value) -> (u16, Value) {
        if let Some(refusal) = self.refusal {
            return (400, json!({ "__type": refusal, "message": "refused" }));
        }
        // Replicas of a multi-region key are one key.
        let key = body["KeyId"].as_str().unwrap();
        let key = if key.contains("/mrk-") { key.rsplit(':').next().unwrap() } else { key };
        let bound = json!([key, body["EncryptionContext"]]).to_string();
        match operation {
            "TrentService.Encrypt" => {
                let sealed = json!([bound, body["Plaintext"]]).to_string();
                (200, json!({ "KeyId": body["KeyId"], "CiphertextBlob": BASE64.encode(sealed) }))
            }
            "TrentService.Decrypt" => {
                let sealed = BASE64.decode(body["CiphertextBlob"].as_str().unwrap()).unwrap();
                let sealed: Value = serde_json::from_slice(&sealed).unwrap();
                if sealed[0] != bound {
                    return (400, json!({ "__type": "InvalidCiphertextException" }));
                }
                (200, json!({ "KeyId": body["KeyId"], "Plaintext": sealed[1] }))
            }
            other => panic!("{other}"),
        }
    }
}

impl HttpConnector for Kms {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").unwrap().to_owned();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let (status, answer) = self.answer(&operation, &body);
        self.asked.lock().unwrap().push((operation, body));
        let answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(answer.to_string()));
        HttpConnectorFuture::ready(Ok(answer))
    }
}

impl HttpClient for Kms {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

async fn made() -> (Kms, Arc<dyn Storage>, Vault) {
    let (kms, storage): (_, Arc<dyn Storage>) = (Kms::default(), Arc::new(MemoryStorage::new("vault")));
    let vault = create_vault(&kms.client(), storage.clone(), KEY).await.unwrap();
    (kms, storage, vault)
}

#[tokio::test]
async fn a_vault_is_made_once_and_opened_with_its_context() {
    let (kms, storage, vault) = made().await;
    let objects = list_all(storage.as_ref(), "").await.unwrap();
    let names: Vec<&str> = objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(names, ["holdfast.json", "keys/00000001.json"]);
    let wrapped = storage.get("keys/00000001.json", ByteRange::All).await.unwrap();
    let wrapped: Value = serde_json::from_slice(&wrapped).unwrap();
    assert_eq!(wrapped["wrapped_by"], json!({"kind": "kms", "key": KEY}));

    let again = create_vault(&kms.client(), storage.clone(), KEY).await.unwrap();
    assert_eq!((again.id(), again.keys().newest_version()), (vault.id(), 1));
    assert_eq!(open_vault(&kms.client(), storage).await.unwrap().id(), vault.id());
    let asked = kms.asked.lock().unwrap();
    let operations: Vec<&str> = asked.iter().map(|(operation, _)| operation.as_str()).collect();
    let decrypt = "TrentService.Decrypt";
    assert_eq!(operations, ["TrentService.Encrypt", decrypt, decrypt, decrypt]);
    for (_, body) in asked.iter() {
        assert_eq!(body["KeyId"], KEY);
        assert_eq!(body["EncryptionContext"], json!({"holdfast:vault": vault.id().to_string()}));
    }
}

#[tokio::test]
async fn a_key_of_another_vault_does_not_open() {
    let (kms, storage, _) = made().await;
    let (_, other, _) = made().await;
    let mut stolen: Value =
        serde_json::from_slice(&other.get("keys/00000001.json", ByteRange::All).await.unwrap()).unwrap();
    let of = storage.get("holdfast.json", ByteRange::All).await.unwrap();
    stolen["vault"] = serde_json::from_slice::<Value>(&of).unwrap()["vault"].clone();
    storage.delete("keys/00000001.json").await.unwrap();
    storage.put_if_absent("keys/00000001.json", stolen.to_string().into()).await.unwrap();
    let error = open_vault(&kms.client(), storage).await.unwrap_err();
    assert_eq!(error.code, Code::KeyWrong);
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_and_whether_to_come_again() {
    for (refusal, code) in [
        ("AccessDeniedException", Code::KeyWrong),
        ("DisabledException", Code::KeyWrong),
        ("NotFoundException", Code::KeyWrong),
        ("ThrottlingException", Code::StorageUnavailable),
        ("KMSInternalException", Code::StorageUnavailable),
    ] {
        let (_, storage, _) = made().await;
        let refusing = Kms { refusal: Some(refusal), ..Kms::default() };
        let error = open_vault(&refusing.client(), storage).await.unwrap_err();
        assert_eq!((error.code, error.object.as_deref()), (code, Some(KEY)), "{refusal}");
        assert!(error.hint.is_some());

        let empty: Arc<dyn Storage> = Arc::new(MemoryStorage::new("vault"));
        let error = create_vault(&refusing.client(), empty, KEY).await.unwrap_err();
        assert_eq!(error.code, code, "{refusal}");
    }
}

#[tokio::test]
async fn a_vault_of_a_key_file_is_refused_by_name() {
    let (kms, storage, vault) = made().await;
    let secret = holdfast_vault::crypto::SecretKey::random().unwrap();
    let local =
        holdfast_vault::format::root::WrappedKey::wrap(vault.id(), 2, "file", &secret, &secret).unwrap();
    let text = serde_json::to_vec(&local).unwrap();
    storage.put_if_absent("keys/00000002.json", text.into()).await.unwrap();
    let error = open_vault(&kms.client(), storage).await.unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::KeyWrong, Some("keys/00000002.json")));
}

#[tokio::test]
async fn a_replica_of_the_key_opens_a_copy_in_another_region() {
    let (kms, storage): (_, Arc<dyn Storage>) = (Kms::default(), Arc::new(MemoryStorage::new("vault")));
    let first = "arn:aws:kms:eu-central-1:123456789012:key/mrk-1234abcd";
    let vault = create_vault(&kms.client(), storage.clone(), first).await.unwrap();
    let opened = open_vault(&kms.client_in("eu-west-1"), storage).await.unwrap();
    assert_eq!(opened.id(), vault.id());
    let asked = kms.asked.lock().unwrap();
    let last = &asked.last().unwrap().1;
    assert_eq!(last["KeyId"], "arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd");
}

#[tokio::test]
async fn versions_are_made_up_to_the_one_that_is_asked_for_and_met_by_who_opened_before() {
    let (kms, storage, vault) = made().await;
    let before = open_vault(&kms.client(), storage.clone()).await.unwrap();
    for wanted in [1, 3, 3, 2] {
        make_versions(&kms.client(), &vault, KEY, wanted).await.unwrap();
    }
    let names: Vec<String> =
        list_all(storage.as_ref(), "keys/").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(names, ["keys/00000001.json", "keys/00000002.json", "keys/00000003.json"]);
    assert_eq!(before.keys().versions(), [1]);
    let decrypts = |kms: &Kms| {
        kms.asked.lock().unwrap().iter().filter(|(operation, _)| operation == "TrentService.Decrypt").count()
    };
    let asked = decrypts(&kms);
    before.need(3).await.unwrap();
    assert_eq!(before.keys().versions(), [1, 2, 3]);
    assert_eq!(decrypts(&kms), asked + 2, "only what is new is unwrapped");
    before.need(4).await.unwrap();
    assert_eq!(before.keys().newest_version(), 3, "what is nowhere is told by who uses it");
}
