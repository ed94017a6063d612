//! Concurrent lines of states: the branches of a Parallel, the iterations of a Map.

use super::failure::{Failure, Halt};
use super::scope::Scope;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Children that run on threads of their own and end before their parent does.
pub(super) struct Children {
    pub(super) scope: Arc<Scope>,
    running: JoinSet<(usize, Result<Value, Halt>)>,
}

impl Children {
    pub(super) fn new(outer: &Arc<Scope>) -> Self {
        Self { scope: outer.inner(), running: JoinSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn spawn(&mut self, index: usize, work: BoxFuture<'static, Result<Value, Halt>>) {
        self.running.spawn(async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            (index, ended.unwrap_or_else(|_| Err(Failure::panicked().into())))
        });
    }

    /// The next child that ends; `None` when none is left.
    pub(super) async fn next(&mut self) -> Option<(usize, Result<Value, Halt>)> {
        // A child that cannot be joined was cancelled by the runtime's shutdown.
        self.running.join_next().await.map(|joined| joined.unwrap_or((usize::MAX, Err(Halt::Stopped))))
    }

    /// Stops the children that still run, and waits until they have ended.
    pub(super) async fn stop(&mut self) {
        self.scope.stop();
        while self.next().await.is_some() {}
    }
}
