//! Modes and times.

use holdfast_vault::model::Mtime;
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};

/// Sets the modification time and leaves the other as it is.
pub(super) fn times(mtime: Mtime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}

/// The permission bits, of which there are twelve.
pub(super) fn mode(bits: u32) -> rustix::fs::Mode {
    rustix::fs::Mode::from_raw_mode(bits & 0o7777)
}
