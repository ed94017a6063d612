//! Recovery points, those of AWS Backup and of DynamoDB: restored, tested, validated.
