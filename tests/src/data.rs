//! Records for tests: real ones, where they are beside the project.

use crate::shared_data;
use flate2::read::GzDecoder;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The folder of real records. Without it a test says so and passes, but not in CI.
#[must_use]
#[allow(clippy::print_stderr)]
pub fn real_data() -> Option<PathBuf> {
    let found = shared_data();
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI has the real records beside the project");
        eprintln!("skipped: no real records beside the project");
    }
    found
}

fn gunzip(file: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Real shops: `id`, names, places, hours, services.
#[must_use]
pub fn stores(data: &Path) -> Vec<Value> {
    serde_json::from_str(&gunzip(&data.join("bestbuy-stores.json.gz"))).unwrap()
}

/// A real inventory, keyed by `sku` and `supplyChannel`. A channel that is empty is written as `-`, since a table's key
/// cannot be empty.
#[must_use]
pub fn inventory(data: &Path) -> Vec<Value> {
    let text = gunzip(&data.join("sunrise-inventory.csv.gz"));
    let mut rows = text.lines();
    let names: Vec<&str> = rows.next().unwrap().trim_end().split(',').collect();
    let record = |row: &str| {
        let cells = names.iter().zip(row.trim_end().split(','));
        let plain = |name: &str, cell: &str| match (name, cell) {
            ("supplyChannel", "") => "-".into(),
            ("quantityOnStock", number) => number.parse::<u64>().map_or_else(|_| number.into(), Value::from),
            (_, text) => text.into(),
        };
        Value::Object(
            cells.map(|(name, cell)| ((*name).to_owned(), plain(name, cell))).collect::<Map<_, _>>(),
        )
    };
    rows.map(record).collect()
}
