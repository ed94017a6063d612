//! What AWS's own backups of the same come to: their storage, which is all that they charge for keeping.

use super::load::Load;
use super::prices::{Prices, gib};
use super::{real, whole};
use serde::Serialize;

/// So much, held for a month.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Held {
    /// Bytes.
    pub bytes: u64,
    /// The same for a month, in GiB-months.
    pub gib_months: f64,
    /// The price.
    pub dollars: f64,
}

impl Held {
    fn of(bytes: f64, price: f64) -> Self {
        let bytes = whole(bytes);
        Self { bytes, gib_months: gib(bytes), dollars: gib(bytes) * price }
    }
}

/// The same resource in AWS's own backups.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// AWS Backup, warm storage. Of a table every backup is a full copy; of objects what changed is added.
    pub aws_backup: Held,
    /// Point-in-time recovery of a table, for as long as it is on; none where there are no records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pitr: Option<Held>,
}

impl Comparison {
    pub(super) fn of(load: &Load, prices: &Prices) -> Self {
        let sum = |tree: bool| {
            let of = load.streams.iter().filter(|stream| stream.is_tree() == tree);
            real(of.map(|stream| stream.bytes).sum())
        };
        let (records, files) = (sum(false), sum(true));
        let tables = Held::of(records * real(load.kept), prices.aws_backup_dynamodb_gib_month);
        let later = real(load.span.max(load.kept)) - 1.0;
        let objects = Held::of(files * (1.0 + later * load.change()), prices.aws_backup_s3_gib_month);
        let aws_backup = Held {
            bytes: tables.bytes + objects.bytes,
            gib_months: tables.gib_months + objects.gib_months,
            dollars: tables.dollars + objects.dollars,
        };
        let pitr = (records > 0.0).then(|| Held::of(records, prices.pitr_gib_month));
        Self { aws_backup, pitr }
    }
}
