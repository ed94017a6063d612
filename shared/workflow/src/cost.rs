//! What protecting a resource costs: requests, stored bytes, compute and dollars a month, out of a model of what the steps do.
//!
//! [`load`] says what is asked about, [`shape`] how it falls into tasks, packs and layers, [`plan`] what each step asks of the
//! services, [`sum`] what that comes to in a month, [`comparison`] what AWS's own backups come to, and [`prices`] has every
//! price. Nothing here reads a clock or a store but [`facts`], which takes a resource's figures from the catalogue.

mod comparison;
mod delta;
mod facts;
mod load;
mod plan;
pub mod prices;
mod shape;
mod state;
mod sum;
mod upkeep;
mod work;

pub use comparison::{Comparison, Held};
pub use facts::{Facts, of_resource};
pub use load::{Asked, Kind, Load, StreamLoad};
pub use plan::Model;
pub use sum::{Bill, Cost, Month, cost};
pub use work::{Calls, Work};

/// A number of things in a calculation.
#[allow(clippy::cast_precision_loss, reason = "a price needs no more than 53 bits")]
fn real(number: u64) -> f64 {
    number as f64
}

/// The nearest number of things; none below zero.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cut off at the bounds of the integer"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// So many things at least: a part of one counts as one.
fn at_least(number: f64) -> u64 {
    whole(number.ceil())
}

#[cfg(test)]
mod tests;
