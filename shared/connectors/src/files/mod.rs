//! Directories: a source that reads one as a tree stream, and a target that gets tree streams.
//!
//! Both work with open directories rather than with long paths, and follow no link below the directory that the
//! operator named: what is swapped for a link while they work cannot lead them out of it.

mod attributes;
mod journal;
mod place;
mod source;
mod target;
mod walk;
mod write;

pub use source::FilesSource;
pub use target::FilesTarget;
