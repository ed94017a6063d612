//! What commands print: answers on stdout, errors on stderr, each for people or for programs.

use crate::exit::Exit;
use holdfast_vault::error::{Code, Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

/// An answer: `Serialize` is its form for programs.
pub(crate) trait Report: Serialize {
    /// Its form for people.
    fn text(&self, out: &mut String) -> fmt::Result;
}

/// What a command has to say, and how it ends.
pub(crate) struct Outcome {
    stdout: String,
    /// How the command ends.
    pub(crate) exit: Exit,
}

impl Outcome {
    /// The outcome that a report tells, as JSON or as text.
    pub(crate) fn new(report: &impl Report, json: bool, exit: Exit) -> Result<Self> {
        let failed = |why: String| Error::new(Code::Internal, format!("the answer cannot be shown: {why}"));
        let mut stdout = String::new();
        if json {
            stdout = serde_json::to_string(report).map_err(|e| failed(e.to_string()))?;
            stdout.push('\n');
        } else {
            report.text(&mut stdout).map_err(|e| failed(e.to_string()))?;
            stdout = printable(&stdout);
        }
        Ok(Self { stdout, exit })
    }

    /// The outcome of a command that has written its answer already.
    pub(crate) fn printed(exit: Exit) -> Self {
        Self { stdout: String::new(), exit }
    }

    /// Writes the answer to stdout. A reader that has gone away is no failure.
    pub(crate) fn print(&self) -> Result<Exit> {
        let mut out = io::stdout().lock();
        match out.write_all(self.stdout.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(Code::Internal, format!("the answer cannot be written to stdout: {error}")))
            }
            _ => Ok(self.exit),
        }
    }
}

/// An error as programs read it.
#[derive(Serialize)]
struct ErrorLine<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'static str,
    message: &'a str,
    object: Option<&'a str>,
    hint: Option<&'a str>,
    retry: bool,
}

/// Tells an error on stderr.
pub(crate) fn tell(error: &Error, as_json: bool) {
    let mut text = String::new();
    if as_json {
        let line = ErrorLine {
            error: ErrorBody {
                code: error.code.as_str(),
                message: &error.message,
                object: error.object.as_deref(),
                hint: error.hint.as_deref(),
                retry: error.code.retryable(),
            },
        };
        text = serde_json::to_string(&line).unwrap_or_default();
    } else {
        let _ = write!(text, "error[{}]: {}", error.code, error.message);
        if let Some(object) = error.object.as_deref().filter(|object| !error.message.contains(object)) {
            let _ = write!(text, "\n  object: {object}");
        }
        if let Some(hint) = &error.hint {
            let _ = write!(text, "\n  hint: {hint}");
        }
        text = printable(&text);
    }
    text.push('\n');
    // With stderr gone there is nobody left to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Text without what a terminal would obey: names of files and streams come from outside.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

/// A size for people: `17.3 MiB`.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    // What would be rounded to 1024.0 is 1.0 of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number for people: `50,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun: `1 file`, `2,000 files`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// What a job or a stream holds: `2,000 files, 17.3 MiB`.
pub(crate) fn amount(records: u64, files: u64, bytes: u64) -> String {
    let mut text = String::new();
    for (number, noun) in [(records, "record"), (files, "file")] {
        if number > 0 {
            let _ = write!(text, "{}, ", counted(number, noun));
        }
    }
    text + &size(bytes)
}

/// A time for programs: RFC 3339 in UTC with milliseconds.
pub(crate) fn exact(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// A time for people: RFC 3339 in UTC with seconds.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"))
}

/// How long something took: `0.4 s`, `3 min 05 s`, `2 h 10 min`.
pub(crate) fn duration(took: SignedDuration) -> String {
    let seconds = took.as_secs().max(0);
    match seconds {
        0..60 => format!("{:.1} s", took.as_secs_f64().max(0.0)),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// How long ago something was: `12 s`, `5 min`, `7 h`, `3 d`.
pub(crate) fn age(since: SignedDuration) -> String {
    let seconds = since.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows in columns as wide as they need, two spaces apart.
pub(crate) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading over each column.
    pub(crate) fn new(columns: &[(&str, Side)]) -> Self {
        let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        Self { sides: columns.iter().map(|(_, side)| *side).collect(), rows: vec![heads] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |at: usize| {
            self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.sides.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, side), width) in row.iter().zip(&self.sides).zip(&widths) {
                match side {
                    Side::Left => write!(line, "{cell:<width$}  ")?,
                    Side::Right => write!(line, "{cell:>width$}  ")?,
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_are_rounded_for_people() {
        let sizes = [0, 1023, 1024, 1536, 1_048_575, 1 << 20, 17 << 30].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "17.0 GiB"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(amount(1, 2_000, 3), "1 record, 2,000 files, 3 B");
        assert_eq!(amount(0, 0, 0), "0 B");
    }

    #[test]
    fn times_are_utc_and_durations_have_units() {
        let at = Timestamp::from_millisecond(1_793_491_200_123).unwrap();
        assert_eq!(exact(at), "2026-11-01T00:00:00.123Z");
        assert_eq!((time(Some(at)), time(None)), ("2026-11-01T00:00:00Z".to_owned(), "-".to_owned()));
        let took =
            [(0, 420), (185, 0), (7_800, 0)].map(|(s, ms)| duration(SignedDuration::new(s, ms * 1_000_000)));
        assert_eq!(took, ["0.4 s", "3 min 05 s", "2 h 10 min"]);
        let ages = [5, 300, 7_200, 200_000].map(|s| age(SignedDuration::from_secs(s)));
        assert_eq!(ages, ["5 s", "5 min", "2 h", "2 d"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(&[("NAME", Side::Left), ("BYTES", Side::Right)]);
        table.row(["größe".to_owned(), "7".to_owned()]);
        assert_eq!(table.to_string(), "NAME   BYTES\ngröße      7\n");
    }

    #[test]
    fn a_terminal_is_told_nothing_by_a_name() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\nc");
    }
}
