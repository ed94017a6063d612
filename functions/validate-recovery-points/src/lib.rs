//! Reports what AWS Backup failed to do in the last day.
