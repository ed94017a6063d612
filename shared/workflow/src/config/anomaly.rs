//! How far a backup may differ from the ones before it before that is told.

use serde::{Deserialize, Serialize};

/// How far a backup may differ from the ones before it. What differs by more is a warning of the backup; none fails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalyBounds {
    /// So many percent fewer records, files or bytes a stream may have; 100 for any.
    #[serde(default = "AnomalyBounds::default_fall")]
    pub fall_percent: u32,
    /// So many percent more it may have: 200 for three times as many.
    #[serde(default = "AnomalyBounds::default_rise")]
    pub rise_percent: u32,
    /// So many percent of a stream may be changed or gone between two backups; 100 for any.
    #[serde(default = "AnomalyBounds::default_change")]
    pub change_percent: u32,
}

impl AnomalyBounds {
    const fn default_fall() -> u32 {
        50
    }

    const fn default_rise() -> u32 {
        200
    }

    const fn default_change() -> u32 {
        30
    }

    /// Whether nothing else was said.
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for AnomalyBounds {
    fn default() -> Self {
        Self {
            fall_percent: Self::default_fall(),
            rise_percent: Self::default_rise(),
            change_percent: Self::default_change(),
        }
    }
}
