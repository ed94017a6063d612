//! What stands in for crates that are not built here: plain data without behaviour.

use serde::{Deserialize, Serialize};

/// `aws_sdk_dynamodb::types`.
pub mod types {
    use super::primitives::Blob;
    use std::collections::HashMap;

    #[derive(Debug, Clone, PartialEq)]
    pub enum AttributeValue {
        B(Blob),
        Bool(bool),
        Bs(Vec<Blob>),
        L(Vec<AttributeValue>),
        M(HashMap<String, AttributeValue>),
        N(String),
        Ns(Vec<String>),
        Null(bool),
        S(String),
        Ss(Vec<String>),
        Unknown,
    }
}

/// `aws_sdk_dynamodb::primitives`.
pub mod primitives {
    #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Blob(Vec<u8>);

    impl Blob {
        pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
            Self(bytes.into())
        }

        pub fn into_inner(self) -> Vec<u8> {
            self.0
        }
    }

    impl AsRef<[u8]> for Blob {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
}

/// `holdfast_common::jobs`.
pub mod jobs {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum BackupType {
        #[default]
        Full,
        Incremental,
        Differential,
    }
}

/// `holdfast_workflow::events::Selection`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    #[serde(default)]
    pub streams: Vec<String>,
    #[serde(default)]
    pub paths: Vec<String>,
    #[serde(default)]
    pub keys: Vec<String>,
}
