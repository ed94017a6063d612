//! Every adapter of the storage port, through the suite that all of them pass, and what is its own of each.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "support/bucket.rs"]
mod bucket;

use bytes::Bytes;
use holdfast_common::storage::{Counting, DirectoryStorage, Fault, Faulty, Operation, S3Storage};
use holdfast_vault::conformance::{check, sums};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::memory::{MemoryCloud, MemoryStorage};
use holdfast_vault::storage::{ByteRange, PART_SIZE, PartSum, Put, Storage, StoredSum};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_directory_conforms() {
    let home = tempfile::tempdir().unwrap();
    let vault = DirectoryStorage::open(&home.path().join("deep/vault")).unwrap();
    let staging = DirectoryStorage::open(&home.path().join("staging")).unwrap();
    assert_eq!(Path::new(staging.name()), home.path().canonicalize().unwrap().join("staging"));
    check(&vault, &staging).await;
    assert!(files(&home.path().join("deep/vault/.tmp")).is_empty());
}

#[tokio::test]
async fn s3_conforms() {
    let (client, root) = bucket::server().await;
    let vault = S3Storage::new(client.clone(), "vault");
    let staging = S3Storage::new(client, "staging");
    check(&vault, &staging).await;
    let left: Vec<String> = files(root.path()).into_iter().filter(|name| name.contains("upload")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn wrappers_conform() {
    let cloud = MemoryCloud::new();
    let counting = Counting::new(Arc::new(cloud.store("vault")));
    let faulty = Faulty::new(Arc::new(counting.clone()), |_| None);
    check(&faulty, &cloud.store("staging")).await;
    assert!(counting.counts().len() == 7 && counting.count(Operation::Put) > 1_000);
}

#[tokio::test]
async fn a_directory_survives_crashes() {
    let home = tempfile::tempdir().unwrap();
    let store = DirectoryStorage::open(home.path()).unwrap();
    store.put_if_absent("a/b", Bytes::from_static(b"1")).await.unwrap();
    let left = home.path().join(".tmp/0123");
    std::fs::write(&left, "half an obj").unwrap();
    let again = DirectoryStorage::open(home.path()).unwrap();
    assert!(!left.exists());
    assert_eq!(again.get("a/b", ByteRange::All).await.unwrap(), "1");
    for key in [".tmp/a", ".tmp"] {
        let put = again.put_if_absent(key, Bytes::new()).await;
        assert_eq!(put.unwrap_err().code, Code::InvalidInput);
    }
}

#[tokio::test]
async fn a_directory_is_opened_while_another_process_writes() {
    let home = tempfile::tempdir().unwrap();
    let store = DirectoryStorage::open(home.path()).unwrap();
    let body = Bytes::from(vec![7; 300_000]);
    let puts = (0..40).map(|at| {
        let (store, body, home) = (store.clone(), body.clone(), home.path().to_owned());
        tokio::spawn(async move {
            let put = store.put_if_absent(&format!("busy/{at}"), body).await;
            DirectoryStorage::open(&home).unwrap();
            put
        })
    });
    for put in puts.collect::<Vec<_>>() {
        assert_eq!(put.await.unwrap().unwrap(), Put::Created);
    }
    assert_eq!(store.list("busy/", None).await.unwrap().objects.len(), 40);
}

#[tokio::test]
async fn a_directory_is_its_owners_alone() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("vault");
    let store = DirectoryStorage::open(&root).unwrap();
    store.put_if_absent("a/b/c", Bytes::from_static(b"1")).await.unwrap();
    let mode = |path: &str| std::fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("a"), mode("a/b"), mode("a/b/c")), (0o700, 0o700, 0o700, 0o600));
    store.delete("a/b/c").await.unwrap();
    assert!(!root.join("a").exists(), "empty directories go with their last object");
}

#[tokio::test]
async fn a_directory_keeps_to_itself() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("outside"), "secret").unwrap();
    let root = home.path().join("vault");
    let store = DirectoryStorage::open(&root).unwrap();
    store.put_if_absent("a/b", Bytes::from_static(b"1")).await.unwrap();
    std::fs::write(root.join("not a key"), "x").unwrap();
    std::os::unix::fs::symlink(home.path(), root.join("link")).unwrap();
    let listed = store.list("", None).await.unwrap();
    assert_eq!(listed.objects.iter().map(|o| o.key.as_str()).collect::<Vec<_>>(), ["a/b"]);
    assert!(store.list("../", None).await.unwrap().objects.is_empty());
    let under = store.put_if_absent("a/b/c", Bytes::new()).await.unwrap_err();
    assert_eq!(under.code, Code::StorageUnavailable);
    assert_eq!(store.put_if_absent("a", Bytes::new()).await.unwrap_err().code, Code::StorageUnavailable);
    store.delete("a").await.unwrap();
    store.delete("a/b/c").await.unwrap();
    assert_eq!(store.get("a/b", ByteRange::All).await.unwrap(), "1");
    assert_eq!(DirectoryStorage::open(&home.path().join("outside")).unwrap_err().code, Code::HomeInvalid);
}

#[tokio::test]
async fn a_cut_object_is_damage() {
    let home = tempfile::tempdir().unwrap();
    let store = DirectoryStorage::open(home.path()).unwrap();
    store.put_if_absent("packs/p", Bytes::from(vec![1; 1_000])).await.unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(home.path().join("packs/p")).unwrap();
    file.set_len(600).unwrap();
    let error = store.get("packs/p", ByteRange::Span { start: 500, end: 700 }).await.unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::ObjectDamaged, Some("packs/p")));
}

#[tokio::test]
async fn faults_come_before_or_after() {
    let memory = MemoryStorage::new("vault");
    let store = Faulty::new(Arc::new(memory.clone()), |call| {
        let error = Error::new(Code::StorageUnavailable, "as planned");
        match (call.operation, call.number) {
            (Operation::Put, 0) => Some(Fault::Before(error)),
            (Operation::Put, 1) => Some(Fault::After(error)),
            _ => None,
        }
    });
    let put = || store.put_if_absent("a", Bytes::from_static(b"1"));
    put().await.unwrap_err();
    assert_eq!(memory.head("a").await.unwrap_err().code, Code::ObjectMissing);
    put().await.unwrap_err();
    assert_eq!(memory.head("a").await.unwrap().size, 1);
    assert_eq!(put().await.unwrap(), Put::Exists);
}

#[tokio::test]
async fn what_s3_answers_is_told_by_its_code() {
    let xml = |code: &str| format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
    for (status, code, expected) in [
        (404, "NoSuchKey", Code::ObjectMissing),
        (404, "NoSuchBucket", Code::StorageUnavailable),
        (403, "AccessDenied", Code::StorageDenied),
        (403, "SignatureDoesNotMatch", Code::StorageDenied),
        (503, "SlowDown", Code::StorageThrottled),
        (503, "ServiceUnavailable", Code::StorageThrottled),
        (429, "TooManyRequests", Code::StorageThrottled),
        (500, "InternalError", Code::StorageUnavailable),
    ] {
        let (client, _) = bucket::scripted(move |_| (status, "", xml(code))).await;
        let error = S3Storage::new(client, "vault").get("a", ByteRange::All).await.unwrap_err();
        assert_eq!(error.code, expected, "{code}");
        assert!(error.hint.is_some());
    }
    let (client, _) = bucket::scripted(|_| (412, "", String::new())).await;
    let put = S3Storage::new(client, "vault").put_if_absent("a", Bytes::new()).await;
    assert_eq!(put.unwrap(), Put::Exists);
}

#[tokio::test]
async fn a_put_that_collides_is_tried_again() {
    let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = Arc::clone(&tries);
    let (client, requests) = bucket::scripted(move |_| {
        let conflict = "<Error><Code>ConditionalRequestConflict</Code></Error>".to_owned();
        if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
            (409, "", conflict)
        } else {
            (200, "etag: \"e\"\r\n", String::new())
        }
    })
    .await;
    let put = S3Storage::new(client, "vault").put_if_absent("a", Bytes::from_static(b"1")).await;
    assert_eq!(put.unwrap(), Put::Created);
    assert_eq!(requests.lock().unwrap().len(), 3);
    for request in requests.lock().unwrap().iter() {
        assert!(request.contains("if-none-match: *"), "{request}");
        assert!(request.contains("x-amz-checksum-sha256: "), "{request}");
    }
}

fn base64_sum(part: &PartSum) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(hex::decode(&part.sha256).unwrap())
}

/// A service that says the checksums of what it copies, as S3 does: the second part's is `second`.
async fn copying_service(second: String, complete: u16) -> (S3Storage, bucket::Requests, Vec<PartSum>) {
    let part = |size: u64, text: &str| PartSum { size, sha256: hex::encode(Sha256::digest(text)) };
    let parts = vec![part(PART_SIZE, "first"), part(9, "second")];
    let first = base64_sum(&parts[0]);
    let (client, requests) = bucket::scripted(move |line| {
        let copied = |sum: &str| {
            format!(
                "<CopyPartResult><ETag>\"e\"</ETag><ChecksumSHA256>{sum}</ChecksumSHA256></CopyPartResult>"
            )
        };
        if line.starts_with("HEAD /staging/") {
            (200, "content-length: 16777225\r\n", String::new())
        } else if line.starts_with("HEAD ") {
            (404, "content-length: 0\r\n", String::new())
        } else if line.starts_with("POST ") && line.contains("uploads") {
            let made =
                "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
            (200, "", made.to_owned())
        } else if line.contains("partNumber=1") {
            (200, "", copied(&first))
        } else if line.contains("partNumber=2") {
            (200, "", copied(&second))
        } else if line.starts_with("POST ") && complete == 200 {
            (200, "", "<CompleteMultipartUploadResult/>".to_owned())
        } else if line.starts_with("POST ") {
            (complete, "", "<Error><Code>PreconditionFailed</Code></Error>".to_owned())
        } else {
            (204, "", String::new())
        }
    })
    .await;
    (S3Storage::new(client, "vault"), requests, parts)
}

fn count(requests: &bucket::Requests, begin: &str) -> usize {
    requests.lock().unwrap().iter().filter(|request| request.starts_with(begin)).count()
}

#[tokio::test]
async fn s3_copies_by_itself_and_its_checksums_are_compared() {
    let second = base64_sum(&PartSum { size: 9, sha256: hex::encode(Sha256::digest("second")) });
    let (store, requests, parts) = copying_service(second.clone(), 200).await;
    assert_eq!(store.copy_from("staging", "k", "to", &parts).await.unwrap(), Put::Created);
    assert_eq!((count(&requests, "GET "), count(&requests, "DELETE ")), (0, 0));
    {
        let requests = requests.lock().unwrap();
        let find = |text: &str| requests.iter().find(|request| request.contains(text)).unwrap();
        assert!(find("uploads").to_lowercase().contains("x-amz-checksum-algorithm: sha256"));
        assert!(find("partNumber=2").contains("x-amz-copy-source-range: bytes=16777216-16777224"));
        assert!(find("partNumber=2").contains("x-amz-copy-source: staging/k"));
        let complete = requests.iter().find(|r| r.starts_with("POST") && !r.contains("uploads")).unwrap();
        assert!(complete.contains("if-none-match: *") && complete.contains(&second));
    }

    let (store, requests, parts) = copying_service(base64_sum(&parts[0]), 200).await;
    let error = store.copy_from("staging", "k", "to", &parts).await.unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::StagingDamaged, Some("k")));
    assert_eq!((count(&requests, "DELETE "), count(&requests, "POST ")), (1, 1), "aborted, never completed");

    let (store, requests, parts) = copying_service(second, 412).await;
    assert_eq!(store.copy_from("staging", "k", "to", &parts).await.unwrap(), Put::Exists);
    assert_eq!(count(&requests, "DELETE "), 1);
}

#[tokio::test]
async fn s3_tells_a_missing_staging_bucket() {
    let (client, _root) = bucket::server().await;
    let store = S3Storage::new(client, "vault");
    let error = store.copy_from("nowhere", "a", "b", &sums(b"")).await.unwrap_err();
    assert_eq!(error.code, Code::StagingDamaged);
}

/// A service with one object, locked until a day of 2027, and some that are not.
async fn locking_service() -> (S3Storage, bucket::Requests) {
    let (client, requests) = bucket::scripted(|line| {
        let error = |code: &str| format!("<Error><Code>{code}</Code></Error>");
        if line.starts_with("PUT ") {
            (200, "", String::new())
        } else if line.contains("/locked?") {
            let until = "<RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate>";
            (200, "", format!("<Retention><Mode>COMPLIANCE</Mode>{until}</Retention>"))
        } else if line.contains("/free?") {
            (404, "", error("NoSuchObjectLockConfiguration"))
        } else if line.contains("/gone?") {
            (404, "", error("NoSuchKey"))
        } else if line.contains("/plain?") {
            (400, "", error("InvalidRequest"))
        } else {
            (403, "", error("AccessDenied"))
        }
    })
    .await;
    (S3Storage::new(client, "vault"), requests)
}

#[tokio::test]
async fn a_lock_of_s3_is_extended_in_its_own_mode_and_never_shortened() {
    const END: i64 = 1_798_761_600;
    let (store, requests) = locking_service().await;
    assert_eq!(store.locked_until("locked").await, Ok(Some(END)));
    for key in ["free", "gone", "plain"] {
        assert_eq!(store.locked_until(key).await, Ok(None), "{key}");
        store.keep_until(key, END).await.unwrap();
    }
    assert_eq!(store.locked_until("secret").await.unwrap_err().code, Code::StorageDenied);
    store.keep_until("locked", END - 1).await.unwrap();
    store.keep_until("locked", END).await.unwrap();
    assert_eq!(count(&requests, "PUT "), 0);
    store.keep_until("locked", END + 86_400).await.unwrap();
    let requests = requests.lock().unwrap();
    let put = requests.iter().find(|request| request.starts_with("PUT ")).unwrap();
    assert!(put.contains("COMPLIANCE") && put.contains("2027-01-02T00:00:00Z"), "{put}");
}

#[tokio::test]
async fn s3_tells_the_checksum_that_it_keeps_without_being_read() {
    // RFC 6234: SHA-256 of "abc".
    let (client, requests) = bucket::scripted(|_| {
        (
            200,
            "content-length: 3\r\nx-amz-checksum-sha256: ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\r\n",
            String::new(),
        )
    })
    .await;
    let store = S3Storage::new(client, "vault");
    let digest = |bytes: &[u8]| vec![hex::encode(Sha256::digest(bytes))];
    let found = store.inspect("packs/a", &digest(b"abc")).await.unwrap();
    assert_eq!((found.size, found.sum), (3, StoredSum::Same));
    assert_eq!(store.inspect("packs/a", &digest(b"abd")).await.unwrap().sum, StoredSum::Differs);
    assert_eq!((count(&requests, "HEAD "), count(&requests, "GET ")), (2, 0));
    let asked = requests.lock().unwrap()[0].to_lowercase();
    assert!(asked.contains("x-amz-checksum-mode: enabled"), "{asked}");
}
