//! A point in a resource's history, as an operator names it.

use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use ulid::Ulid;

/// A point in a resource's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// This moment.
    Now,
    /// A time.
    Time(Timestamp),
    /// What a backup holds, by its id.
    Backup(String),
}

impl Point {
    /// Reads a point: `now`, a time as in RFC 3339, or a backup's id. `option` names it in messages.
    ///
    /// # Errors
    /// `InvalidInput` naming the option.
    pub fn parse(text: &str, option: &str) -> Result<Self> {
        if text == "now" {
            return Ok(Self::Now);
        }
        if let Ok(id) = Ulid::from_string(text) {
            return Ok(Self::Backup(id.to_string()));
        }
        text.parse().map(Self::Time).map_err(|_| {
            Error::new(Code::InvalidInput, format!("{option} {text:?} is no time and no backup's id"))
                .object(option)
                .hint("write a time with its zone, such as 2026-11-21T14:02:00Z, the id of a backup, or now")
        })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Time(time) => write!(f, "{time}"),
            Self::Backup(id) => f.write_str(id),
        }
    }
}
