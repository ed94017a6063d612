//! Object Lock: until when S3 itself keeps an object.
//!
//! A lock is of a version of an object, and a delete without a version only hides that version. So a lock keeps the bytes
//! whatever happens here; that it is asked for spares an object that would be hidden while it is kept and paid for.

use super::S3Storage;
use super::failure::{Failure, failure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use holdfast_vault::error::Result;

/// The lock of an object.
pub(super) struct Lock {
    /// Until when, in seconds since 1970.
    pub(super) until: i64,
    mode: ObjectLockRetentionMode,
}

impl S3Storage {
    /// The lock of an object; `None` where it has none, is not there, or is in a bucket or a store without locks.
    pub(super) async fn lock_of(&self, key: &str) -> Result<Option<Lock>> {
        let asked = self.client.get_object_retention().bucket(&self.bucket).key(key).send().await;
        let error = match asked {
            Ok(answer) => {
                let lock = |of: ObjectLockRetention| {
                    Some(Lock { until: of.retain_until_date?.secs(), mode: of.mode? })
                };
                return Ok(answer.retention.and_then(lock));
            }
            Err(error) => error,
        };
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
        // S3 says `InvalidRequest` of a bucket without Object Lock, and of an object what begins with `NoSuch`.
        let unlocked = matches!(
            code,
            "NoSuchObjectLockConfiguration"
                | "ObjectLockConfigurationNotFoundError"
                | "InvalidRequest"
                | "NotImplemented"
        );
        match failure(&error) {
            _ if unlocked => Ok(None),
            Failure::Missing => Ok(None),
            failure => Err(self.error(failure, key, "asking for the lock of")),
        }
    }

    /// Makes a lock last longer, in its own mode.
    pub(super) async fn extend(&self, key: &str, lock: &Lock, until: i64) -> Result<()> {
        let retention = ObjectLockRetention::builder()
            .mode(lock.mode.clone())
            .retain_until_date(DateTime::from_secs(until))
            .build();
        let put = self.client.put_object_retention().bucket(&self.bucket).key(key).retention(retention);
        match put.send().await.map_err(|error| failure(&error)) {
            Ok(_) | Err(Failure::Missing) => Ok(()),
            Err(failure) => Err(self.error(failure, key, "extending the lock of")),
        }
    }
}
