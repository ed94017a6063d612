//! Placeholder.

pub mod asl;
pub mod dynamodb;
