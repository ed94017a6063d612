use super::*;
use crate::plan::stream_gone;

fn stream(name: &str, records: u64, bytes: u64) -> StreamSummary {
    StreamSummary { name: name.to_owned(), kind: StreamShape::Records, records, files: 0, bytes }
}

fn full(streams: &[(&str, u64, u64)]) -> Figures {
    let streams = streams.iter().map(|(name, records, bytes)| stream(name, *records, *bytes)).collect();
    Figures { backup_type: "full".to_owned(), streams, written: Written::default() }
}

fn orders(records: u64) -> Figures {
    full(&[("orders", records, records * 100)])
}

/// An increment over a stream of 1,000 records: changed, added.
fn increment(changed: u64, added: u64) -> Figures {
    let delta = DeltaCounts { added, changed, deleted: 0 };
    let written = Written { deltas: BTreeMap::from([("orders".to_owned(), delta)]), ..Written::default() };
    Figures { backup_type: "incremental".to_owned(), written, ..orders(1_000 + added) }
}

fn stored(of: Figures, fresh_mib: u64, packed_mib: u64) -> Figures {
    let written = Written { fresh_bytes: fresh_mib << 20, packed_bytes: packed_mib << 20, ..of.written };
    Figures { written, ..of }
}

fn codes(now: &Figures, earlier: &[Figures]) -> Vec<String> {
    let found = find(now, earlier, AnomalyBounds::default(), &[], &[]);
    assert!(found.iter().all(|told| CODES.contains(&told.code.as_str())));
    found.into_iter().map(|told| told.code).collect()
}

#[test]
fn counts_that_leave_their_bounds_are_told() {
    // What there is now, what was before with the newest first, what is told.
    let cases: [(u64, &[u64], &[&str]); 20] = [
        (1_000, &[1_000, 1_000, 1_000], &[]),
        (501, &[1_000, 1_000, 1_000], &[]),
        (499, &[1_000, 1_000, 1_000], &["CountFell"]),
        (499, &[1_000, 1_000], &[]),
        (499, &[], &[]),
        (0, &[1_000], &["StreamEmpty"]),
        (0, &[99], &[]),
        (0, &[0, 1_000, 1_000, 1_000], &[]),
        (2_999, &[1_000, 1_000, 1_000], &[]),
        (3_001, &[1_000, 1_000, 1_000], &["CountRose"]),
        // In two steps, of which neither is large.
        (360, &[600, 1_000, 1_000, 1_000], &["CountFell"]),
        // Told once, and again where it goes on.
        (480, &[490, 1_000, 1_000, 1_000], &[]),
        (200, &[490, 1_000, 1_000, 1_000], &["CountFell"]),
        (3_100, &[3_050, 1_000, 1_000, 1_000], &[]),
        // A steady growth.
        (1_800, &[1_600, 1_400, 1_200, 1_000, 800, 600, 400], &[]),
        // Few records are a large share of few.
        (3, &[99, 99, 99], &[]),
        (90, &[150, 150, 150], &[]),
        (9_000, &[20, 20, 20], &[]),
        // One odd backup before does not make the usual.
        (1_000, &[1_000, 10, 1_000, 1_000], &[]),
        (1_000, &[10, 1_000, 1_000, 1_000], &[]),
    ];
    for (now, before, expected) in cases {
        let earlier: Vec<Figures> = before.iter().map(|records| orders(*records)).collect();
        assert_eq!(codes(&orders(now), &earlier), expected, "{now} after {before:?}");
    }
}

#[test]
fn sizes_are_told_where_counts_say_nothing() {
    let of = |mib: u64| full(&[("site", 10, mib << 20)]);
    let before = [of(20), of(20), of(20)];
    let cases: [(u64, &[&str]); 5] =
        [(20, &[]), (9, &["SizeFell"]), (61, &["SizeRose"]), (11, &[]), (59, &[])];
    for (mib, expected) in cases {
        assert_eq!(codes(&of(mib), &before), expected, "{mib}");
    }
    let small = [of(3), of(3), of(3)];
    assert_eq!(codes(&of(0), &small), [""; 0], "too little to say");
    let both = full(&[("site", 10_000, 20 << 20)]);
    let before = [both.clone(), both.clone(), both];
    assert_eq!(codes(&full(&[("site", 1_000, 2 << 20)]), &before), ["CountFell"], "once is enough");
}

#[test]
fn bounds_are_those_of_the_policy() {
    let earlier = [orders(1_000), orders(1_000), orders(1_000)];
    let of = |fall_percent, rise_percent, now| {
        let bounds = AnomalyBounds { fall_percent, rise_percent, ..AnomalyBounds::default() };
        find(&orders(now), &earlier, bounds, &[], &[]).len()
    };
    assert_eq!((of(10, 200, 899), of(10, 200, 901)), (1, 0));
    assert_eq!((of(50, 10, 1_101), of(50, 10, 1_099)), (1, 0));
    assert_eq!(of(100, u32::MAX, 1), 0, "switched off");
}

#[test]
fn a_missing_stream_is_told_once() {
    let both = full(&[("orders", 1_000, 0), ("items", 1_000, 0)]);
    let before = [both.clone(), both.clone(), both.clone()];
    let now = orders(1_000);
    let find = |earlier: &[Figures], expect: &[&str], told: &[Warning]| {
        let expect: Vec<String> = expect.iter().map(|name| (*name).to_owned()).collect();
        let found = super::find(&now, earlier, AnomalyBounds::default(), &expect, told);
        assert!(found.iter().all(|told| told.code == "StreamMissing" && told.message.contains("items")));
        found.len()
    };
    assert_eq!(find(&before, &[], &[]), 1);
    assert_eq!(find(&before[..2], &[], &[]), 0, "too few to say");
    assert_eq!(find(&[both.clone(), both.clone(), now.clone()], &[], &[]), 0, "not all had it");
    assert_eq!(find(&before, &[], &[stream_gone("items")]), 0, "told already");
    assert_eq!(find(&before, &["items"], &[]), 1, "told by the policy alone");
    assert_eq!(find(&[], &["items", "orders"], &[]), 1, "from the first backup on");
    let few = full(&[("orders", 1_000, 0), ("items", 99, 0)]);
    assert_eq!(find(&[few.clone(), few.clone(), few], &[], &[]), 0, "too little to say");
}

#[test]
fn a_high_share_of_changes_is_told() {
    let quiet = [increment(10, 0), increment(12, 5), increment(8, 0)];
    let cases: [(u64, u64, &[Figures], &[&str]); 8] = [
        (10, 0, &quiet, &[]),
        (290, 0, &quiet, &[]),
        (400, 0, &quiet, &["ChangeRateHigh"]),
        (400, 0, &quiet[..2], &[]),
        (0, 900, &quiet, &[]),
        // Where much changes all the time, much is no news.
        (400, 0, &[increment(200, 0), increment(250, 0), increment(210, 0)], &[]),
        (1_000, 0, &[increment(200, 0), increment(250, 0), increment(210, 0)], &["ChangeRateHigh"]),
        (400, 0, &[orders(1_000), orders(1_000), orders(1_000)], &[]),
    ];
    for (changed, added, earlier, expected) in cases {
        assert_eq!(codes(&increment(changed, added), earlier), expected, "{changed} changed, {added} added");
    }
}

#[test]
fn data_that_compresses_no_more_is_told() {
    let of = |fresh, packed| stored(orders(1_000), fresh, packed);
    let before = [of(100, 30), of(100, 35), of(100, 20)];
    let cases: [(u64, u64, &[&str]); 4] =
        [(100, 30, &[]), (100, 95, &["EntropyRose"]), (100, 80, &[]), (3, 3, &[])];
    for (fresh, packed, expected) in cases {
        assert_eq!(codes(&of(fresh, packed), &before), expected, "{fresh} became {packed}");
    }
    let photos = [of(100, 98), of(100, 99), of(100, 97)];
    assert_eq!(codes(&of(100, 99), &photos), [""; 0], "it never compressed");
    // An increment: new photos are no attack, photos in place of what was there may be.
    let before = [0, 1, 2].map(|_| stored(increment(20, 10), 20, 5));
    assert_eq!(codes(&stored(increment(3, 500), 50, 49), &before), [""; 0]);
    assert_eq!(codes(&stored(increment(200, 0), 50, 49), &before), ["EntropyRose"]);
    let fulls = [0, 1, 2].map(|_| stored(orders(1_000), 100, 30));
    assert_eq!(codes(&stored(increment(200, 0), 50, 49), &fulls), [""; 0], "like is compared with like");
}

#[test]
fn warnings_have_figures() {
    let earlier = [orders(5_000), orders(5_000), orders(5_000)];
    let found = find(&orders(1_000), &earlier, AnomalyBounds::default(), &[], &[]);
    assert_eq!(
        found[0].message,
        "stream orders has 1000 records, 80 % fewer than the 5000 records that it had as a rule"
    );
    let quiet = [increment(10, 0), increment(10, 0), increment(10, 0)];
    let found = find(&increment(405, 0), &quiet, AnomalyBounds::default(), &[], &[]);
    assert_eq!(
        found[0].message,
        "405 of the 1000 records of stream orders changed or went since the backup before: 40.5 %, and as a rule 1.0 %"
    );
}
