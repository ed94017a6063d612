//! Restores a recovery point of DynamoDB or of AWS Backup into a new table.
