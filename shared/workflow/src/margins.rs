//! All margins of time that keep data safe, in one place, and why they suffice.
//!
//! A backup writes its packs first and the manifest that names them last. In between nothing tells them from garbage, so
//! `prune` never deletes what it sees for the first time. It works in two looks:
//!
//! 1. An object that no manifest names is *condemned*: a row in job state says when that was first seen, T0.
//! 2. It is looked at again, against manifests that are listed afresh, no earlier than T0 + [`CONDEMNED_FOR`]. If one names
//!    it, it is *rescued*: the row goes. If none does, the object goes.
//!
//! **What may come to name an object after T0.** Object ids are random and never used twice, so there are two ways.
//!
//! *The backup that wrote it.* It had begun before T0, since the object was there. `commit` is fenced: it writes no manifest
//! when the backup began longer than [`LONGEST_BACKUP`] ago, by its own clock, and it looks at that clock right before the
//! write. The call that is under way then ends within [`HANDLER`]. So the manifest is there by T0 + `LONGEST_BACKUP` +
//! `HANDLER`, give or take what clocks differ, or it never is. A duplicate of the handler that comes later is refused.
//!
//! *A backup that builds on one whose manifest names it.* A backup is built only on one that has no deletion, and `commit`
//! writes nothing where the manifest of the base is gone or about to go. So its own manifest follows the base's within
//! `HANDLER` at the latest. When `prune` deletes a manifest it first forgets that any object in it was ever condemned, so
//! that the wait of each begins anew when the manifest is gone. A manifest that was there at that moment's end is listed by
//! every later look.
//!
//! Both clocks of a comparison may be wrong by [`CLOCK_SKEW`] either way, and there are two comparisons: the fence's and the
//! sweep's. A listing may be [`STALE_LISTING`] old. Together:
//!
//! `CONDEMNED_FOR > LONGEST_BACKUP + HANDLER + 4 * CLOCK_SKEW + STALE_LISTING`
//!
//! which the compiler checks below.

use jiff::SignedDuration;

/// How long after its beginning a backup may write its manifest: the `TimeoutSeconds` of its state machine.
pub const LONGEST_BACKUP: SignedDuration = SignedDuration::from_hours(6);

/// How long one call of a handler takes at most: the longest that Lambda gives, and that a signed request to S3 is valid.
pub const HANDLER: SignedDuration = SignedDuration::from_mins(15);

/// How wrong the clock of any one worker may be, either way.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// From how long before its beginning captured changes are laid over a backup: the clock that told its beginning may be
/// ahead, and streams tell whole seconds. What the backup saw already changes nothing, unless a gap follows it.
pub const CHANGES_BEFORE: SignedDuration = SignedDuration::from_mins(11);

/// How old what a listing shows may be. S3 and directories are up to date; a copy behind a cache may not be.
pub const STALE_LISTING: SignedDuration = SignedDuration::from_mins(30);

/// How long an object stays condemned before it is looked at again and may go.
pub const CONDEMNED_FOR: SignedDuration = SignedDuration::from_hours(8);

/// How long after it is asked for a deletion takes effect, if nobody takes it back. Longer than a backup takes, so that one
/// which builds on the backup in question is complete before.
pub const DELETE_GRACE: SignedDuration = SignedDuration::from_hours(24);

/// How long captured changes are kept where the policy does not say.
pub const CAPTURE_DAYS: u32 = 35;

/// How long the record of an undo is kept, from when the undo was asked for.
pub const UNDO_RECORDS: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A lock of an object is extended when it ends within this time. Each is looked at once in [`LOCK_LOOKS`] days, well
/// before.
pub const LOCK_RENEWED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A lock is looked at on one of so many days, by the object's id.
pub const LOCK_LOOKS: u8 = 7;

/// A lock is extended so far at most, from now.
pub const LOCK_LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);

/// What has no end to be kept until, as under a hold, is locked so far at a time.
pub const LOCK_OPEN: SignedDuration = SignedDuration::from_hours(90 * 24);

const _: () = {
    let needed =
        LONGEST_BACKUP.as_secs() + HANDLER.as_secs() + 4 * CLOCK_SKEW.as_secs() + STALE_LISTING.as_secs();
    assert!(CONDEMNED_FOR.as_secs() > needed, "condemned objects wait out the longest backup");
    assert!(
        DELETE_GRACE.as_secs() > LONGEST_BACKUP.as_secs() + HANDLER.as_secs() + 4 * CLOCK_SKEW.as_secs(),
        "a backup under way is complete before its base goes"
    );
    assert!(
        CHANGES_BEFORE.as_secs() > CLOCK_SKEW.as_secs(),
        "changes that a backup did not see are laid over it"
    );
};
