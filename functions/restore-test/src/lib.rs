//! A CloudFormation custom resource that proves a restore.
