//! Which of a window's records are meant.

use super::Difference;
use holdfast_connectors::{KeyFinder, RecordFilter};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use std::collections::{BTreeSet, HashMap};

/// Chooses records by what they hold, by how their keys begin, or by a list of keys. All must agree.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// By content and key.
    pub filter: RecordFilter,
    /// Only these keys, as an operator types them; all where absent.
    pub keys: Option<Vec<String>>,
}

impl Choice {
    /// Reads a list of keys, one a line; empty lines are none.
    ///
    /// # Errors
    /// `InvalidInput` if it holds no key.
    pub fn key_list(text: &str, option: &str) -> Result<Vec<String>> {
        let lines = text.lines().map(|line| line.strip_suffix('\r').unwrap_or(line));
        let keys: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if keys.is_empty() {
            return Err(Error::new(Code::InvalidInput, format!("{option} holds no key"))
                .object(option)
                .hint("write one key a line"));
        }
        Ok(keys)
    }

    pub(super) fn of(&self, stream: &StreamInfo) -> Result<StreamChoice<'_>> {
        let StreamKind::Records { encoding, .. } = stream.shape else {
            return Err(Error::new(Code::InvalidInput, format!("stream {} holds files", stream.name)));
        };
        let keys = match &self.keys {
            None => None,
            Some(typed) => {
                let finder = KeyFinder::new(stream)?;
                let mut keys = HashMap::new();
                for (number, text) in typed.iter().enumerate() {
                    keys.extend(finder.candidates(text).into_iter().map(|key| (key, number)));
                }
                Some(keys)
            }
        };
        Ok(StreamChoice { filter: &self.filter, encoding, keys, met: BTreeSet::new() })
    }
}

/// The choice among the records of one stream.
pub(super) struct StreamChoice<'a> {
    filter: &'a RecordFilter,
    encoding: RecordEncoding,
    /// Canonical keys and the numbers of the typed keys that mean them.
    keys: Option<HashMap<Vec<u8>, usize>>,
    /// Which of the typed keys were met.
    pub(super) met: BTreeSet<usize>,
}

impl StreamChoice<'_> {
    /// Whether a difference is chosen.
    pub(super) fn takes(&mut self, difference: &Difference) -> Result<bool> {
        let Difference { key, before, after } = difference;
        let typed = match &self.keys {
            None => None,
            Some(keys) => match keys.get(key) {
                None => return Ok(false),
                number => number.copied(),
            },
        };
        let taken = self.filter.matches(self.encoding, key, before.as_deref(), after.as_deref())?;
        if taken {
            self.met.extend(typed);
        }
        Ok(taken)
    }
}
