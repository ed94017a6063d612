//! What a backup takes beside its data: the program's start, job state, the state machine, manifest and index. A backup of
//! next to nothing takes that and nothing else.

use super::compare::Data;
use crate::Bench;
use crate::data::records::{self, Edition, End};
use crate::data::sink::Directory;
use crate::data::small;
use crate::engines::{Engine, Own};
use crate::failure::{failed, say};
use crate::measure::Usage;
use holdfast_vault::error::Result;

/// Of a first backup's processor time, at most so much may be spent beside its data.
pub(super) const SHARE: f64 = 0.05;
/// As many files as a shop has.
const FILES: u64 = 8;

/// What the first backup of as many files takes with one record each, or of a few files of a site.
pub(super) fn measure(bench: &Bench<'_>, data: Data) -> Result<Usage> {
    let place = bench.directory.join("next-to-nothing");
    let source = place.join("source");
    say("backing up next to nothing");
    let mut sink = Directory(source.clone());
    let written = match data {
        Data::Records(_) => records::write(Edition::V1, End::Records(1), &mut sink).map(|_| ()),
        Data::Site(_) => small::write(FILES, &mut sink).map(|_| ()),
    };
    written.map_err(|e| failed("write data below", &source, &e))?;
    let mut own = Own::new(bench.program, &bench.version, &place, &source, data.kind());
    own.begin()?;
    own.back_up()
}
