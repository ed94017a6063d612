//! Compares what was with what came back, by what the demo saw itself.

use super::item::Sum;
use crate::output::count;
use std::collections::{BTreeMap, BTreeSet};

/// How many differences of one kind are named.
const NAMED: usize = 5;

/// What a table or a tree held at a moment.
#[derive(Debug)]
pub(super) struct Snapshot<E> {
    /// What it is beside its entries.
    pub(super) settings: BTreeMap<String, String>,
    /// Its records or files.
    pub(super) entries: BTreeMap<String, E>,
}

impl<E> Default for Snapshot<E> {
    fn default() -> Self {
        Self { settings: BTreeMap::new(), entries: BTreeMap::new() }
    }
}

/// An entry that can say how it differs from another.
pub(super) trait Entry: PartialEq {
    /// What entries are called.
    const NOUN: &'static str;

    /// What differs.
    fn difference(&self, other: &Self) -> &'static str;

    /// Whether it is one of those that are counted; a directory is compared, but is no file.
    fn counts(&self) -> bool {
        true
    }
}

impl Entry for Sum {
    const NOUN: &'static str = "record";

    fn difference(&self, _: &Self) -> &'static str {
        "is another"
    }
}

/// What has become of one snapshot in another. Only entries that count are counted; all differences are named, or the
/// first few where there are many.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) equal: u64,
    missing: Difference,
    changed: Difference,
    added: Difference,
    settings: Vec<String>,
}

/// Entries that differ in one way.
#[derive(Debug, Default)]
struct Difference {
    counted: u64,
    unnamed: u64,
    named: Vec<String>,
}

impl Difference {
    fn note(&mut self, entry: &impl Entry, what: impl FnOnce() -> String) {
        self.counted += u64::from(entry.counts());
        if self.named.len() < NAMED { self.named.push(what()) } else { self.unnamed += 1 }
    }
}

impl Delta {
    fn kinds(&self) -> [(&Difference, &'static str); 3] {
        [(&self.missing, "missing"), (&self.changed, "changed"), (&self.added, "added")]
    }

    /// How many differences there are, in short.
    pub(super) fn summary(&self) -> String {
        let told = self.kinds().into_iter().filter(|(kind, _)| kind.counted > 0);
        told.map(|(kind, name)| format!("{} {name}", count(kind.counted))).collect::<Vec<_>>().join(", ")
    }

    /// The differences, none where all is equal.
    pub(super) fn named(&self, of: &str) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for (kind, name) in self.kinds() {
            told.extend(kind.named.iter().map(|line| format!("{of}: {line}")));
            if kind.unnamed > 0 {
                told.push(format!("{of}: {} more {name}", count(kind.unnamed)));
            }
        }
        told.extend(self.settings.iter().map(|line| format!("{of}: {line}")));
        told
    }
}

/// Compares two snapshots.
pub(super) fn compare<E: Entry>(before: &Snapshot<E>, after: &Snapshot<E>) -> Delta {
    let mut delta = Delta::default();
    let noun = E::NOUN;
    for (name, was) in &before.entries {
        match after.entries.get(name) {
            Some(is) if is == was => delta.equal += u64::from(was.counts()),
            Some(is) => delta.changed.note(was, || format!("{noun} {name} {}", was.difference(is))),
            None => delta.missing.note(was, || format!("{noun} {name} is missing")),
        }
    }
    for (name, is) in after.entries.iter().filter(|(name, _)| !before.entries.contains_key(*name)) {
        delta.added.note(is, || format!("{noun} {name} was not there before"));
    }
    let settings: BTreeSet<&String> = before.settings.keys().chain(after.settings.keys()).collect();
    for name in settings {
        let (was, is) = (before.settings.get(name), after.settings.get(name));
        if was != is {
            let said = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
            delta.settings.push(format!("{name} was {}, and is {}", said(was), said(is)));
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use super::super::item::sum;
    use super::super::shop::{Shop, Table};
    use super::*;

    fn products(count: u64) -> Snapshot<Sum> {
        let shop = Shop::new(1, 1_000);
        let entry = |number| (format!("{number}"), sum(&shop.item(Table::Products, number)));
        Snapshot { settings: BTreeMap::new(), entries: (0..count).map(entry).collect() }
    }

    #[test]
    fn equal_snapshots_have_no_differences() {
        let delta = compare(&products(50), &products(50));
        assert_eq!((delta.equal, delta.summary().as_str(), delta.named("products").len()), (50, "", 0));
    }

    #[test]
    fn a_changed_a_missing_and_an_added_record_are_named() {
        let mut after = products(50);
        after.entries.insert("7".to_owned(), sum(&Shop::new(1, 1_000).corrupted(7)));
        after.entries.remove("9");
        after.entries.insert("new".to_owned(), [0; 32]);
        let delta = compare(&products(50), &after);
        assert_eq!((delta.equal, delta.summary().as_str()), (48, "1 missing, 1 changed, 1 added"));
        assert_eq!(
            delta.named("products"),
            [
                "products: record 9 is missing",
                "products: record 7 is another",
                "products: record new was not there before"
            ]
        );
    }

    #[test]
    fn many_differences_are_counted_and_few_named() {
        let delta = compare(&products(90), &Snapshot::default());
        assert_eq!(delta.summary(), "90 missing");
        let named = delta.named("products");
        assert_eq!((named.len(), named[NAMED].as_str()), (NAMED + 1, "products: 85 more missing"));
    }

    #[test]
    fn another_setting_is_a_difference() {
        let mut after = products(1);
        after.settings.insert("time to live".to_owned(), "expires_at".to_owned());
        let delta = compare(&products(1), &after);
        assert_eq!(delta.named("products"), ["products: time to live was none, and is expires_at"]);
    }
}
