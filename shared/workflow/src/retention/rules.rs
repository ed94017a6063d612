//! What a policy comes to.

use crate::config::{Policy, Resource};
use crate::schedule;
use holdfast_common::jobs::JobStore;
use holdfast_retention::Retention;
use holdfast_vault::error::{Code, Error, Result};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::num::NonZeroU32;

/// How many days backups that are made on a schedule are kept, where their policy does not say.
pub const SCHEDULED_DAYS: u32 = 60;

/// Where rules come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The policy says them.
    Policy,
    /// The policy says nothing, and has a schedule: [`SCHEDULED_DAYS`].
    Scheduled,
    /// The policy says nothing: every backup stays.
    ForEver,
}

/// The rules that hold for a resource.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The rules.
    pub retention: Retention,
    /// Where they come from.
    pub origin: Origin,
    /// Whose calendar they go by.
    pub zone: TimeZone,
    /// Its name.
    pub zone_name: String,
}

impl Rules {
    /// The rules of a policy.
    ///
    /// # Errors
    /// `InvalidInput` if the time zone is none.
    pub fn of(policy: &Policy) -> Result<Self> {
        let zone_name = policy.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        let zone = schedule::zone(&zone_name).map_err(|fault| {
            Error::new(Code::InvalidInput, fault.message).object("policy.time_zone").hint(fault.hint)
        })?;
        let mut retention = policy.retention.unwrap_or_default();
        retention.days = retention.days.or(policy.retention_days.and_then(NonZeroU32::new));
        let origin = match (retention.has_rules(), &policy.schedule) {
            (true, _) => Origin::Policy,
            (false, Some(_)) => {
                retention.days = NonZeroU32::new(SCHEDULED_DAYS);
                Origin::Scheduled
            }
            (false, None) => Origin::ForEver,
        };
        Ok(Self { retention, origin, zone, zone_name })
    }

    /// The rules that hold for a resource now.
    ///
    /// # Errors
    /// `ResourceUnknown`, `Internal` if its document is unreadable, `InvalidInput` if its time zone is none,
    /// `StateUnavailable`.
    pub async fn of_resource(jobs: &JobStore, name: &str) -> Result<Self> {
        let resource: Resource = serde_json::from_value(jobs.resource(name).await?).map_err(|error| {
            Error::new(Code::Internal, format!("resource {name:?} is unreadable: {error}"))
                .object(name)
                .hint("apply it again with `holdfast apply -f FILE`")
        })?;
        Self::of(&resource.policy).map_err(|error| error.object(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(policy: &str) -> Rules {
        Rules::of(&serde_json::from_str(policy).unwrap()).unwrap()
    }

    #[test]
    fn backups_on_a_schedule_are_kept_60_days_and_others_for_ever() {
        let scheduled = rules(r#"{"schedule": "0 3 * * *", "time_zone": "Europe/Berlin"}"#);
        let days = |rules: &Rules| rules.retention.days.map(NonZeroU32::get);
        assert_eq!((scheduled.origin, days(&scheduled)), (Origin::Scheduled, Some(60)));
        assert_eq!(scheduled.zone_name, "Europe/Berlin");
        let asked_for = rules("{}");
        assert_eq!((asked_for.origin, asked_for.retention), (Origin::ForEver, Retention::default()));
        assert_eq!(asked_for.zone, TimeZone::UTC);
        // A minimum says nothing of when others go.
        let minimum = rules(r#"{"schedule": "0 3 * * *", "retention": {"minimum": 3}}"#);
        assert_eq!((minimum.origin, days(&minimum)), (Origin::Scheduled, Some(60)));
        assert_eq!(minimum.retention.at_least().get(), 3);
    }

    #[test]
    fn what_the_policy_says_holds() {
        let days = rules(r#"{"schedule": "0 3 * * *", "retention_days": 35}"#);
        assert_eq!((days.origin, days.retention.days.map(NonZeroU32::get)), (Origin::Policy, Some(35)));
        let both = rules(r#"{"retention_days": 35, "retention": {"monthly": 12}}"#);
        assert_eq!(both.retention.days.map(NonZeroU32::get), Some(35));
        assert_eq!(both.retention.monthly.map(NonZeroU32::get), Some(12));
        let daily = rules(r#"{"schedule": "0 3 * * *", "retention": {"daily": 7}}"#);
        assert_eq!((daily.origin, daily.retention.days), (Origin::Policy, None));
    }

    #[test]
    fn a_time_zone_that_is_none_is_refused() {
        let policy = Policy { time_zone: Some("Europe/Berlinn".to_owned()), ..Policy::default() };
        assert_eq!(Rules::of(&policy).unwrap_err().code, Code::InvalidInput);
    }
}
