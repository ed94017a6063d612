//! What every Lambda function begins with: logs, services out of the environment, keys out of KMS, errors as Lambda
//! knows them.

pub mod custom_resource;
mod environment;
mod keys;
mod runtime;

pub use environment::{Environment, aws_config, services};
pub use keys::{create_vault, open_vault};
pub use runtime::{run, run_with};
