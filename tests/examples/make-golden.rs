//! Makes a golden vault: `cargo run -p holdfast-tests --example make-golden -- tests/golden/format-1`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

fn main() {
    let into: PathBuf = std::env::args_os().nth(1).expect("usage: make-golden DIR").into();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(holdfast_tests::golden::generate(&into));
}
