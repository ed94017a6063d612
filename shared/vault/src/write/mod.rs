//! Writing: sealed objects, tree segments, runs of records. Synchronous; finished objects are handed back whole.

pub mod changes;
pub mod object;
pub mod records;
pub mod tree;

pub use object::{FinishedObject, ObjectWriter};
pub use records::{RecordsWriter, RunLimits};
pub use tree::{Change, ChunkPlace, Ended, TreeLimits, TreeWriter};

/// How much plain data goes into a block before it is sealed.
pub const BLOCK_LEN: usize = 1 << 20;
/// How large a pack grows before it is finished, about.
pub const PACK_LEN: usize = 32 << 20;
