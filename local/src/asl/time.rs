//! Times as the States Language writes them.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// RFC 3339 in UTC with milliseconds.
pub(super) fn format_timestamp(at: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&at)
}

/// Reads RFC 3339 with a capital `T` and an offset.
pub(super) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let shaped = text.as_bytes().get(10) == Some(&b'T') && !text.contains(['[', 'z']);
    if shaped { text.parse().ok() } else { None }
}
