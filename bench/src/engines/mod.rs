//! The programs that are compared: Holdfast and its peers, each on a repository of its own.

mod own;
mod peers;

pub(crate) use own::Own;
pub(crate) use peers::found;

use crate::measure::Usage;
use holdfast_vault::error::Result;
use std::path::{Path, PathBuf};

/// A program that backs one directory up, verifies it and gives it back. What it does is measured; what it needs before
/// that is not.
pub(crate) trait Engine {
    /// What it is called, and of which version it is.
    fn name(&self) -> &str;

    /// Where it keeps what it backed up.
    fn repository(&self) -> PathBuf;

    /// Makes the repository.
    ///
    /// # Errors
    /// What the program said.
    fn begin(&mut self) -> Result<()>;

    /// Makes a backup of the source as it is now; the second one may build on the first.
    ///
    /// # Errors
    /// What the program said.
    fn back_up(&mut self) -> Result<Usage>;

    /// Reads and checks every byte of the newest backup.
    ///
    /// # Errors
    /// What the program said, or that it found damage.
    fn verify(&mut self) -> Result<Usage>;

    /// Restores the newest backup below a new directory; tells where in it the source then stands.
    ///
    /// # Errors
    /// What the program said.
    fn restore(&mut self, target: &Path) -> Result<(Usage, PathBuf)>;

    /// Lets the first of two backups go, and frees what only it needed, as far as the program does that at once.
    ///
    /// # Errors
    /// What the program said.
    fn prune(&mut self) -> Result<Usage>;
}

/// What two runs took together.
fn both(one: Usage, other: Usage) -> Usage {
    Usage {
        wall_s: one.wall_s + other.wall_s,
        cpu_s: one.cpu_s + other.cpu_s,
        peak_bytes: one.peak_bytes.max(other.peak_bytes),
    }
}
