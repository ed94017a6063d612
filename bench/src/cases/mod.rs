//! The cases: each sets something up, measures Holdfast at it and judges the figures.

pub(crate) mod all;
pub(crate) mod chain;
pub(crate) mod compare;
pub(crate) mod engine;
pub(crate) mod functions;
pub(crate) mod growth;
mod history;
pub(crate) mod items;
pub(crate) mod memory;
mod overhead;
mod shop;
mod table;
pub(crate) mod undo;
