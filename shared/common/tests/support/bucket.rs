//! S3 to test against: an independent server with two buckets, and one whose every answer the test decides.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, dto, s3_error};
use s3s_fs::FileSystem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn client(listener: &TcpListener) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
        .retry_config(RetryConfig::disabled())
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

/// The file server, put right where it is not as S3: it fails on suffix ranges of objects that are shorter, reads
/// directories as if they were objects, and lets two conditional puts at once both succeed.
struct Corrected(FileSystem, PathBuf, tokio::sync::Mutex<()>);

impl Corrected {
    fn size(&self, bucket: &str, key: &str) -> S3Result<u64> {
        match std::fs::metadata(self.1.join(bucket).join(key)) {
            Ok(facts) if facts.is_file() => Ok(facts.len()),
            _ => Err(s3_error!(NoSuchKey)),
        }
    }
}

macro_rules! delegate {
    ($($name:ident: $input:ident => $output:ident;)*) => {
        #[async_trait]
        impl S3 for Corrected {
            async fn get_object(
                &self,
                mut req: S3Request<dto::GetObjectInput>,
            ) -> S3Result<S3Response<dto::GetObjectOutput>> {
                let size = self.size(&req.input.bucket, &req.input.key)?;
                if let Some(dto::Range::Suffix { length }) = req.input.range {
                    let first = size.saturating_sub(length);
                    req.input.range = Some(dto::Range::Int { first, last: None });
                }
                self.0.get_object(req).await
            }

            async fn head_object(
                &self,
                req: S3Request<dto::HeadObjectInput>,
            ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
                self.size(&req.input.bucket, &req.input.key)?;
                self.0.head_object(req).await
            }

            async fn put_object(
                &self,
                req: S3Request<dto::PutObjectInput>,
            ) -> S3Result<S3Response<dto::PutObjectOutput>> {
                let _one_at_a_time = self.2.lock().await;
                self.0.put_object(req).await
            }

            $(async fn $name(&self, req: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                self.0.$name(req).await
            })*
        }
    };
}

delegate! {
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output;
    delete_object: DeleteObjectInput => DeleteObjectOutput;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput;
    upload_part: UploadPartInput => UploadPartOutput;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput;
}

/// A server over a directory of its own, with the buckets `vault` and `staging`.
pub(crate) async fn server() -> (Client, TempDir) {
    let root = tempfile::tempdir().unwrap();
    for bucket in ["vault", "staging"] {
        std::fs::create_dir(root.path().join(bucket)).unwrap();
    }
    let mut builder = S3ServiceBuilder::new(Corrected(
        FileSystem::new(root.path()).unwrap(),
        root.path().to_owned(),
        tokio::sync::Mutex::default(),
    ));
    builder.set_auth(SimpleAuth::from_single("test", "test"));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&listener);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                // A client that hangs up ends its connection, nothing else.
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (client, root)
}

/// The requests that a [`scripted`] server got: method, path and query, and headers in lower case.
pub(crate) type Requests = Arc<Mutex<Vec<String>>>;

/// A server that answers what the script says: status line, headers and body as they go over the wire.
pub(crate) async fn scripted(
    script: impl Fn(&str) -> (u16, &'static str, String) + Send + Sync + 'static,
) -> (Client, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&listener);
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, Arc::clone(&script), Arc::clone(&seen)));
        }
    });
    (client, requests)
}

async fn answer<S>(mut socket: TcpStream, script: Arc<S>, seen: Requests)
where
    S: Fn(&str) -> (u16, &'static str, String),
{
    let mut request = Vec::new();
    let mut body = None;
    while body.is_none_or(|end: usize| request.len() < end) {
        let mut buffer = [0; 16_384];
        let Ok(length @ 1..) = socket.read(&mut buffer).await else { return };
        request.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let (None, Some(head)) = (body, text.find("\r\n\r\n")) {
            let announced = text[..head]
                .lines()
                .find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            body = Some(head + 4 + announced.unwrap_or(0_usize));
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let (status, headers, content) = script(text.lines().next().unwrap_or_default());
    seen.lock().unwrap().push(text);
    let length = if headers.contains("content-length") {
        String::new()
    } else {
        format!("content-length: {}\r\n", content.len())
    };
    let answer = format!("HTTP/1.1 {status} X\r\n{headers}{length}connection: close\r\n\r\n{content}");
    let _ = socket.write_all(answer.as_bytes()).await;
}
