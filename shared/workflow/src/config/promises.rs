//! What a tier promises beside its RPO: how soon it is back, how often that is tried, how often it is verified.

use super::{Policy, Tier};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How often a backup of a resource is restored for trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillEvery {
    /// Only where somebody asks for it.
    Off,
    /// Every day.
    Daily,
    /// Every seven days.
    Weekly,
    /// Every thirty days.
    Monthly,
}

impl DrillEvery {
    /// The time from one drill to the next; none where there is no next.
    #[must_use]
    pub const fn period(self) -> Option<SignedDuration> {
        match self {
            Self::Off => None,
            Self::Daily => Some(SignedDuration::from_hours(24)),
            Self::Weekly => Some(SignedDuration::from_hours(7 * 24)),
            Self::Monthly => Some(SignedDuration::from_hours(30 * 24)),
        }
    }
}

impl Tier {
    /// How long a restore of the whole may take, from the moment that it is asked for. Sales that stand still cost by the
    /// hour; half a working day without a catalogue is a nuisance; reference data is looked up again tomorrow.
    #[must_use]
    pub const fn rto(self) -> SignedDuration {
        match self {
            Self::Critical => SignedDuration::from_hours(1),
            Self::Important => SignedDuration::from_hours(4),
            Self::Reference => SignedDuration::from_hours(24),
        }
    }

    /// How often it is drilled, where its policy says nothing.
    #[must_use]
    pub const fn drill(self) -> DrillEvery {
        match self {
            Self::Critical => DrillEvery::Daily,
            Self::Important => DrillEvery::Weekly,
            Self::Reference => DrillEvery::Monthly,
        }
    }

    /// How long it may be since anything of it was verified last: twice what the daily verification takes, and so much
    /// more as it matters less.
    #[must_use]
    pub const fn verified_within(self) -> SignedDuration {
        match self {
            Self::Critical => SignedDuration::from_hours(2 * 24),
            Self::Important => SignedDuration::from_hours(8 * 24),
            Self::Reference => SignedDuration::from_hours(35 * 24),
        }
    }
}

impl Policy {
    /// How often the resource is drilled: as its policy says, else as its tier does.
    #[must_use]
    pub fn drill_every(&self) -> DrillEvery {
        self.drill.unwrap_or_else(|| self.tier.drill())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::{DrillEvery, Policy, Tier};

    #[test]
    fn a_policy_is_heard_before_its_tier() {
        let policy = |text: &str| serde_json::from_str::<Policy>(text).unwrap().drill_every();
        assert_eq!(policy(r#"{"tier":"critical"}"#), DrillEvery::Daily);
        assert_eq!(policy("{}"), DrillEvery::Weekly);
        assert_eq!(policy(r#"{"tier":"reference"}"#), DrillEvery::Monthly);
        assert_eq!(policy(r#"{"tier":"critical","drill":"off"}"#), DrillEvery::Off);
        assert!(serde_json::from_str::<Policy>(r#"{"drill":"hourly"}"#).is_err());
        assert_eq!(DrillEvery::Off.period(), None);
    }

    #[test]
    fn what_matters_more_is_promised_more() {
        let tiers = [Tier::Critical, Tier::Important, Tier::Reference];
        for [more, less] in [[tiers[0], tiers[1]], [tiers[1], tiers[2]]] {
            assert!(more.rto() < less.rto() && more.verified_within() < less.verified_within());
            assert!(more.drill().period() < less.drill().period());
        }
    }
}
