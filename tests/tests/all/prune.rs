//! What `prune` deletes, what it never deletes, and when: with backups under way, crashes, duplicates and late handlers.

pub(crate) mod bench;
mod changes;
mod crash;
mod ends;
mod faults;
mod fence;
mod pages;
mod stops;
mod store;
