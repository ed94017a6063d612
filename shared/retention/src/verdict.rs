//! What was decided on a backup, in words.

use crate::NEVER;
use crate::length::Length;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::fmt;

/// A rule that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The newest ones, whatever else is said.
    Minimum,
    /// The newest ones.
    Last,
    /// The newest of an hour.
    Hourly,
    /// The newest of a day.
    Daily,
    /// The newest of an ISO week.
    Weekly,
    /// The newest of a month.
    Monthly,
    /// The newest of a year.
    Yearly,
}

impl Rule {
    /// How it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minimum => "minimum",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

/// The place that a backup takes under a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The rule.
    pub rule: Rule,
    /// Which place, from 1.
    pub number: u32,
    /// How many places the rule has.
    pub of: u32,
    /// The period that it is the newest of, as the resource's time zone has it: `2026-11-19`, `2026-W47`. None for a rule
    /// that has no periods.
    pub period: Option<String>,
    /// Whether the backup is damaged: then it is kept beside the place, which the next sound one takes.
    pub beside: bool,
}

/// Why a backup stays, or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is held.
    Held,
    /// It completed later than now, by a clock that was wrong then or is wrong now.
    Future,
    /// It has a place.
    Place(Place),
    /// It is not as old as that.
    Within {
        /// The rule.
        length: Length,
        /// Until when.
        until: Timestamp,
    },
    /// It is not as old as so many days.
    Days {
        /// The rule.
        days: u32,
        /// Until when.
        until: Timestamp,
    },
    /// It has an expiry of its own, which has not come.
    Expires(Timestamp),
    /// There is no rule.
    NoRule,
    /// It goes: it was asked for by hand.
    Asked,
    /// It goes: its own expiry has come, and nothing else keeps it.
    Expired(Timestamp),
    /// It goes: no rule keeps it.
    NotKept,
}

impl Reason {
    /// Whether it is one to stay.
    #[must_use]
    pub const fn keeps(&self) -> bool {
        !matches!(self, Self::Asked | Self::Expired(_) | Self::NotKept)
    }

    /// Until when it keeps a backup for sure; none where that is no matter of time.
    const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Within { until, .. } | Self::Days { until, .. } | Self::Expires(until) => Some(*until),
            _ => None,
        }
    }

    /// Whether it keeps a backup until somebody says otherwise, or beyond all calendars.
    fn is_for_ever(&self) -> bool {
        *self == Self::NoRule || self.until().is_some_and(|until| until >= NEVER)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held"),
            Self::Future => f.write_str("completed later than now"),
            Self::Place(place) => place.fmt(f),
            Self::Within { length, .. } => write!(f, "within {length}"),
            Self::Days { days: 1, .. } => f.write_str("within 1 day"),
            Self::Days { days, .. } => write!(f, "within {days} days"),
            Self::Expires(_) if self.is_for_ever() => f.write_str("never expires"),
            Self::Expires(at) => write!(f, "expires {at:.0}"),
            Self::NoRule => f.write_str("no rule lets it go"),
            Self::Asked => f.write_str("asked for by hand"),
            Self::Expired(at) => write!(f, "expired {at:.0}"),
            Self::NotKept => f.write_str("no rule keeps it"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Rule::Minimum if self.number == 1 => f.write_str("the newest")?,
            rule => write!(f, "{} {} of {}", rule.as_str(), self.number, self.of)?,
        }
        if let Some(period) = &self.period {
            write!(f, " ({period})")?;
        }
        if self.beside { f.write_str(" until a sound one is") } else { Ok(()) }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What was decided on a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The backup.
    pub id: String,
    /// Whether it stays.
    pub keep: bool,
    /// All reasons for that; never none.
    pub why: Vec<Reason>,
    /// It does not go before then, whatever backups come, while its policy stays as it is. None where nothing says a time:
    /// a place ends when newer backups take it, and a hold when it is released.
    pub until: Option<Timestamp>,
}

impl Verdict {
    /// Of the reasons to stay, or else why it goes.
    pub(crate) fn new(id: &str, mut reasons: Vec<Reason>, or_else: Reason) -> Self {
        let keep = !reasons.is_empty();
        if !keep {
            reasons.push(or_else);
        }
        let endless = reasons.iter().any(|reason| *reason == Reason::Held || reason.is_for_ever());
        let until = reasons.iter().filter_map(Reason::until).max().filter(|_| !endless);
        Self { id: id.to_owned(), keep, why: reasons, until }
    }

    /// How long it stays, in words, beside [`Verdict::until`].
    #[must_use]
    pub fn lasts(&self) -> &'static str {
        let any = |of: fn(&Reason) -> bool| self.why.iter().any(of);
        if !self.keep {
            "not any more"
        } else if any(|reason| *reason == Reason::Held) {
            "while it is held"
        } else if any(Reason::is_for_ever) {
            "for ever"
        } else if any(|reason| *reason == Reason::Future) {
            "until its time has come"
        } else if any(|reason| matches!(reason, Reason::Place(_))) {
            "until newer backups take its place"
        } else {
            "until its time is over"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Timestamp = Timestamp::constant(1_793_491_200, 123_000_000);
    const LATER: Timestamp = Timestamp::constant(1_796_083_200, 0);

    fn place(rule: Rule, number: u32, period: Option<&str>) -> Place {
        Place { rule, number, of: 7, period: period.map(str::to_owned), beside: false }
    }

    fn within(until: Timestamp) -> Reason {
        Reason::Within { length: "14d".parse().unwrap(), until }
    }

    #[test]
    fn reasons_are_told_in_words() {
        let told: Vec<String> = [
            Reason::Held,
            Reason::Future,
            Reason::Place(place(Rule::Minimum, 1, None)),
            Reason::Place(place(Rule::Minimum, 2, None)),
            Reason::Place(place(Rule::Last, 1, None)),
            Reason::Place(place(Rule::Hourly, 1, Some("2026-11-19T10+01"))),
            Reason::Place(place(Rule::Daily, 3, Some("2026-11-19"))),
            Reason::Place(place(Rule::Weekly, 3, Some("2026-W47"))),
            Reason::Place(Place { beside: true, ..place(Rule::Monthly, 3, Some("2026-11")) }),
            Reason::Place(place(Rule::Yearly, 3, Some("2026"))),
            within(SOON),
            Reason::Days { days: 1, until: SOON },
            Reason::Days { days: 35, until: SOON },
            Reason::Expires(SOON),
            Reason::Expires(NEVER),
            Reason::NoRule,
            Reason::Asked,
            Reason::Expired(SOON),
            Reason::NotKept,
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        let words = [
            "held",
            "completed later than now",
            "the newest",
            "minimum 2 of 7",
            "last 1 of 7",
            "hourly 1 of 7 (2026-11-19T10+01)",
            "daily 3 of 7 (2026-11-19)",
            "weekly 3 of 7 (2026-W47)",
            "monthly 3 of 7 (2026-11) until a sound one is",
            "yearly 3 of 7 (2026)",
            "within 14d",
            "within 1 day",
            "within 35 days",
            "expires 2026-11-01T00:00:00Z",
            "never expires",
            "no rule lets it go",
            "asked for by hand",
            "expired 2026-11-01T00:00:00Z",
            "no rule keeps it",
        ];
        assert_eq!(told, words);
    }

    #[test]
    fn only_what_keeps_is_a_reason_to_stay() {
        let stays = [Reason::Held, Reason::Future, Reason::NoRule, within(SOON), Reason::Expires(SOON)];
        assert!(stays.iter().all(Reason::keeps));
        assert!([Reason::Asked, Reason::Expired(SOON), Reason::NotKept].iter().all(|why| !why.keeps()));
        assert_eq!(serde_json::to_string(&Reason::NotKept).unwrap(), "\"no rule keeps it\"");
    }

    #[test]
    fn it_lasts_as_long_as_the_longest_reason() {
        let newest = Reason::Place(place(Rule::Minimum, 1, None));
        let days = |until| Reason::Days { days: 7, until };
        for (reasons, until, lasts) in [
            (vec![within(SOON)], Some(SOON), "until its time is over"),
            (vec![within(LATER), days(SOON)], Some(LATER), "until its time is over"),
            (vec![within(SOON), days(LATER)], Some(LATER), "until its time is over"),
            (vec![Reason::Expires(LATER)], Some(LATER), "until its time is over"),
            (vec![newest.clone()], None, "until newer backups take its place"),
            (vec![newest.clone(), within(SOON)], Some(SOON), "until newer backups take its place"),
            (vec![Reason::Future, within(SOON)], Some(SOON), "until its time has come"),
            (vec![Reason::NoRule, newest.clone()], None, "for ever"),
            (vec![Reason::Expires(NEVER), newest], None, "for ever"),
            (vec![days(Timestamp::MAX)], None, "for ever"),
            (vec![Reason::Held, within(SOON)], None, "while it is held"),
        ] {
            let verdict = Verdict::new("A", reasons.clone(), Reason::NotKept);
            assert_eq!((verdict.keep, verdict.until, verdict.lasts()), (true, until, lasts), "{reasons:?}");
            assert_eq!((verdict.id.as_str(), verdict.why), ("A", reasons));
        }
    }

    #[test]
    fn without_a_reason_to_stay_it_goes() {
        let verdict = Verdict::new("A", Vec::new(), Reason::NotKept);
        assert_eq!((verdict.keep, verdict.until, verdict.lasts()), (false, None, "not any more"));
        assert_eq!(verdict.why, [Reason::NotKept]);
    }
}
