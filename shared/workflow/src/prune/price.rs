//! What stored bytes cost.

/// Dollars for a GiB in a month: S3 Standard in us-east-1, the first 50 TB, list price of November 2026. Other regions and
/// classes cost otherwise; this is for a sense of proportion.
pub const DOLLARS_PER_GIB_MONTH: f64 = 0.023;

/// Dollars in a month for so many bytes.
#[must_use]
pub fn dollars_per_month(bytes: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a price needs no more than 53 bits")]
    let gib = bytes as f64 / f64::from(1 << 30);
    gib * DOLLARS_PER_GIB_MONTH
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_tebibyte_costs_what_the_list_says() {
        assert!((super::dollars_per_month(1 << 40) - 23.552).abs() < 1e-9);
        assert!(super::dollars_per_month(0).abs() < 1e-9);
    }
}
