//! The real clock.

use super::ports::Time;
use async_trait::async_trait;
use jiff::Timestamp;
use std::time::Duration;

/// The machine's clock and its source of chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallTime;

#[async_trait]
impl Time for WallTime {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn random(&self) -> u64 {
        // Nothing here is secret: without chance, delays merely do not spread.
        getrandom::u64().unwrap_or_default()
    }
}
