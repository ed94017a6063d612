//! Shards of the key hashes: where they begin and end, and which blocks they need.

use holdfast_vault::crypto::DigestSum;
use holdfast_vault::format::footer::{BlockIndex, Fence, Origin, RunSegment};
use holdfast_vault::read::changes::ALL_KEYS;
use holdfast_vault::read::{Shard, layers};

#[test]
fn shards_follow_one_another_from_the_first_hash_to_the_last() {
    for of in [1, 2, 3, 7, 1_000] {
        let mut next = 0;
        for number in 0..of {
            let shard = Shard::new(number, of);
            let (first, last) = shard.bounds();
            assert_eq!(first, next, "shard {number} of {of}");
            assert!(first < last && shard.holds(first) && shard.holds(last));
            assert!(first == 0 || !shard.holds(first - 1));
            assert!(last == u128::MAX || !shard.holds(last + 1));
            assert_eq!(shard.is_all(), of == 1);
            next = last.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last ends where all hashes do");
    }
    assert_eq!(Shard::ALL.bounds(), ALL_KEYS);
}

#[test]
fn there_are_as_many_shards_as_rows_need() {
    for (rows, most, shards) in
        [(0, 10, 1), (1, 10, 1), (10, 10, 1), (11, 10, 2), (100, 10, 10), (101, 10, 11), (5, 0, 5)]
    {
        assert_eq!(Shard::count(rows, most), shards, "{rows} rows, {most} in one");
    }
}

/// A run of blocks that begin at these hashes, by their first 64 bits.
fn run(tops: &[u64]) -> RunSegment {
    let fence = |top: &u64| Fence { first: (u128::from(*top) << 64).to_be_bytes().to_vec(), count: 1 };
    RunSegment {
        origin: Origin { stream: 0, task: 0, sequence: 0 },
        delta: None,
        stored_keys: false,
        bytes: 0,
        digest: DigestSum::default(),
        last: vec![0xff; 16],
        index: BlockIndex { first_block: 0, fences: tops.iter().map(fence).collect() },
    }
}

#[test]
fn a_shard_needs_the_blocks_that_begin_in_it_and_the_one_before() {
    let width = u64::MAX / 4;
    let (first, last) = (width, 2 * width - 1);
    let shard = Shard::new(1, 4);
    for (tops, blocks) in [
        (&[][..], 0..0),
        (&[0, 5, first - 1], 2..3),
        (&[0, 5, first, first + 1, last + 1], 1..4),
        (&[0, 5, last, last + 1, last + 2], 1..3),
        (&[first, last], 0..2),
        (&[last, last, last + 1], 0..2),
        (&[last + 1, u64::MAX], 0..0),
    ] {
        assert_eq!(layers::blocks(&run(tops), shard), blocks, "{tops:?}");
        assert_eq!(layers::blocks(&run(tops), Shard::ALL), 0..tops.len());
    }
}
