//! What CloudFormation asks, and how it is answered, against a server on the loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use holdfast_lambda::custom_resource::{Answer, Outcome, Request, RequestType, answer};
use holdfast_vault::error::{Code, Error};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Properties {
    bucket: String,
}

fn event(url: &str) -> Value {
    json!({
        "RequestType": "Create",
        "ResponseURL": url,
        "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/shop/1",
        "RequestId": "7f3c",
        "ResourceType": "Custom::Vault",
        "LogicalResourceId": "Vault",
        "ServiceToken": "arn:aws:lambda:eu-central-1:123456789012:function:shop-setup",
        "ResourceProperties": {
            "ServiceToken": "arn:aws:lambda:eu-central-1:123456789012:function:shop-setup",
            "ServiceTimeout": "60",
            "Bucket": "vault",
        },
    })
}

fn request(url: &str) -> Request {
    serde_json::from_value(event(url)).unwrap()
}

/// Answers requests with these statuses in turn, and gives back what was asked.
async fn server(statuses: Vec<u16>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/answer?X-Amz-Signature=secret", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            loop {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                text.extend_from_slice(&buffer[..read]);
                let shown = String::from_utf8_lossy(&text).to_lowercase();
                let Some((head, body)) = shown.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.unwrap().trim().parse::<usize>().unwrap() {
                    break;
                }
            }
            let said = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(said.as_bytes()).await.unwrap();
            asked.push(String::from_utf8(text).unwrap());
        }
        asked
    });
    (url, served)
}

#[tokio::test]
async fn an_answer_is_put_until_it_is_taken() {
    let (url, served) = server(vec![500, 503, 200]).await;
    let request = request(&url);
    let data = Map::from_iter([("VaultId".to_owned(), json!("ab12"))]);
    answer(&request.response_url, &Answer::success(&request, "holdfast-vault-ab12", data)).await.unwrap();
    let asked = served.await.unwrap();
    let (head, body) = asked[2].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("PUT /answer?X-Amz-Signature=secret HTTP/1.1"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let expected = json!({
        "Status": "SUCCESS",
        "PhysicalResourceId": "holdfast-vault-ab12",
        "StackId": request.stack_id,
        "RequestId": "7f3c",
        "LogicalResourceId": "Vault",
        "Data": {"VaultId": "ab12"},
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_an_error_without_the_address() {
    let (url, served) = server(vec![403; 5]).await;
    let request = request(&url);
    let said = Answer::success(&request, "holdfast-vault", Map::new());
    let error = answer(&request.response_url, &said).await.unwrap_err();
    assert_eq!(error.code, Code::TargetUnavailable);
    assert!(error.message.contains("403") && !format!("{error:?} {request:?}").contains("Signature"));
    served.await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_not_safe_is_not_called() {
    for url in ["http://example.com/x", "ftp://127.0.0.1/x", "", "http://127.0.0.1.example.com/"] {
        let request = request(url);
        let said = Answer::success(&request, "holdfast-vault", Map::new());
        let error = answer(&request.response_url, &said).await.unwrap_err();
        assert_eq!((error.code, error.object.as_deref()), (Code::InvalidInput, Some("ResponseURL")), "{url}");
    }
}

#[test]
fn a_failure_says_why_and_fits() {
    let request = request("https://example.com/");
    let error = Error::new(Code::KeyWrong, "x".repeat(5_000)).hint("ask for the key");
    let said = Answer::failed(&request, "holdfast-vault", &error);
    assert_eq!(said.status, Outcome::Failed);
    assert!(said.reason.starts_with("KeyWrong: xxx"));
    assert!(serde_json::to_vec(&said).unwrap().len() < 4_096);
}

#[test]
fn properties_are_what_the_template_gives() {
    let request = request("https://example.com/");
    assert_eq!(request.request_type, RequestType::Create);
    assert_eq!(request.properties::<Properties>().unwrap(), Properties { bucket: "vault".to_owned() });
    let mut unknown = event("https://example.com/");
    unknown["ResourceProperties"]["Bukcet"] = json!("vault");
    let unknown: Request = serde_json::from_value(unknown).unwrap();
    let error = unknown.properties::<Properties>().unwrap_err();
    assert_eq!(error.code, Code::InvalidInput);
    assert!(error.message.contains("Bukcet"), "{}", error.message);
}

#[test]
fn a_field_that_no_request_has_is_refused() {
    let mut unknown = event("https://example.com/");
    unknown["RequestTyp"] = json!("Create");
    let error = serde_json::from_value::<Request>(unknown).unwrap_err();
    assert!(error.to_string().contains("RequestTyp"));
}
