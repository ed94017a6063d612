//! What the work of a month and the bytes in the vault come to.

use super::comparison::Comparison;
use super::load::{DAYS, Load};
use super::plan::Model;
use super::prices::{LIST, Prices, gib};
use super::shape::{Cut, Layer};
use super::work::Work;
use super::{real, whole};
use holdfast_common::jobs::BackupType;
use serde::Serialize;

/// Dollars, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bill {
    /// Requests to S3 that cost what a PUT does.
    pub s3_puts: f64,
    /// Requests to S3 that cost what a GET does.
    pub s3_gets: f64,
    /// Reads and writes of job state.
    pub state: f64,
    /// The scan of a table that is the source.
    pub scan: f64,
    /// Calls and run time of functions.
    pub lambda: f64,
    /// State transitions.
    pub step_functions: f64,
    /// Bytes in the vault.
    pub vault: f64,
    /// All of it.
    pub total: f64,
}

impl Bill {
    /// What some work costs, and so many bytes in the vault for a month.
    #[must_use]
    pub fn of(work: &Work, vault_bytes: u64, prices: &Prices) -> Self {
        let mut bill = Self {
            s3_puts: real(work.s3_puts()) * prices.s3_put,
            s3_gets: real(work.s3_gets()) * prices.s3_get,
            state: real(work.state_reads) * prices.dynamodb_read_unit
                + real(work.state_writes) * prices.dynamodb_write_unit,
            scan: real(work.scan_reads) * prices.dynamodb_read_unit,
            lambda: real(work.calls) * prices.lambda_call + work.gib_seconds * prices.lambda_gib_second,
            step_functions: real(work.transitions) * prices.step_functions_transition,
            vault: gib(vault_bytes) * prices.s3_gib_month,
            total: 0.0,
        };
        bill.total = bill.s3_puts
            + bill.s3_gets
            + bill.state
            + bill.scan
            + bill.lambda
            + bill.step_functions
            + bill.vault;
        bill
    }
}

/// Some work, once, and its price.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Once {
    /// The work.
    #[serde(flatten)]
    pub work: Work,
    /// Its price, without anything for bytes.
    pub dollars: Bill,
}

impl Once {
    fn of(work: Work) -> Self {
        Self { work, dollars: Bill::of(&work, 0, &LIST) }
    }
}

/// A month of 30 days in which as many backups go as come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Month {
    /// Backups, their verification, the daily verification and the daily prune.
    #[serde(flatten)]
    pub work: Work,
    /// Bytes in the vault.
    pub vault_bytes: u64,
    /// The same for a month, in GiB-months.
    pub vault_gib_months: f64,
    /// The price.
    pub dollars: Bill,
}

/// What a load costs.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// What was asked about.
    pub load: Load,
    /// The prices.
    pub prices: Prices,
    /// The first backup.
    pub first_backup: Once,
    /// A later one.
    pub backup: Once,
    /// A month of them.
    pub month: Month,
    /// What AWS's own backups of the same come to.
    pub comparison: Comparison,
}

/// What a load costs at list prices.
#[must_use]
pub fn cost(load: Load) -> Cost {
    let model = Model::new(&load);
    let first = model.first();
    let is_full = load.backup_type == BackupType::Full;
    let backup = if is_full { first } else { model.increment(load.deltas(), false) };
    let backups = load.backups_per_day * DAYS;
    let merges = if is_full { 0.0 } else { backups / load.cycle() };
    let mut work = backup.times(backups - merges);
    if merges > 0.0 {
        work += model.increment(load.deltas(), true).times(merges);
    }
    work += model.daily_verification().times(DAYS);
    work += model.prune().times(DAYS);
    let vault_bytes = vault_bytes(&load);
    let dollars = Bill::of(&work, vault_bytes, &LIST);
    let month = Month { work, vault_bytes, vault_gib_months: gib(vault_bytes), dollars };
    let comparison = Comparison::of(&load, &LIST);
    Cost { prices: LIST, first_backup: Once::of(first), backup: Once::of(backup), month, comparison, load }
}

/// Bytes in the vault for the backups that are kept.
fn vault_bytes(load: &Load) -> u64 {
    let (bases, deltas) = load.layers_kept();
    let mut bytes = 0.0;
    for of in &load.streams {
        let base = Layer::of(*of, Cut::of(*of, load).steps, load);
        // Not rounded to whole records: of a small stream that would be most of it.
        let delta = real(base.stored) * load.change();
        bytes += bases * real(base.stored) + deltas * delta;
    }
    whole(bytes)
}
