//! Copies of more than one part.

use super::{BASE64, Failure, S3Storage, TRIES, failure, sha256};
use crate::storage::{check_part, staging_damaged, staging_missing};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use futures::stream::{self, StreamExt, TryStreamExt};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::{PartSum, Put};

/// Parts under way at a time.
const PARALLEL: usize = 4;

/// One multipart upload, from one object to another.
struct Copy<'a> {
    store: &'a S3Storage,
    from: &'a str,
    key: &'a str,
    to: &'a str,
    upload: String,
}

/// One part of it.
struct Piece {
    at: usize,
    start: u64,
    sum: PartSum,
}

impl S3Storage {
    /// Copies part by part. An upload that does not become the object is aborted, so that nothing of it remains.
    pub(super) async fn copy_in_parts(
        &self,
        from: &str,
        key: &str,
        to: &str,
        parts: &[PartSum],
    ) -> Result<Put> {
        for attempt in 0.. {
            let made = self
                .client
                .create_multipart_upload()
                .bucket(&self.bucket)
                .key(to)
                .checksum_algorithm(ChecksumAlgorithm::Sha256)
                .send()
                .await
                .map_err(|error| self.error(failure(&error), to, "beginning a copy to"))?;
            let copy = Copy { store: self, from, key, to, upload: made.upload_id.unwrap_or_default() };
            let ended = match copy.all(parts).await {
                Ok(done) => copy.complete(done).await,
                Err(error) => {
                    copy.abort().await;
                    return Err(error);
                }
            };
            let Err(why) = ended else { return Ok(Put::Created) };
            copy.abort().await;
            match why {
                Failure::Taken => return Ok(Put::Exists),
                // The service asks to begin the whole upload again.
                Failure::Collision if attempt < TRIES => crate::wait::back_off(attempt).await,
                why => return Err(self.error(why, to, "completing the copy to")),
            }
        }
        Err(Error::new(Code::Internal, format!("copying to {to} was given up")))
    }
}

impl Copy<'_> {
    async fn all(&self, parts: &[PartSum]) -> Result<Vec<CompletedPart>> {
        let starts = parts.iter().scan(0, |next, part| {
            let start = *next;
            *next += part.size;
            Some(start)
        });
        let pieces: Vec<Piece> = parts
            .iter()
            .zip(starts)
            .enumerate()
            .map(|(at, (sum, start))| Piece { at, start, sum: sum.clone() })
            .collect();
        stream::iter(pieces).map(|piece| self.part(piece)).buffered(PARALLEL).try_collect().await
    }

    async fn part(&self, piece: Piece) -> Result<CompletedPart> {
        let answer = self
            .store
            .client
            .upload_part_copy()
            .bucket(&self.store.bucket)
            .key(self.to)
            .upload_id(&self.upload)
            .part_number(number(&piece))
            // Keys are ASCII letters, digits and `-_./`: nothing to escape.
            .copy_source(format!("{}/{}", self.from, self.key))
            .copy_source_range(range(&piece))
            .send()
            .await
            .map_err(|error| self.source_error(failure(&error)))?;
        let result = answer.copy_part_result;
        let (tag, sum) = result.map_or((None, None), |part| (part.e_tag, part.checksum_sha256));
        let Some(sum) = sum else { return self.carried(&piece).await };
        let expected = hex::decode(&piece.sum.sha256).map(|sum| BASE64.encode(sum));
        if expected.as_deref() != Ok(sum.as_str()) {
            let why = format!("part {} is not what was exported", piece.at + 1);
            return Err(staging_damaged(self.key, why));
        }
        Ok(completed(&piece, tag, Some(sum)))
    }

    /// Reads a part, compares it and uploads it: for services that say no checksum of what they copied.
    async fn carried(&self, piece: &Piece) -> Result<CompletedPart> {
        let body = self
            .store
            .read_in(self.from, self.key, Some(range(piece)))
            .await
            .map_err(|failure| self.source_error(failure))?;
        check_part(self.key, piece.at, &body, &piece.sum)?;
        let sum = sha256(&body);
        let answer = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(self.to)
            .upload_id(&self.upload)
            .part_number(number(piece))
            .checksum_sha256(&sum)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| self.store.error(failure(&error), self.to, "copying a part to"))?;
        Ok(completed(piece, answer.e_tag, answer.checksum_sha256))
    }

    async fn complete(&self, parts: Vec<CompletedPart>) -> Result<(), Failure> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(self.to)
            .upload_id(&self.upload)
            .if_none_match("*")
            .multipart_upload(parts)
            .send()
            .await;
        completed.map(|_| ()).map_err(|error| failure(&error))
    }

    async fn abort(&self) {
        let aborted = self
            .store
            .client
            .abort_multipart_upload()
            .bucket(&self.store.bucket)
            .key(self.to)
            .upload_id(&self.upload)
            .send()
            .await;
        if let Err(why) = aborted.map_err(|error| failure(&error)) {
            // The bucket's lifecycle removes what is left of it.
            tracing::warn!(object = self.to, ?why, "an upload was not aborted");
        }
    }

    fn source_error(&self, failure: Failure) -> Error {
        match failure {
            Failure::Missing => staging_missing(self.from, self.key),
            Failure::Range => staging_damaged(self.key, "it is shorter than what was exported"),
            failure => failure.into_error(self.from, self.key, "copying"),
        }
    }
}

fn number(piece: &Piece) -> i32 {
    i32::try_from(piece.at + 1).unwrap_or(i32::MAX)
}

fn range(piece: &Piece) -> String {
    format!("bytes={}-{}", piece.start, (piece.start + piece.sum.size).saturating_sub(1))
}

fn completed(piece: &Piece, tag: Option<String>, sum: Option<String>) -> CompletedPart {
    CompletedPart::builder().part_number(number(piece)).set_e_tag(tag).set_checksum_sha256(sum).build()
}
