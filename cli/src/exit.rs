//! The exit codes, which are part of the interface.

use holdfast_vault::error::{Class, Error};
use std::process::ExitCode;

/// What stands below the help of every command.
macro_rules! exit_codes {
    () => {
        "Exit codes: 0 done, 1 failed, 2 bad input, 3 done, but damage or differences were found."
    };
}

/// Examples and exit codes, for below the help of a command.
macro_rules! after_help {
    ($($example:literal),+ $(,)?) => {
        concat!("Examples:\n", $("  ", $example, "\n",)+ "\n", crate::exit::exit_codes!())
    };
}

pub(crate) use {after_help, exit_codes};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Ended by an error that is not the caller's.
    Failed,
    /// Asked for what cannot be; nothing was begun.
    BadInput,
    /// Done, but damage or differences were found.
    Differences,
}

impl Exit {
    /// `Differences` where `found`.
    pub(crate) const fn differences(found: bool) -> Self {
        if found { Self::Differences } else { Self::Done }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.code.class() {
            Class::BadInput => Self::BadInput,
            // Only a command that was asked to look for damage is done when it finds some.
            Class::Damage | Class::Failed => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::BadInput => 2,
            Exit::Differences => 3,
        })
    }
}
