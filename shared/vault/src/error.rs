//! The one error type of Holdfast: a stable code, what it is about, what to do, and whether a retry helps.

use std::fmt;

/// What an operation of Holdfast returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a failure ends a command: the classes behind the documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The caller asked for something that cannot be; nothing was begun. Exit code 2.
    BadInput,
    /// Stored data is not what was written. Exit code 3 from `verify`, 1 elsewhere.
    Damage,
    /// Anything else that ended the work. Exit code 1.
    Failed,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident: $class:ident, $retry:literal;)*) => {
        /// A stable name for a kind of failure. Step Functions matches these names; they never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The name as it stands in errors, events and state machines.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => stringify!($name),)* }
            }

            /// Which exit code a command ends with.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Code::$name => Class::$class,)* }
            }

            /// Whether the same call may succeed a little later.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Code::$name => $retry,)* }
            }
        }
    };
}

codes! {
    /// A value, field or argument is not what it must be.
    InvalidInput: BadInput, false;
    /// No resource of that name is configured.
    ResourceUnknown: BadInput, false;
    /// No backup, restore or task has that id.
    JobUnknown: BadInput, false;
    /// The job has ended, or is of a status that does not allow the call.
    JobState: BadInput, false;
    /// Another process works on this home.
    HomeInUse: BadInput, true;
    /// The home, its vault or its key is missing or unusable.
    HomeInvalid: BadInput, false;
    /// The source's table, bucket, directory or file does not exist.
    SourceMissing: BadInput, false;
    /// The source refuses access.
    SourceDenied: BadInput, false;
    /// The source holds what cannot be backed up as it is: a record without a key, two with the same key, broken JSON.
    SourceInvalid: Failed, false;
    /// The source asks to slow down.
    SourceThrottled: Failed, true;
    /// The source changed while it was read.
    SourceChanged: Failed, true;
    /// The source did not answer, or not sensibly.
    SourceUnavailable: Failed, true;
    /// The restore target is not empty and no policy for conflicts was given.
    TargetNotEmpty: BadInput, false;
    /// A record or file of the target differs from what would be restored.
    TargetConflict: Failed, false;
    /// The target cannot hold what is restored, or its name is unusable.
    TargetInvalid: BadInput, false;
    /// The target refuses access.
    TargetDenied: BadInput, false;
    /// The target asks to slow down.
    TargetThrottled: Failed, true;
    /// The target did not answer, or not sensibly.
    TargetUnavailable: Failed, true;
    /// The key does not open this vault.
    KeyWrong: BadInput, false;
    /// A key version that the data needs is not in the vault.
    KeyMissing: Damage, false;
    /// The vault, or an object of it, is of a format that this program does not read.
    FormatUnsupported: BadInput, false;
    /// An object of the vault is missing.
    ObjectMissing: Damage, false;
    /// An object of the vault is not what was written: changed, cut, swapped or renamed.
    ObjectDamaged: Damage, false;
    /// A staged object is missing or differs from what was exported.
    StagingDamaged: Failed, true;
    /// Storage is full.
    StorageFull: Failed, false;
    /// Storage refuses access.
    StorageDenied: Failed, false;
    /// Storage asks to slow down.
    StorageThrottled: Failed, true;
    /// Storage did not answer, or not sensibly.
    StorageUnavailable: Failed, true;
    /// The job table did not answer, or not sensibly.
    StateUnavailable: Failed, true;
    /// Another worker changed the row first.
    StateConflict: Failed, true;
    /// The job was cancelled.
    Cancelled: Failed, false;
    /// The process ended before the job did.
    Interrupted: Failed, false;
    /// The job ran longer than it may.
    TimedOut: Failed, false;
    /// A backup took so long that what it stored may have been deleted as garbage.
    Overdue: Failed, false;
    /// The backup that an increment builds on was deleted while it was under way.
    BaseGone: Failed, false;
    /// A fault of Holdfast itself.
    Internal: Failed, false;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure, told so that an operator knows what to do.
///
/// `message` names the field, file or object, and holds no record, no key of a record and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The stable name of the failure.
    pub code: Code,
    /// One sentence without the hint.
    pub message: String,
    /// The object, field or file in question, alone, for programs.
    pub object: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    /// A failure with a message; add what it is about and a hint with the other methods.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), object: None, hint: None }
    }

    /// Names the object, field or file in question.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A damaged object of the vault, by its name.
    #[must_use]
    pub fn damaged(object: impl Into<String>, why: impl fmt::Display) -> Self {
        let object = object.into();
        Self::new(Code::ObjectDamaged, format!("vault object {object} is damaged: {why}"))
            .object(object)
            .hint("restore from another copy of the vault, or from another backup")
    }
}
