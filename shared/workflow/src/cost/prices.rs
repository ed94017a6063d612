//! Every price that Holdfast says something of, with its date.
//!
//! They are list prices of November 2026 in us-east-1, for the first tier of each, written down from general knowledge.
//! A provider changes its prices when it likes, and other regions have others: check each against the provider's page
//! (aws.amazon.com/s3/pricing, /lambda/pricing, /step-functions/pricing, /dynamodb/pricing, /backup/pricing) before a
//! decision hangs on it.

use super::real;
use serde::Serialize;

/// Prices in dollars.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prices {
    /// The month that they are of.
    pub as_of: &'static str,
    /// The region that they are of.
    pub region: &'static str,
    /// A GiB in S3 Standard for a month, the first 50 TB.
    pub s3_gib_month: f64,
    /// A PUT, COPY, POST or LIST request to S3 Standard; a part that is copied is one.
    pub s3_put: f64,
    /// A GET, HEAD or any other request to S3 Standard. A DELETE costs nothing.
    pub s3_get: f64,
    /// A read request unit of a DynamoDB table on demand: up to 4 KiB, read consistently.
    pub dynamodb_read_unit: f64,
    /// A write request unit of a DynamoDB table on demand: up to 1 KiB.
    pub dynamodb_write_unit: f64,
    /// A call of a Lambda function.
    pub lambda_call: f64,
    /// A GiB of a Lambda function's memory for a second, on arm64.
    pub lambda_gib_second: f64,
    /// A state transition of a standard workflow of Step Functions.
    pub step_functions_transition: f64,
    /// A GiB of a DynamoDB table in AWS Backup's warm storage for a month.
    pub aws_backup_dynamodb_gib_month: f64,
    /// A GiB of S3 objects in AWS Backup's warm storage for a month.
    pub aws_backup_s3_gib_month: f64,
    /// A GiB of a DynamoDB table under point-in-time recovery for a month, by the table's size.
    pub pitr_gib_month: f64,
}

/// The list prices.
pub const LIST: Prices = Prices {
    as_of: "November 2026",
    region: "us-east-1",
    s3_gib_month: 0.023,
    s3_put: 0.005 / 1e3,
    s3_get: 0.000_4 / 1e3,
    dynamodb_read_unit: 0.125 / 1e6,
    dynamodb_write_unit: 0.625 / 1e6,
    lambda_call: 0.20 / 1e6,
    lambda_gib_second: 0.000_013_333_4,
    step_functions_transition: 0.025 / 1e3,
    aws_backup_dynamodb_gib_month: 0.10,
    aws_backup_s3_gib_month: 0.05,
    pitr_gib_month: 0.20,
};

/// So many bytes in GiB.
#[must_use]
pub fn gib(bytes: u64) -> f64 {
    real(bytes) / f64::from(1 << 30)
}

/// Dollars in a month for so many bytes in the vault.
#[must_use]
pub fn dollars_per_month(bytes: u64) -> f64 {
    gib(bytes) * LIST.s3_gib_month
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_tebibyte_costs_what_the_list_says() {
        assert!((super::dollars_per_month(1 << 40) - 23.552).abs() < 1e-9);
        assert!(super::dollars_per_month(0).abs() < 1e-9);
    }
}
