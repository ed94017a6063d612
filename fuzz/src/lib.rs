//! Runs targets under libFuzzer, each with a bound on the memory that it may take.

use holdfast_vault::fuzzing::FREE;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

pub use holdfast_vault::fuzzing::Target;
#[doc(hidden)]
pub use libfuzzer_sys;

/// Bytes that are held now, and how many may be. What zstd takes is its own affair: libFuzzer's limit is its bound.
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Ends the process where more is held than the input allows.
pub struct Bounded;

impl Bounded {
    fn take(size: usize) {
        let held = HELD.fetch_add(size, Ordering::Relaxed) + size;
        let most = MOST.load(Ordering::Relaxed);
        if held > most {
            MOST.store(usize::MAX, Ordering::Relaxed);
            eprintln!("{held} bytes are held, {size} of them at once; {most} are allowed");
            std::process::abort();
        }
    }
}

// SAFETY: all of it is done by the system's allocator.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::take(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The target of a name.
///
/// # Panics
/// Panics if there is none.
#[must_use]
pub fn find(targets: &'static [Target], name: &str) -> &'static Target {
    targets.iter().find(|target| target.name == name).expect("a target of that name")
}

/// Feeds a target, with memory bounded by the input's length.
pub fn feed(target: &Target, data: &[u8]) {
    let most = HELD.load(Ordering::Relaxed) + FREE + target.memory * data.len();
    MOST.store(most, Ordering::Relaxed);
    (target.check)(data);
    MOST.store(usize::MAX, Ordering::Relaxed);
}

/// The program of a target.
#[macro_export]
macro_rules! target {
    ($targets:path, $name:literal) => {
        #[global_allocator]
        static ALLOCATOR: $crate::Bounded = $crate::Bounded;
        static TARGET: std::sync::LazyLock<&'static $crate::Target> =
            std::sync::LazyLock::new(|| $crate::find($targets, $name));
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::feed(&TARGET, data));
    };
}
