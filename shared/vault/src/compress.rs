//! Codecs of a block.

use crate::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// How a block is compressed: one byte in each block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Codec {
    /// Stored as it is.
    None = 0,
    /// Zstandard, level 3.
    #[default]
    Zstd = 1,
    /// gzip, level 6.
    Gzip = 2,
}

impl Codec {
    /// The codec of a block's first byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::None),
            1 => Some(Self::Zstd),
            2 => Some(Self::Gzip),
            _ => None,
        }
    }
}

/// Compresses blocks with one codec, keeping its working memory.
pub struct Compressor {
    codec: Codec,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

/// A block that does not shrink by at least 1/32 is stored as it is: reading it back is then free.
const WORTH: usize = 32;

impl Compressor {
    /// A compressor for a codec.
    ///
    /// # Errors
    /// `Internal` if zstd has no memory.
    pub fn new(codec: Codec) -> Result<Self> {
        let zstd = match codec {
            Codec::Zstd => Some(zstd::bulk::Compressor::new(3).map_err(|e| failed("zstd", &e))?),
            Codec::None | Codec::Gzip => None,
        };
        Ok(Self { codec, zstd })
    }

    /// Appends the codec byte and the compressed data, or the data as it is where compression does not pay.
    ///
    /// # Errors
    /// `Internal` if the codec fails.
    pub fn append(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        match (self.codec, &mut self.zstd) {
            (Codec::Zstd, Some(zstd)) => {
                out.push(Codec::Zstd as u8);
                out.reserve(zstd::zstd_safe::compress_bound(data.len()));
                let behind = out.len() as u64;
                let mut target = std::io::Cursor::new(&mut *out);
                target.set_position(behind);
                zstd.compress_to_buffer(data, &mut target).map_err(|e| failed("zstd", &e))?;
            }
            (Codec::Gzip, _) => {
                out.push(Codec::Gzip as u8);
                let mut gzip = flate2::write::GzEncoder::new(&mut *out, flate2::Compression::new(6));
                gzip.write_all(data).map_err(|e| failed("gzip", &e))?;
                gzip.finish().map_err(|e| failed("gzip", &e))?;
            }
            _ => {}
        }
        if out.len() == start || out.len() - start > data.len() - data.len() / WORTH {
            out.truncate(start);
            self.store(data, out);
        }
        Ok(())
    }

    /// Appends the data as it is, for data known not to compress.
    #[allow(clippy::unused_self)]
    pub fn store(&self, data: &[u8], out: &mut Vec<u8>) {
        out.push(Codec::None as u8);
        out.extend_from_slice(data);
    }
}

/// Decompresses what [`Compressor::append`] wrote. `None` if it is not exactly `plain_len` bytes of a known codec.
///
/// However large `plain_len` is, memory is bounded by what a block of this size can become.
#[must_use]
pub fn expand(mut block: Vec<u8>, plain_len: usize) -> Option<Vec<u8>> {
    let codec = Codec::from_byte(*block.first()?)?;
    if plain_len > longest(codec, block.len()) {
        return None;
    }
    let plain = match codec {
        Codec::None => {
            block.remove(0);
            block
        }
        Codec::Zstd => zstd::bulk::decompress(&block[1..], plain_len).ok()?,
        Codec::Gzip => {
            let mut plain = Vec::with_capacity(plain_len);
            let limit = u64::try_from(plain_len).ok()?.checked_add(1)?;
            flate2::read::GzDecoder::new(&block[1..]).take(limit).read_to_end(&mut plain).ok()?;
            plain
        }
    };
    (plain.len() == plain_len).then_some(plain)
}

/// How many plain bytes so many compressed ones hold at most: a block of Zstandard is of 4 bytes at least and becomes
/// 128 KiB at most; deflate makes at most 258 bytes of two bits.
pub(crate) fn longest(codec: Codec, compressed: usize) -> usize {
    let ratio = match codec {
        Codec::None => 1,
        Codec::Zstd => (128 << 10) / 4,
        Codec::Gzip => 258 * 4,
    };
    compressed.saturating_mul(ratio)
}

/// Whether data looks incompressible by the spread of byte values in a sample.
///
/// A sample of 1,024 uniformly random bytes has a sum of squared counts of about 5,100; text and code stand far above.
#[must_use]
pub fn looks_dense(data: &[u8]) -> bool {
    const SAMPLE: usize = 1024;
    if data.len() < SAMPLE {
        return false;
    }
    let mut counts = [0_u32; 256];
    let step = data.len() / SAMPLE;
    for byte in data.iter().step_by(step).take(SAMPLE) {
        counts[usize::from(*byte)] += 1;
    }
    counts.iter().map(|c| c * c).sum::<u32>() < 5_700
}

fn failed(codec: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("{codec} failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(codec: Codec, data: &[u8]) -> Vec<u8> {
        let mut out = vec![7];
        Compressor::new(codec).unwrap().append(data, &mut out).unwrap();
        assert_eq!(out.remove(0), 7, "what stood there stays");
        out
    }

    /// Bytes that do not compress, the same in every run.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..len).map(|_| next()).collect()
    }

    proptest! {
        #[test]
        fn what_was_compressed_expands_to_itself(data: Vec<u8>, again in 0_usize..40) {
            let data = data.repeat(again);
            for codec in [Codec::None, Codec::Zstd, Codec::Gzip] {
                let block = packed(codec, &data);
                prop_assert_eq!(expand(block.clone(), data.len()), Some(data.clone()));
                prop_assert_eq!(expand(block.clone(), data.len() + 1), None);
                prop_assert!(data.is_empty() || expand(block, data.len() - 1).is_none());
            }
        }
    }

    #[test]
    fn what_shrinks_by_less_than_a_thirty_second_is_stored() {
        let (mut just, mut stored) = (false, false);
        for dense in 2_900..3_200 {
            let mut data = vec![0; 3_200 - dense];
            data.extend(noise(dense));
            let shrunk = 1 + zstd::bulk::compress(&data, 3).unwrap().len();
            let block = packed(Codec::Zstd, &data);
            if shrunk <= 3_100 {
                assert_eq!((block[0], block.len()), (Codec::Zstd as u8, shrunk), "{dense}");
            } else {
                assert_eq!((block[0], block.len()), (Codec::None as u8, 3_201), "{dense}");
            }
            just |= shrunk == 3_100;
            stored |= shrunk > 3_100;
        }
        assert!(just && stored, "both sides of the line were seen");
    }

    #[test]
    fn no_room_is_made_for_what_a_block_cannot_become() {
        for (codec, most) in [(Codec::None, 10), (Codec::Zstd, 327_680), (Codec::Gzip, 10_320)] {
            assert_eq!(longest(codec, 10), most);
            assert_eq!(expand(vec![codec as u8; 10], usize::MAX), None);
        }
        assert_eq!(expand(vec![3, 1, 2], 2), None, "no codec has this byte");
        assert_eq!(expand(Vec::new(), 0), None);
    }

    #[test]
    fn noise_is_told_from_text() {
        assert!(looks_dense(&noise(1_024)));
        assert!(looks_dense(&noise(1 << 20)));
        assert!(!looks_dense(&noise(1_023)), "too short to tell");
        assert!(!looks_dense(&b"the quick brown fox jumps over the lazy dog ".repeat(1_000)));
        assert!(!looks_dense(&[0; 4_096]));
    }

    #[test]
    fn a_spread_that_is_just_too_uneven_is_text() {
        // 152 values four times, 50 eight times, two thrice and two five times: 5,700. And a little more even.
        let mut data = Vec::new();
        let mut put = |value: u8, times: usize| data.extend(std::iter::repeat_n(value, times));
        let fours = (0..152).map(|value| (value, 4));
        let eights = (152..202).map(|value| (value, 8));
        for (value, times) in fours.chain(eights).chain([(202, 3), (203, 3), (204, 5), (205, 5)]) {
            put(value, times);
        }
        assert_eq!(data.len(), 1_024);
        assert!(!looks_dense(&data));
        let last = data.len() - 1;
        data[last] = 202;
        assert!(looks_dense(&data));
    }
}
