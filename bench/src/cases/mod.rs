//! The cases: each sets something up, measures Holdfast at it and judges the figures.

pub(crate) mod chain;
mod history;
pub(crate) mod memory;
mod shop;
mod table;
pub(crate) mod undo;
