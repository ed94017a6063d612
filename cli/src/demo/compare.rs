//! Compares what was with what came back, by what the demo saw itself.

use super::item::Sum;
use crate::output::counted;
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

/// What has become of one snapshot in another.
#[derive(Debug, Default)]
pub(super) struct Delta {
    /// Records or files that are as they were.
    pub(super) equal: u64,
    pub(super) missing: u64,
    pub(super) changed: u64,
    pub(super) added: u64,
    /// The differences by name, the first few of each kind.
    pub(super) named: Vec<String>,
}

impl Delta {
    /// How many differences there are, in short.
    pub(super) fn summary(&self) -> String {
        let kinds = [(self.missing, "missing"), (self.changed, "changed"), (self.added, "added")];
        let told = kinds.iter().filter(|(count, _)| *count > 0);
        told.map(|(count, kind)| format!("{} {kind}", crate::output::count(*count)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Counts a difference, and names it where it is one of the first.
    fn note(count: &mut u64, named: &mut Vec<String>, what: impl FnOnce() -> String) {
        *count += 1;
        if *count <= NAMED as u64 {
            named.push(what());
        }
    }
}

/// Compares two snapshots; `of` names what they are of.
pub(super) fn compare<E: Entry>(of: &str, before: &Snapshot<E>, after: &Snapshot<E>) -> Delta {
    let mut delta = Delta::default();
    let noun = E::NOUN;
    for (name, was) in &before.entries {
        match after.entries.get(name) {
            Some(is) if is == was => delta.equal += u64::from(was.counts()),
            Some(is) => Delta::note(&mut delta.changed, &mut delta.named, || {
                format!("{of}: {noun} {name} {}", was.difference(is))
            }),
            None => Delta::note(&mut delta.missing, &mut delta.named, || {
                format!("{of}: {noun} {name} is missing")
            }),
        }
    }
    for name in after.entries.keys().filter(|name| !before.entries.contains_key(*name)) {
        Delta::note(&mut delta.added, &mut delta.named, || {
            format!("{of}: {noun} {name} was not there before")
        });
    }
    let unnamed = (delta.missing + delta.changed + delta.added).saturating_sub(delta.named.len() as u64);
    if unnamed > 0 {
        delta.named.push(format!("{of}: {} more", counted(unnamed, "difference")));
    }
    let settings: BTreeSet<&String> = before.settings.keys().chain(after.settings.keys()).collect();
    for name in settings {
        let (was, is) = (before.settings.get(name), after.settings.get(name));
        if was != is {
            let said = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
            delta.named.push(format!("{of}: {name} was {}, and is {}", said(was), said(is)));
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
        let delta = compare("products", &products(50), &products(50));
        assert_eq!((delta.equal, delta.summary().as_str(), delta.named.len()), (50, "", 0));
    }

    #[test]
    fn a_changed_a_missing_and_an_added_record_are_named() {
        let mut after = products(50);
        after.entries.insert("7".to_owned(), sum(&Shop::new(1, 1_000).corrupted(7)));
        after.entries.remove("9");
        after.entries.insert("new".to_owned(), [0; 32]);
        let delta = compare("products", &products(50), &after);
        assert_eq!((delta.equal, delta.summary().as_str()), (48, "1 missing, 1 changed, 1 added"));
        assert_eq!(
            delta.named,
            [
                "products: record 7 is another",
                "products: record 9 is missing",
                "products: record new was not there before"
            ]
        );
    }

    #[test]
    fn many_differences_are_counted_and_few_named() {
        let delta = compare("products", &products(90), &Snapshot::default());
        assert_eq!((delta.missing, delta.named.len()), (90, NAMED + 1));
        assert_eq!(delta.named[NAMED], "products: 85 differences more");
    }

    #[test]
    fn another_setting_is_a_difference() {
        let mut after = products(1);
        after.settings.insert("time to live".to_owned(), "expires_at".to_owned());
        let delta = compare("products", &products(1), &after);
        assert_eq!(delta.named, ["products: time to live was none, and is expires_at"]);
    }
}
