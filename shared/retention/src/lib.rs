//! Which backups stay and which go.
//!
//! [`decide`] looks at all backups of a resource, the resource's [`Retention`], its time zone and the time, and gives a
//! [`Verdict`] on each: whether it stays, every reason why, and until when at the least. It knows nothing of job state,
//! of storage or of a clock.
//!
//! What holds, by the way it is made:
//!
//! - a held backup stays, the newest stays, and never fewer than the minimum stay;
//! - a backup made later never keeps an older one: what goes today does not stay tomorrow by that;
//! - a larger count and a longer time never let more go;
//! - deciding again on what stayed lets nothing more go.

mod decide;
mod length;
mod retention;
mod verdict;

pub use decide::{Backup, decide};
pub use length::{BadLength, Length, Unit};
pub use retention::Retention;
pub use verdict::{Place, Reason, Rule, Verdict};

use jiff::Timestamp;

/// What [`Backup::expires_at`] holds where a backup never expires: the first moment of the year 9999.
pub const NEVER: Timestamp = Timestamp::constant(253_370_764_800, 0);
