//! S3: the objects below a prefix are one tree stream, `objects`.
//!
//! An object is an entry of kind file, also where its key ends with `/`: its path is the key without the prefix, its
//! time the object's last modification, and these attributes hold what stands beside the content: `etag`,
//! `content-type`, `cache-control`, `content-encoding`, `content-disposition`, `content-language`, `expires`,
//! `storage-class`, `website-redirect`, `meta:NAME` for user metadata and `tag:NAME` for tags.
//!
//! As a target, a bucket takes any tree. What has no place in an object is kept as user metadata: `holdfast-mode` (octal)
//! and `holdfast-mtime` (seconds since 1970, with nine decimals) of a file system's entries, and `holdfast-kind`:
//! `directory`, an empty object whose key ends with `/`, or `symlink`, an empty object with `holdfast-target` (base64).
//! As a source, such objects are entries of a file system again, but for the bits of a mode that lend rights.

mod object;
mod read;
mod source;
mod target;
mod throw_away;
mod upload;

pub use source::S3Source;
pub use target::S3Target;
pub(crate) use throw_away::remove_prefix;
