//! Uploads large content in parts.

use super::object::{expires, metadata, storage_class, tagging};
use super::target::{Hash, S3Target, described, status};
use crate::aws::Tell;
use crate::target::Content;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::{FuturesUnordered, StreamExt};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryKind, EntryMeta};
use sha2::{Digest, Sha256};

const PART: u64 = 16 << 20;
const MOST_PARTS: u64 = 10_000;
/// Parts on their way together, while they are small.
const IN_FLIGHT: u64 = 64 << 20;

impl S3Target {
    /// Uploads an object; `false` if one was there when it was complete and none may be. Nothing of a failed upload
    /// is left.
    pub(super) async fn upload(
        &self,
        key: &str,
        meta: &EntryMeta,
        content: &mut dyn Content,
        if_absent: bool,
    ) -> Result<(Hash, bool)> {
        let created = described!(self.client.create_multipart_upload(), meta)
            .bucket(&self.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(|error| self.subject.fault("write an object of", Tell::NoValues, &error))?;
        let id = created.upload_id.ok_or_else(|| {
            Error::new(Code::TargetUnavailable, format!("{} gave no id for an upload", self.subject.what))
        })?;
        let result = match self.send_parts(key, &id, meta, content).await {
            Ok((hash, parts)) => self.complete(key, &id, parts, if_absent).await.map(|done| (hash, done)),
            Err(error) => Err(error),
        };
        if !matches!(result, Ok((_, true))) {
            // What failed is worth more to the operator than that clearing up after it failed too.
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(&id);
            if let Err(error) = abort.send().await {
                tracing::warn!(bucket = %self.bucket, status = ?status(&error), "an upload could not be aborted");
            }
        }
        result
    }

    async fn send_parts(
        &self,
        key: &str,
        id: &str,
        meta: &EntryMeta,
        content: &mut dyn Content,
    ) -> Result<(Hash, Vec<CompletedPart>)> {
        let part = usize::try_from(PART.max(meta.size.div_ceil(MOST_PARTS))).unwrap_or(usize::MAX);
        let at_once = usize::try_from(IN_FLIGHT / PART.max(part as u64)).unwrap_or(1).max(1);
        let mut hash = Sha256::new();
        let mut sending = FuturesUnordered::new();
        let mut parts = Vec::new();
        let mut waiting = BytesMut::new();
        let mut total = 0;
        let mut number = 0;
        loop {
            let bytes = content.next().await?;
            let ended = bytes.is_none();
            if let Some(bytes) = bytes {
                total += bytes.len() as u64;
                hash.update(&bytes);
                waiting.extend_from_slice(&bytes);
            }
            while waiting.len() >= part || (ended && !waiting.is_empty()) {
                if sending.len() == at_once
                    && let Some(sent) = sending.next().await
                {
                    parts.push(sent?);
                }
                number += 1;
                let body = waiting.split_to(part.min(waiting.len())).freeze();
                sending.push(self.send_part(key, id, number, body));
            }
            if ended {
                break;
            }
        }
        while let Some(sent) = sending.next().await {
            parts.push(sent?);
        }
        self.whole(key, meta, total)?;
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok((hash.finalize().into(), parts))
    }

    async fn send_part(&self, key: &str, id: &str, number: i32, body: Bytes) -> Result<CompletedPart> {
        let checksum = STANDARD.encode(Sha256::digest(&body));
        let sent = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(id)
            .part_number(number)
            .checksum_sha256(&checksum)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| self.subject.fault("write an object of", Tell::NoValues, &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .checksum_sha256(checksum)
            .build())
    }

    async fn complete(
        &self,
        key: &str,
        id: &str,
        parts: Vec<CompletedPart>,
        if_absent: bool,
    ) -> Result<bool> {
        let completed = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(id)
            .set_if_none_match(if_absent.then(|| "*".to_owned()))
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await;
        match completed {
            Ok(_) => Ok(true),
            Err(error) if if_absent && matches!(status(&error), Some(409 | 412)) => Ok(false),
            Err(error) => Err(self.subject.fault("write an object of", Tell::NoValues, &error)),
        }
    }
}
