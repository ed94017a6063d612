//! What the interpreter does, seen from outside: definitions in, outcomes, calls and delays out.

#![expect(clippy::needless_pass_by_value, reason = "json! literals read best where they are used")]

mod data;
mod errors;
mod limits;
mod loading;
mod maps;
mod property;
mod states;
mod stopping;
mod world;
