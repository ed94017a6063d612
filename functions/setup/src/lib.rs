//! Makes the vault of a stack: its description and its key, wrapped by KMS. A CloudFormation custom resource.
