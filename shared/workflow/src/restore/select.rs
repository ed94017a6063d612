//! Which part of a backup is asked for.

use crate::events::Selection;
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::model::StreamKind;

/// The streams that a selection asks for.
///
/// # Errors
/// `InvalidInput` naming the option that does not fit the backup.
pub(super) fn check<'a>(manifest: &'a Manifest, selection: &Selection) -> Result<Vec<&'a StreamManifest>> {
    let mut streams: Vec<&StreamManifest> = if selection.streams.is_empty() {
        manifest.streams.iter().collect()
    } else {
        selection.streams.iter().map(|name| manifest.stream(name)).collect::<Result<_>>()?
    };
    if !selection.keys.is_empty() {
        only(&mut streams, "--key", "records", |shape| matches!(shape, StreamKind::Records { .. }))?;
    }
    if !selection.paths.is_empty() {
        globs(&selection.paths)?;
        only(&mut streams, "--path", "files", |shape| matches!(shape, StreamKind::Tree))?;
    }
    Ok(streams)
}

fn only(
    streams: &mut Vec<&StreamManifest>,
    option: &str,
    what: &str,
    fits: impl Fn(&StreamKind) -> bool,
) -> Result<()> {
    streams.retain(|stream| fits(&stream.info.shape));
    if streams.is_empty() {
        return Err(Error::new(Code::InvalidInput, format!("the backup has no stream of {what}"))
            .object(option)
            .hint(format!("leave {option} out")));
    }
    Ok(())
}

/// Globs over paths: `*` and `?` stay within a directory, `**` does not.
///
/// # Errors
/// `InvalidInput` naming the glob.
pub(super) fn globs(patterns: &[String]) -> Result<GlobSet> {
    let bad = |pattern: &str, why: &globset::Error| {
        Error::new(Code::InvalidInput, format!("--path {pattern:?} is no glob: {}", why.kind()))
            .object("--path")
            .hint("use * and ? within a directory and ** across directories")
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob: Glob = GlobBuilder::new(pattern.trim_end_matches('/'))
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|why| bad(pattern, &why))?;
        set.add(glob);
    }
    set.build().map_err(|why| bad("", &why))
}

/// Whether a path is asked for: it matches, or a directory above it does.
pub(super) fn matches(globs: &GlobSet, path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let whole = path.strip_suffix(b"/").unwrap_or(path);
    let is_match = |path: &[u8]| globs.is_match(std::path::Path::new(std::ffi::OsStr::from_bytes(path)));
    let above = whole.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &whole[..at]);
    is_match(whole) || above.into_iter().any(is_match)
}
