//! The embedded interpreter of state machines (Amazon States Language with `JSONPath`).
//!
//! It runs the definitions of `infra/statemachines` as Step Functions does, and refuses, when it loads one, every field
//! and every construct that it does not know: a definition that runs here means the same there. What the world gives
//! (calls, objects, time, an observer) comes through [`Ports`], so that tests run on a clock of their own.
//!
//! What it holds to, beyond the language:
//! - A state's input, payload, result and output are at most 256 KiB each, before any `ResultPath` drops them.
//! - A history has at most 25,000 events. Children of a distributed Map have histories of their own.
//! - `States.Runtime` is never retried or caught; `States.DataLimitExceeded` only where it is named.
//! - When a child fails a Map or Parallel, the other children have ended before the error leaves the state.

mod children;
mod choice;
mod context;
mod definition;
mod expression;
mod failure;
mod fields;
mod flow;
mod functions;
mod graph;
mod interpreter;
mod items;
mod json;
mod load;
mod load_map;
mod machine;
mod map;
mod names;
mod outcome;
mod parallel;
mod paths;
mod ports;
mod resources;
mod retry;
mod scope;
mod task;
mod template;
mod time;
mod wall;

#[cfg(test)]
mod tests;

pub use failure::Failure;
pub use interpreter::{Execution, Interpreter, Options, Stopper};
pub use machine::{StateMachine, TaskReference};
pub use outcome::ExecutionOutcome;
pub use ports::{Event, Happening, Objects, Observer, Ports, Tasks, Time};
pub use wall::WallTime;
