//! Stopping: a scope is stopped when it, or one around it, is told to.

use std::sync::Arc;
use tokio::sync::watch;

/// The reach of a stop signal: an execution, or the children of one Map or Parallel.
#[derive(Debug)]
pub(super) struct Scope {
    signal: watch::Sender<bool>,
    outer: Option<Arc<Scope>>,
}

impl Scope {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { signal: watch::Sender::new(false), outer: None })
    }

    /// A scope inside this one.
    pub(super) fn inner(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { signal: watch::Sender::new(false), outer: Some(Arc::clone(self)) })
    }

    pub(super) fn stop(&self) {
        self.signal.send_replace(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.chain().any(|scope| *scope.signal.borrow())
    }

    /// Ends when the scope is stopped.
    pub(super) async fn stopped(&self) {
        let waits = self.chain().map(|scope| {
            let mut signal = scope.signal.subscribe();
            Box::pin(async move {
                // The sender lives as long as the scope that is waited on.
                let _ = signal.wait_for(|stopped| *stopped).await;
            })
        });
        futures::future::select_all(waits).await;
    }

    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |scope| scope.outer.as_deref())
    }
}
