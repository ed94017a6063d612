//! Words of no language, and what is made of them: text that compresses about as prose does.

use super::draw::{Draw, index};
use std::fmt::{self, Write as _};

/// How many words there are.
const WORDS: u64 = 6000;

const SYLLABLES: &[&str] = &[
    "ba", "ver", "lo", "min", "ka", "tor", "sel", "ra", "ne", "pon", "ti", "mar", "gu", "les", "dor", "fi",
    "chan", "vo", "ster", "in", "per", "al", "com", "tion", "ly", "er", "ing", "ment", "pro", "des", "un",
    "ri", "qua", "sto", "bel", "ha", "ju", "wen", "xi", "yo",
];

/// All the words.
pub(crate) struct Words(Vec<String>);

impl Words {
    /// Makes them: always the same.
    pub(crate) fn new() -> Self {
        let mut draw = Draw::new(0x00c0_ffee);
        let mut word = || {
            let syllables = draw.within(1, 4);
            (0..syllables).map(|_| draw.pick(SYLLABLES)).collect()
        };
        Self((0..WORDS).map(|_| word()).collect())
    }

    /// Any word, each as likely as the others.
    pub(super) fn any(&self, draw: &mut Draw) -> &str {
        &self.0[index(draw.below(WORDS))]
    }

    /// A word, a common one more likely.
    pub(super) fn common(&self, draw: &mut Draw) -> &str {
        &self.0[index(draw.skewed(WORDS))]
    }

    /// So many words with commas and full stops.
    pub(super) fn prose(&self, draw: &mut Draw, count: u64, out: &mut String) {
        for at in 0..count {
            if at > 0 {
                out.push_str(if draw.below(14) == 0 { ", " } else { " " });
            }
            out.push_str(self.common(draw));
            if draw.below(16) == 0 {
                out.push('.');
            }
        }
    }

    /// As [`Words::prose`], between so many words and so many.
    pub(crate) fn passage(&self, draw: &mut Draw, least: u64, most: u64, out: &mut String) {
        let count = draw.within(least, most);
        self.prose(draw, count, out);
    }
}

/// A moment of 2025, in milliseconds.
pub(super) fn moment(draw: &mut Draw, out: &mut String) -> fmt::Result {
    let (month, day) = (draw.within(1, 12), draw.within(1, 28));
    let (hour, minute, second) = (draw.below(24), draw.below(60), draw.below(60));
    let milli = draw.below(1000);
    write!(out, "2025-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Calls `one` so many times, with commas between.
pub(super) fn list(
    out: &mut String,
    count: u64,
    mut one: impl FnMut(u64, &mut String) -> fmt::Result,
) -> fmt::Result {
    for at in 0..count {
        if at > 0 {
            out.push(',');
        }
        one(at, out)?;
    }
    Ok(())
}
