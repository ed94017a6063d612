//! Servers on the loopback that are not of this project.

use async_trait::async_trait;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, dto, s3_error};
use s3s_fs::FileSystem;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// The access key of the S3 server, and its secret.
pub const CREDENTIALS: &str = "test";

/// What a key that ends with `/` is called on disk, where it would be a directory and no object.
const SLASH: &str = "/\u{1}";

/// The file server, put right where it is not as S3: suffix ranges of shorter objects, directories that are read as
/// objects, objects whose keys end with `/`, and conditional puts at the same time.
struct Corrected {
    server: FileSystem,
    root: PathBuf,
    putting: Mutex<()>,
}

fn on_disk(key: &mut String) {
    if key.ends_with('/') {
        key.replace_range(key.len() - 1.., SLASH);
    }
}

impl Corrected {
    fn size(&self, bucket: &str, key: &str) -> S3Result<u64> {
        match fs::metadata(self.root.join(bucket).join(key)) {
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
                on_disk(&mut req.input.key);
                let size = self.size(&req.input.bucket, &req.input.key)?;
                if let Some(dto::Range::Suffix { length }) = req.input.range {
                    req.input.range = Some(dto::Range::Int { first: size.saturating_sub(length), last: None });
                }
                self.server.get_object(req).await
            }

            async fn head_object(
                &self,
                mut req: S3Request<dto::HeadObjectInput>,
            ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
                on_disk(&mut req.input.key);
                self.size(&req.input.bucket, &req.input.key)?;
                self.server.head_object(req).await
            }

            async fn put_object(
                &self,
                mut req: S3Request<dto::PutObjectInput>,
            ) -> S3Result<S3Response<dto::PutObjectOutput>> {
                on_disk(&mut req.input.key);
                let _one_at_a_time = self.putting.lock().await;
                self.server.put_object(req).await
            }

            async fn delete_object(
                &self,
                mut req: S3Request<dto::DeleteObjectInput>,
            ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
                on_disk(&mut req.input.key);
                self.server.delete_object(req).await
            }

            async fn list_objects_v2(
                &self,
                mut req: S3Request<dto::ListObjectsV2Input>,
            ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
                req.input.start_after.as_mut().map(on_disk);
                let mut answer = self.server.list_objects_v2(req).await?;
                for key in answer.output.contents.iter_mut().flatten().filter_map(|object| object.key.as_mut()) {
                    if key.ends_with(SLASH) {
                        key.pop();
                    }
                }
                Ok(answer)
            }

            $(async fn $name(&self, req: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                self.server.$name(req).await
            })*
        }
    };
}

delegate! {
    head_bucket: HeadBucketInput => HeadBucketOutput;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput;
    upload_part: UploadPartInput => UploadPartOutput;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput;
}

/// An S3 over a directory with these buckets, for as long as the directory lives and the test runs.
pub async fn s3(directory: &Path, buckets: &[&str]) -> SocketAddr {
    for bucket in buckets {
        fs::create_dir_all(directory.join(bucket)).unwrap();
    }
    let server = FileSystem::new(directory).unwrap();
    let corrected = Corrected { server, root: directory.to_owned(), putting: Mutex::default() };
    let mut builder = S3ServiceBuilder::new(corrected);
    builder.set_auth(SimpleAuth::from_single(CREDENTIALS, CREDENTIALS));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
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
    address
}

/// A client of that S3.
#[must_use]
pub fn s3_client(address: SocketAddr) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .endpoint_url(format!("http://{address}"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(CREDENTIALS, CREDENTIALS, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
