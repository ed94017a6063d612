//! The examples of `fuzz/corpus` and changes of them, through every target. Hours of it: `fuzz/run`.

use super::{TARGETS, Target, seeds};
use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name)
}

/// The generator `SplitMix64`.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (end.max(1) as u64)).unwrap()
    }
}

fn mutated(examples: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut out = examples[chance.below(examples.len())].clone();
    for _ in 0..=chance.below(4) {
        let (at, to) = (chance.below(out.len()), chance.below(out.len()));
        match chance.below(6) {
            0 if !out.is_empty() => out[at] ^= 1 << chance.below(8),
            1 if !out.is_empty() => out[at] = [0, 1, 0x7f, 0x80, 0xff][chance.below(5)],
            2 => out.truncate(at),
            3 if at <= to => drop(out.drain(at..to)),
            4 => {
                let other = &examples[chance.below(examples.len())];
                let from = chance.below(other.len());
                out.splice(at..at, other[from..].iter().copied().take(40));
            }
            _ => out.insert(at, chance.below(256).to_le_bytes()[0]),
        }
    }
    out
}

#[test]
fn nothing_that_decodes_panics_and_what_is_decoded_comes_back() {
    let mutations = std::env::var("HOLDFAST_MUTATIONS").ok().and_then(|text| text.parse().ok());
    for target in TARGETS {
        let files = fs::read_dir(corpus(target)).unwrap_or_else(|e| panic!("{}: {e}", target.name));
        let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        let mut examples: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        examples.extend(seeds(target.name));
        assert!(examples.len() > 1, "{} has examples", target.name);
        for example in &examples {
            (target.check)(example);
        }
        let mut chance = Chance(1);
        for _ in 0..mutations.unwrap_or(10_000) {
            (target.check)(&mutated(&examples, &mut chance));
        }
    }
}

#[test]
fn every_target_has_a_program_and_every_folder_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
    }
}
