//! What every Lambda function begins with: logs, services out of the environment, errors as Lambda knows them.

pub mod custom_resource;
mod environment;
mod executions;
mod runtime;

pub use environment::{Control, Environment, aws_config, control, services};
pub use executions::StepFunctions;
pub use runtime::{run, run_with};
