//! What a policy says of retention.

use crate::length::Length;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// The rules of a policy. A backup stays as long as any of them keeps it. Where there is none, but perhaps a minimum,
/// every backup stays for ever.
///
/// Of each period of the resource's time zone (an hour, a day, an ISO week, a month, a year) that has a backup, the newest
/// one is kept, for as many periods as the rule says, counted back from the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// So many of the newest backups are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<NonZeroU32>,
    /// The newest backup of an hour, for so many hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<NonZeroU32>,
    /// The newest backup of a day, for so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<NonZeroU32>,
    /// The newest backup of an ISO week, Monday to Sunday, for so many weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<NonZeroU32>,
    /// The newest backup of a month, for so many months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<NonZeroU32>,
    /// The newest backup of a year, for so many years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<NonZeroU32>,
    /// Every backup that completed within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<Length>,
    /// Every backup for so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<NonZeroU32>,
    /// So many of the newest backups stay whatever else is said; one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<NonZeroU32>,
}

impl Retention {
    /// Whether anything but the minimum is said: only then does a backup go by these rules.
    #[must_use]
    pub const fn has_rules(&self) -> bool {
        self.keep_last.is_some()
            || self.hourly.is_some()
            || self.daily.is_some()
            || self.weekly.is_some()
            || self.monthly.is_some()
            || self.yearly.is_some()
            || self.keep_within.is_some()
            || self.days.is_some()
    }

    /// How many of the newest backups stay whatever else is said.
    #[must_use]
    pub fn at_least(&self) -> NonZeroU32 {
        self.minimum.unwrap_or(NonZeroU32::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Retention, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn each_rule_counts_and_the_minimum_is_none() {
        assert!(!Retention::default().has_rules());
        assert!(!read(r#"{"minimum": 3}"#).unwrap().has_rules());
        for rule in ["keep_last", "hourly", "daily", "weekly", "monthly", "yearly", "days"] {
            let retention = read(&format!("{{{rule:?}: 1}}")).unwrap();
            assert!(retention.has_rules(), "{rule}");
            assert_eq!(serde_json::to_string(&retention).unwrap(), format!("{{{rule:?}:1}}"));
        }
        assert!(read(r#"{"keep_within": "14d"}"#).unwrap().has_rules());
    }

    #[test]
    fn one_backup_stays_where_nothing_is_said() {
        assert_eq!(Retention::default().at_least().get(), 1);
        assert_eq!(read(r#"{"minimum": 3}"#).unwrap().at_least().get(), 3);
    }

    #[test]
    fn nothing_and_what_is_unknown_are_refused() {
        for rule in ["keep_last", "hourly", "daily", "weekly", "monthly", "yearly", "days", "minimum"] {
            assert!(read(&format!("{{{rule:?}: 0}}")).is_err(), "{rule}");
            assert!(read(&format!("{{{rule:?}: -1}}")).is_err(), "{rule}");
        }
        assert!(read(r#"{"keep_within": "0d"}"#).unwrap_err().contains("no time at all"));
        assert!(read(r#"{"dayly": 7}"#).unwrap_err().contains("dayly"));
    }
}
