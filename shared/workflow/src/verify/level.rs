//! How thorough a verification is.

use super::sample::Part;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::read::verify::Depth;
use std::fmt;
use std::str::FromStr;

/// How thorough a verification is. Each level does what the ones before it do; a sample and `full` do what `chain` does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// The manifest opens, and every object is there with its size and the checksum that the store keeps. Reads no object.
    Quick,
    /// Every layer is there: all footers open, are what the manifest says, and add up. Reads no content.
    Chain,
    /// Every byte of this percentage of the objects, another part each time, so that all are read in turn.
    Sample(f64),
    /// Every byte of every object, the layers merged, and the changes captured since.
    Full,
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let percent = |text: &str| text.parse::<f64>().ok().filter(|p| *p > 0.0 && *p <= 100.0);
        match text {
            "quick" => Ok(Self::Quick),
            "chain" => Ok(Self::Chain),
            "full" => Ok(Self::Full),
            _ => text.strip_prefix("sample=").and_then(percent).map(Self::Sample).ok_or_else(|| {
                Error::new(Code::InvalidInput, format!("{text:?} is no level of verification"))
                    .object("--level")
                    .hint("use quick, chain, full or sample=PERCENT, with more than 0 and at most 100")
            }),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quick => f.write_str("quick"),
            Self::Chain => f.write_str("chain"),
            Self::Full => f.write_str("full"),
            Self::Sample(percent) => write!(f, "sample={percent}"),
        }
    }
}

impl Level {
    /// Whether footers are opened.
    pub(super) fn compares_structure(self) -> bool {
        self != Self::Quick
    }

    /// How deep an object of this id is looked at; `part` is what a sample reads.
    pub(super) fn depth(self, object: [u8; 16], part: Option<Part>) -> Depth {
        match self {
            Self::Full => Depth::Full,
            Self::Sample(_) if part.is_some_and(|part| part.holds(object)) => Depth::Full,
            Self::Quick | Self::Chain | Self::Sample(_) => Depth::Quick,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_shown() {
        for text in ["quick", "chain", "full", "sample=5", "sample=0.1", "sample=100"] {
            assert_eq!(text.parse::<Level>().unwrap().to_string(), text);
        }
        for text in ["", "deep", "sample", "sample=", "sample=0", "sample=101", "sample=NaN", "Quick"] {
            assert_eq!(text.parse::<Level>().unwrap_err().code, Code::InvalidInput, "{text}");
        }
    }
}
