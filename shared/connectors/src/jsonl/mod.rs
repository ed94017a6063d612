//! JSON Lines: a source that reads a directory of such files, one record stream a file, and a target that writes one.
//!
//! A line is kept byte for byte, without the line feed that ends it. Its key is found in the same pass that proves it
//! to be JSON.

mod key;
mod lines;
mod live;
mod merge;
mod replace;
mod source;
mod target;

pub(crate) use key::{Found, KeyFault, KeyReader, array_index, parse_pointer};
pub use live::JsonlLive;
pub use source::JsonlSource;
pub use target::JsonlTarget;
