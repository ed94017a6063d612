//! Feeds any bytes to everything that decodes: `fuzz/` does so for hours, and the tests of this crate for a moment.
//!
//! A check panics where a decoder does, where what was decoded does not come back from its own encoding, or where something
//! is said to be sound that is not. Decoders take bytes of a store that is not trusted; behind a seal they must stand
//! whatever a fault of a writer could have sealed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a suite of assertions, for tests only"
)]

mod formats;
mod sealed;
mod seeds;
#[cfg(test)]
mod tests;

pub use sealed::now;
pub use seeds::seeds;

/// Something that decodes, to be fed with any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder of examples in `fuzz/corpus`.
    pub name: &'static str,
    /// Feeds it.
    pub check: fn(&[u8]),
    /// How many bytes of memory it may take for a byte of input, beside [`FREE`].
    pub memory: usize,
}

/// Bytes of memory that are free of charge: a sealer, a compressor, a storage.
pub const FREE: usize = 24 << 20;

/// All targets of this crate.
pub const TARGETS: &[Target] = &[
    Target { name: "wire", check: formats::wire, memory: 100 },
    Target { name: "frame", check: formats::frame, memory: 100 },
    Target { name: "footer", check: formats::footer, memory: 200 },
    Target { name: "manifest", check: formats::manifest, memory: 1_000 },
    Target { name: "root", check: formats::root, memory: 1_000 },
    Target { name: "entries", check: formats::entries, memory: 400 },
    Target { name: "chunk_lists", check: formats::chunk_lists, memory: 200 },
    Target { name: "changes", check: formats::changes, memory: 400 },
    Target { name: "names", check: formats::names, memory: 200 },
    // A block of Zstandard of four bytes becomes 128 KiB.
    Target { name: "expand", check: formats::expanded, memory: 2 * (128 << 10) / 4 + 100 },
    Target { name: "sealed", check: sealed::any_object, memory: 1_000 },
    Target { name: "packs", check: sealed::hostile_pack, memory: 6_000 },
    Target { name: "change_objects", check: sealed::hostile_changes, memory: 6_000 },
];
