//! The benchmark's data: made from nothing but its arguments, the same bytes on every machine.

pub(crate) mod draw;
mod page;
pub(crate) mod record;
pub(crate) mod records;
pub(crate) mod sink;
pub(crate) mod site;
pub(crate) mod small;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod text;

use crate::failure::{failed, told};
use clap::Subcommand;
use holdfast_vault::error::Result;
use records::End;
use sink::Directory;
use site::Scale;
use std::path::PathBuf;

/// The sets of data.
#[derive(Debug, Subcommand)]
pub(crate) enum Set {
    /// Eight files of JSON Lines: products, customers and orders of a shop
    Records {
        /// Which version
        version: records::Edition,
        /// Where to: files of the same names are replaced
        out: PathBuf,
        /// The size of each file
        #[arg(value_name = "MIB_PER_FILE", default_value_t = 128, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
        mib: u64,
    },
    /// 20,000 files of a site, half of their bytes pictures, and one large file: 1 GiB
    Site {
        /// Which version
        version: site::Edition,
        /// Where to: files of the same names are replaced
        out: PathBuf,
        /// How many times as large, in steps of a thousandth
        #[arg(value_name = "SCALE", default_value = "1.0", value_parser = scale)]
        scale: Scale,
    },
    /// Many small files of text, about 1 KB each
    Small {
        /// How many
        #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
        files: u64,
        /// Where to: files of the same names are replaced
        out: PathBuf,
    },
}

/// Makes a set, and says on stdout what it holds.
///
/// # Errors
/// What kept it from being written.
pub(crate) fn run(set: &Set) -> Result<()> {
    match set {
        Set::Records { version, out, mib } => {
            let end = End::Bytes(mib << 20);
            let wrote = records::write(*version, end, &mut Directory(out.clone()))
                .map_err(|e| failed("write records below", out, &e))?;
            let first: u64 = wrote.first.iter().sum();
            told(&format!(
                "{} bytes of records: {first} of the first version, {} changed, {} deleted, {} inserted",
                wrote.bytes, wrote.changed, wrote.gone, wrote.inserted
            ))
        }
        Set::Site { version, out, scale } => {
            let wrote = site::write(*version, *scale, &mut Directory(out.clone()))
                .map_err(|e| failed("write a site below", out, &e))?;
            told(&format!(
                "{} bytes of a site: {} files of the first version, {} changed, {} renamed, {} deleted, {} added",
                wrote.bytes, wrote.first, wrote.changed, wrote.renamed, wrote.gone, wrote.added
            ))
        }
        Set::Small { files, out } => {
            let bytes = small::write(*files, &mut Directory(out.clone()))
                .map_err(|e| failed("write small files below", out, &e))?;
            told(&format!("{bytes} bytes in {files} small files"))
        }
    }
}

/// Reads a scale: a number from 0.001 to 1000, of which digits after the third are cut off.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
pub(crate) fn scale(text: &str) -> Result<Scale, String> {
    match text.parse::<f64>() {
        Ok(times) if (0.001..=1000.0).contains(&times) => Ok(Scale((times * 1000.0) as u64)),
        _ => Err("a scale is a number from 0.001 to 1000".to_owned()),
    }
}
