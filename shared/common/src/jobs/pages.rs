//! Rows, page by page.

use super::JobStore;
use super::failure::failure;
use super::item::Item;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures::future::BoxFuture;
use holdfast_vault::error::Result;

/// Rows of a kind in order; ask for the next page until there is none.
#[derive(Debug)]
pub struct Pages<T> {
    store: JobStore,
    query: QueryFluentBuilder,
    start: Option<Item>,
    ended: bool,
    read: fn(&Item) -> Result<T>,
}

impl<T> Pages<T> {
    pub(super) fn new(store: &JobStore, query: QueryFluentBuilder, read: fn(&Item) -> Result<T>) -> Self {
        Self { store: store.clone(), query, start: None, ended: false, read }
    }

    /// At most so many rows a page; without it about 1 MB of them.
    #[must_use]
    pub fn page_size(mut self, rows: u32) -> Self {
        self.query = self.query.limit(i32::try_from(rows.max(1)).unwrap_or(i32::MAX));
        self
    }

    /// The next page, never an empty one; `None` after the last.
    ///
    /// # Errors
    /// `StateUnavailable`; the same page may be asked for again.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>> {
        while !self.ended {
            let query = self.query.clone().set_exclusive_start_key(self.start.clone());
            let answer = ask(&self.store, query).await?;
            let rows = answer.items().iter().map(self.read).collect::<Result<Vec<_>>>()?;
            self.start = answer.last_evaluated_key;
            self.ended = self.start.is_none();
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// The first row that is as is asked for.
    ///
    /// # Errors
    /// As [`Pages::next`].
    pub async fn find(mut self, wanted: impl Fn(&T) -> bool) -> Result<Option<T>> {
        while let Some(page) = self.next().await? {
            if let Some(found) = page.into_iter().find(&wanted) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All that is left, in one list.
    ///
    /// # Errors
    /// As [`Pages::next`].
    pub async fn all(mut self) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

fn ask(store: &JobStore, query: QueryFluentBuilder) -> BoxFuture<'_, Result<QueryOutput>> {
    Box::pin(async move {
        query.send().await.map_err(|error| store.error(failure(&error), "reading the job table"))
    })
}
