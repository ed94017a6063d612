//! When backups are due: a cron expression in a time zone.
//!
//! The expression is matched against the zone's own clocks. A time that they skip in spring is not due that day; one that
//! they show twice in autumn is due twice.

use cronexpr::{Crontab, parse_crontab};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Backups of a resource are at least so long apart: the dispatcher comes no more often.
pub const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
/// Where looking back for what is due begins; twice as far each time that nothing was.
const LOOK_BACK: SignedDuration = SignedDuration::from_mins(10);
/// Due times that are looked at for their distance: those of two days at the shortest interval.
const LOOKED_AT: usize = 600;

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field of the policy: `schedule` or `time_zone`.
    pub field: &'static str,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// When backups of a resource are due.
#[derive(Debug, Clone)]
pub struct Schedule(Crontab);

impl Schedule {
    /// A cron expression of five fields in a time zone, UTC where none is named.
    ///
    /// # Errors
    /// What is wrong with which of the two.
    pub fn parse(expression: &str, time_zone: Option<&str>) -> Result<Self, Fault> {
        let zone = time_zone.unwrap_or("UTC");
        self::zone(zone)?;
        let schedule = Self(crontab(expression, zone)?);
        match schedule.next(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(fault(expression, "no day is like that", "choose a day that there is")),
        }
    }

    /// Whether the due times of an expression are far enough apart.
    ///
    /// # Errors
    /// That they are not.
    pub fn check_interval(expression: &str) -> Result<(), Fault> {
        // By a clock that is never changed.
        let schedule = Self(crontab(expression, "UTC")?);
        let mut last = schedule.next(Timestamp::UNIX_EPOCH);
        for _ in 0..LOOKED_AT {
            let Some(due) = last else { break };
            last = schedule.next(due);
            if last.is_some_and(|next| next.duration_since(due) < SHORTEST_INTERVAL) {
                return Err(fault(
                    expression,
                    "it is due again within 5 minutes",
                    "leave 5 minutes or more between two backups, as */5 does; `capture` has what is newer",
                ));
            }
        }
        Ok(())
    }

    /// The newest due time after `after` that is not later than `until`.
    #[must_use]
    pub fn newest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        if after >= until {
            return None;
        }
        let mut back = LOOK_BACK;
        loop {
            let start = until.checked_sub(back).unwrap_or(Timestamp::MIN).max(after);
            let mut newest = None;
            let mut next = self.next(start);
            while let Some(due) = next.filter(|due| *due <= until) {
                newest = Some(due);
                next = self.next(due);
            }
            if newest.is_some() || start == after {
                return newest;
            }
            back *= 2;
        }
    }

    /// The first due time after a time, if there is one within four years.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.0.find_next(after).ok().map(|due| due.timestamp())
    }
}

fn crontab(expression: &str, zone: &str) -> Result<Crontab, Fault> {
    let fields = expression.split_whitespace().count();
    if fields != 5 {
        let message = match fields {
            1 => "it has 1 field, not 5".to_owned(),
            more => format!("it has {more} fields, not 5"),
        };
        return Err(fault(
            expression,
            &message,
            "give minute, hour, day of month, month and day of week, as in 0 3 * * *",
        ));
    }
    parse_crontab(&format!("{expression} {zone}")).map_err(|error| {
        let told = error.to_string();
        // The last line has the reason, under a mark that shows the place.
        let why = told.lines().last().unwrap_or_default().trim().trim_start_matches('^').trim();
        fault(expression, why, "see man 5 crontab; every night at three is 0 3 * * *")
    })
}

fn fault(expression: &str, why: &str, hint: &'static str) -> Fault {
    Fault { field: "schedule", message: format!("{expression:?} is no schedule: {why}"), hint }
}

/// A time zone by its IANA name, if a schedule can follow it.
///
/// # Errors
/// What is wrong with the name.
pub fn zone(name: &str) -> Result<TimeZone, Fault> {
    const HINT: &str = "write an IANA name as Europe/Berlin, or leave the field out for UTC";
    let wrong = |why: &str| Fault { field: "time_zone", message: format!("{name:?} {why}"), hint: HINT };
    // What the machine itself calls local would be another zone on another machine.
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown() && zone.iana_name().is_some());
    let zone = match zone {
        Some(zone) if !["localtime", "posixrules"].contains(&name) => zone,
        _ => return Err(wrong("is no time zone")),
    };
    // A clock that is set by half an hour sends the search for the next hour in a circle.
    let halves = zone.following(Timestamp::UNIX_EPOCH).skip_while(|change| change.timestamp() < RULES_SINCE);
    let mut before = zone.to_offset(RULES_SINCE);
    for change in halves.take(24) {
        if (change.offset().seconds() - before.seconds()) % 3600 != 0 {
            return Err(wrong("sets its clocks by a part of an hour, which a schedule cannot follow"));
        }
        before = change.offset();
    }
    Ok(zone)
}

/// Rules of time zones are looked at from then on.
const RULES_SINCE: Timestamp = Timestamp::constant(1_767_225_600, 0);

#[cfg(test)]
mod tests;
