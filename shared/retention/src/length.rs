//! Lengths of time as a policy writes them.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A hundred years: longer than that is for ever, which is said by leaving the rule out.
const LONGEST_YEARS: u32 = 100;

/// What a length is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// `h`: hours of sixty minutes.
    Hours,
    /// `d`: days of the calendar, of 23 to 25 hours where clocks are set.
    Days,
    /// `w`: seven days of the calendar each.
    Weeks,
    /// `mo`: months of the calendar. A month after 31 January is the last day of February.
    Months,
    /// `y`: years of the calendar.
    Years,
}

impl Unit {
    const ALL: [Self; 5] = [Self::Hours, Self::Days, Self::Weeks, Self::Months, Self::Years];

    /// How it is written after its number.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hours => "h",
            Self::Days => "d",
            Self::Weeks => "w",
            Self::Months => "mo",
            Self::Years => "y",
        }
    }

    /// How many of it are a hundred years, about.
    const fn most(self) -> u32 {
        LONGEST_YEARS
            * match self {
                Self::Hours => 8_760,
                Self::Days => 365,
                Self::Weeks => 52,
                Self::Months => 12,
                Self::Years => 1,
            }
    }
}

/// A length of time: a whole number above zero and its unit, `36h`, `14d`, `8w`, `6mo`, `2y`. At most a hundred years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Length {
    count: u32,
    unit: Unit,
}

impl Length {
    /// So many of a unit.
    ///
    /// # Errors
    /// That it is nothing, or longer than a hundred years.
    pub fn new(count: u32, unit: Unit) -> Result<Self, BadLength> {
        let wrong = |why| BadLength { text: format!("{count}{}", unit.as_str()), why };
        match count {
            0 => Err(wrong("it is no time at all")),
            count if count > unit.most() => Err(wrong("it is longer than a hundred years")),
            count => Ok(Self { count, unit }),
        }
    }

    /// When it has passed since a time, by the calendar of a zone.
    pub(crate) fn after(self, time: Timestamp, zone: &TimeZone) -> Timestamp {
        let count = i64::from(self.count);
        let span = match self.unit {
            Unit::Hours => Span::new().try_hours(count),
            Unit::Days => Span::new().try_days(count),
            Unit::Weeks => Span::new().try_weeks(count),
            Unit::Months => Span::new().try_months(count),
            Unit::Years => Span::new().try_years(count),
        };
        let passed = span.and_then(|span| time.to_zoned(zone.clone()).checked_add(span));
        // Beyond the calendar's end nothing passes.
        passed.map_or(Timestamp::MAX, |passed| passed.timestamp())
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.as_str())
    }
}

impl FromStr for Length {
    type Err = BadLength;

    fn from_str(text: &str) -> Result<Self, BadLength> {
        let wrong = |why| BadLength { text: text.to_owned(), why };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, name) = text.split_at(digits);
        let unit = Unit::ALL.into_iter().find(|unit| unit.as_str() == name);
        let unit =
            unit.ok_or_else(|| wrong("write a number and one of h, d, w, mo and y, as in 36h or 6mo"))?;
        let count = match number.parse() {
            Ok(count) => count,
            Err(_) if number.is_empty() => return Err(wrong("there is no number")),
            // So many digits that they are no number of ours.
            Err(_) => u32::MAX,
        };
        Self::new(count, unit).map_err(|bad| wrong(bad.why))
    }
}

impl TryFrom<String> for Length {
    type Error = BadLength;

    fn try_from(text: String) -> Result<Self, BadLength> {
        text.parse()
    }
}

impl From<Length> for String {
    fn from(length: Length) -> Self {
        length.to_string()
    }
}

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLength {
    text: String,
    why: &'static str,
}

impl fmt::Display for BadLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no length of time: {}", self.text, self.why)
    }
}

impl std::error::Error for BadLength {}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(length: &str, time: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        length.parse::<Length>().unwrap().after(time.parse().unwrap(), &zone).to_string()
    }

    #[test]
    fn every_unit_is_read_and_written() {
        for text in ["36h", "14d", "8w", "6mo", "2y", "1h", "876000h", "36500d", "5200w", "1200mo", "100y"] {
            let length: Length = text.parse().unwrap();
            assert_eq!(length.to_string(), text);
            assert_eq!(serde_json::to_string(&length).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Length>(&format!("{text:?}")).unwrap(), length);
        }
        assert_eq!("007d".parse::<Length>().unwrap(), Length::new(7, Unit::Days).unwrap());
    }

    #[test]
    fn what_is_no_length_is_refused_with_the_reason() {
        let why = |text: &str| text.parse::<Length>().unwrap_err().to_string();
        assert_eq!(why("0d"), "\"0d\" is no length of time: it is no time at all");
        assert_eq!(why("d"), "\"d\" is no length of time: there is no number");
        let unit = "write a number and one of h, d, w, mo and y, as in 36h or 6mo";
        for text in ["", "14", "14 d", "14D", "14m", "14days", "-1d", "+1d", "1.5d", "1d12h", "d1", "١d"] {
            assert_eq!(why(text), format!("{text:?} is no length of time: {unit}"));
        }
        for text in ["876001h", "36501d", "5201w", "1201mo", "101y", "4294967296d", "99999999999999999999y"] {
            assert_eq!(
                why(text),
                format!("{text:?} is no length of time: it is longer than a hundred years")
            );
        }
    }

    #[test]
    fn days_are_those_of_the_calendar_and_hours_those_of_the_clock() {
        // Clocks are set back in the night to 25 October, and forward in the night to 29 March.
        let (autumn, spring) = ("2026-10-24T10:00:00Z", "2026-03-28T11:00:00Z");
        assert_eq!(after("1d", autumn, "Europe/Berlin"), "2026-10-25T11:00:00Z");
        assert_eq!(after("24h", autumn, "Europe/Berlin"), "2026-10-25T10:00:00Z");
        assert_eq!(after("1d", spring, "Europe/Berlin"), "2026-03-29T10:00:00Z");
        assert_eq!(after("1w", spring, "Europe/Berlin"), "2026-04-04T10:00:00Z");
        assert_eq!(after("1d", autumn, "UTC"), "2026-10-25T10:00:00Z");
    }

    #[test]
    fn months_and_years_end_with_the_month() {
        assert_eq!(after("1mo", "2026-01-31T12:00:00Z", "UTC"), "2026-02-28T12:00:00Z");
        assert_eq!(after("1y", "2024-02-29T12:00:00Z", "UTC"), "2025-02-28T12:00:00Z");
        // In New York it is still January.
        assert_eq!(after("1mo", "2026-02-01T03:00:00Z", "America/New_York"), "2026-03-01T03:00:00Z");
    }

    #[test]
    fn nothing_passes_beyond_the_end_of_the_calendar() {
        let length: Length = "100y".parse().unwrap();
        assert_eq!(length.after("9950-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC), Timestamp::MAX);
    }
}
