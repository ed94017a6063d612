//! Waiting between tries.

use std::time::Duration;

/// Waits before the next try, longer each time and never as long as a neighbour.
pub async fn back_off(attempt: u32) {
    let ceiling = 5_u64 << attempt.min(7);
    let mut random = [0_u8; 8];
    // Without randomness the wait is the ceiling: slower, still right.
    let millis = match getrandom::fill(&mut random) {
        Ok(()) => 1 + u64::from_le_bytes(random) % ceiling,
        Err(_) => ceiling,
    };
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
