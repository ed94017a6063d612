//! What a step asks of the services, in their own units.

use super::{real, whole};
use holdfast_vault::storage::PART_SIZE;
use serde::Serialize;
use std::ops::AddAssign;

/// Requests to a store, as the storage port counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Calls {
    /// Objects written.
    pub put: u64,
    /// Objects and ranges read.
    pub get: u64,
    /// Objects looked at.
    pub head: u64,
    /// Objects copied into the store, in however many parts.
    pub copy: u64,
    /// Pages listed.
    pub list: u64,
    /// Objects removed.
    pub delete: u64,
}

impl AddAssign for Calls {
    fn add_assign(&mut self, other: Self) {
        self.put += other.put;
        self.get += other.get;
        self.head += other.head;
        self.copy += other.copy;
        self.list += other.list;
        self.delete += other.delete;
    }
}

impl Calls {
    fn times(self, by: f64) -> Self {
        let scaled = |number| whole(real(number) * by);
        Self {
            put: scaled(self.put),
            get: scaled(self.get),
            head: scaled(self.head),
            copy: scaled(self.copy),
            list: scaled(self.list),
            delete: scaled(self.delete),
        }
    }
}

/// What some steps ask of all services.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Work {
    /// Requests to the vault.
    pub vault: Calls,
    /// Requests to staging.
    pub staging: Calls,
    /// Requests to a bucket that is the source.
    pub source: Calls,
    /// Requests of S3 that the port's copies consist of, which cost what a PUT does.
    pub copy_puts: u64,
    /// Requests of S3 that the port's copies consist of, and those of maps that read their lists, which cost what a GET
    /// does.
    pub copy_gets: u64,
    /// Read request units of job state.
    pub state_reads: u64,
    /// Write request units of job state, its indexes among them.
    pub state_writes: u64,
    /// Read request units of the scan of a table that is the source.
    pub scan_reads: u64,
    /// Calls of functions.
    pub calls: u64,
    /// Memory of functions in GiB times the seconds that they run; measured nowhere, estimated.
    pub gib_seconds: f64,
    /// State transitions.
    pub transitions: u64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.vault += other.vault;
        self.staging += other.staging;
        self.source += other.source;
        self.copy_puts += other.copy_puts;
        self.copy_gets += other.copy_gets;
        self.state_reads += other.state_reads;
        self.state_writes += other.state_writes;
        self.scan_reads += other.scan_reads;
        self.calls += other.calls;
        self.gib_seconds += other.gib_seconds;
        self.transitions += other.transitions;
    }
}

impl Work {
    /// The same so often.
    #[must_use]
    pub fn times(self, by: f64) -> Self {
        let scaled = |number| whole(real(number) * by);
        Self {
            vault: self.vault.times(by),
            staging: self.staging.times(by),
            source: self.source.times(by),
            copy_puts: scaled(self.copy_puts),
            copy_gets: scaled(self.copy_gets),
            state_reads: scaled(self.state_reads),
            state_writes: scaled(self.state_writes),
            scan_reads: scaled(self.scan_reads),
            calls: scaled(self.calls),
            gib_seconds: self.gib_seconds * by,
            transitions: scaled(self.transitions),
        }
    }

    /// Requests to S3 that cost what a PUT does.
    #[must_use]
    pub fn s3_puts(&self) -> u64 {
        let of = |calls: Calls| calls.put + calls.list;
        of(self.vault) + of(self.staging) + of(self.source) + self.copy_puts
    }

    /// Requests to S3 that cost what a GET does.
    #[must_use]
    pub fn s3_gets(&self) -> u64 {
        let of = |calls: Calls| calls.get + calls.head;
        of(self.vault) + of(self.staging) + of(self.source) + self.copy_gets
    }

    /// Requests to S3 that cost nothing.
    #[must_use]
    pub fn s3_deletes(&self) -> u64 {
        self.vault.delete + self.staging.delete + self.source.delete
    }

    /// Admits objects of about so many bytes each: copied from staging to the vault, and removed there. On S3 both ends are
    /// looked at first; what is one part is read and put, and what is more is copied part by part by the service.
    pub(super) fn admit(&mut self, objects: u64, bytes: u64) {
        self.vault.copy += objects;
        self.staging.delete += objects;
        self.copy_gets += 2 * objects;
        if bytes > PART_SIZE {
            // One request begins the upload and one completes it.
            self.copy_puts += objects * (bytes.div_ceil(PART_SIZE) + 2);
        } else {
            self.copy_gets += objects;
            self.copy_puts += objects;
        }
    }
}
