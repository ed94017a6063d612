//! What becomes of objects: condemned, left to wait, rescued, deleted.

use super::locks;
use crate::margins::CONDEMNED_FOR;
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::{Condemned, Pages, PruneFigures};
use holdfast_vault::error::{Error, Result};
use holdfast_vault::storage::ObjectInfo;
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// Requests to the store under way at a time.
const AT_ONCE: usize = 16;

/// Judges objects of a shard, page by page in order of their keys.
pub(super) struct Judge<'a> {
    services: &'a Services,
    dry_run: bool,
    /// When what is needed was about to be listed.
    listed_at: Timestamp,
    /// What was done.
    pub(super) figures: PruneFigures,
}

/// An object, and whether something needs it.
pub(super) struct Seen {
    pub(super) object: ObjectInfo,
    pub(super) needed: bool,
}

impl<'a> Judge<'a> {
    /// `listed_at` is a time before whatever says what is needed was listed.
    pub(super) fn new(services: &'a Services, dry_run: bool, listed_at: Timestamp) -> Self {
        Self { services, dry_run, listed_at, figures: PruneFigures::default() }
    }

    /// Judges some objects, with all rows of condemned ones up to the last of them.
    ///
    /// # Errors
    /// What storage and state give. All that was done stands, and can be done again.
    pub(super) async fn page(&mut self, seen: Vec<Seen>, rows: Vec<Condemned>) -> Result<()> {
        let mut rows: BTreeMap<String, Condemned> =
            rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        // Taken after the objects were listed, so that each was there at this time.
        let now = self.services.clock.now();
        let (mut fresh, mut due, mut forget) = (Vec::new(), Vec::new(), Vec::new());
        for Seen { object, needed } in seen {
            self.figures.objects += 1;
            self.figures.bytes += object.size;
            match (rows.remove(&object.key), needed) {
                (None, true) => {}
                (Some(row), true) => {
                    self.figures.rescued += 1;
                    forget.push(row.key);
                }
                (None, false) => {
                    self.figures.condemned += 1;
                    self.figures.condemned_bytes += object.size;
                    fresh.push(Condemned { key: object.key, size: object.size, at: now });
                }
                (Some(row), false) if is_due(&row, self.listed_at) => due.push(object),
                (Some(_), false) => {
                    self.figures.waiting += 1;
                    self.figures.waiting_bytes += object.size;
                }
            }
        }
        // What is left has no object any more.
        forget.extend(rows.into_keys());
        let (free, locked) = self.part_locked(due).await?;
        for object in &locked {
            self.figures.locked += 1;
            self.figures.locked_bytes += object.size;
        }
        self.figures.deleted += free.len() as u64;
        self.figures.deleted_bytes += free.iter().map(|object| object.size).sum::<u64>();
        if self.dry_run {
            return Ok(());
        }
        self.services.jobs.condemn(&fresh).await?;
        self.delete(&free).await?;
        forget.extend(free.into_iter().map(|object| object.key));
        self.services.jobs.forget_condemned(&forget).await
    }

    async fn part_locked(&self, due: Vec<ObjectInfo>) -> Result<(Vec<ObjectInfo>, Vec<ObjectInfo>)> {
        let services = self.services;
        let looks: Vec<_> = due
            .into_iter()
            .map(|object| {
                let look = async move {
                    let locked = locks::is_locked(services, &object.key).await?;
                    Ok::<_, Error>((locked, object))
                };
                look.boxed()
            })
            .collect();
        let parted: Vec<(bool, ObjectInfo)> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let (locked, free): (Vec<_>, Vec<_>) = parted.into_iter().partition(|(locked, _)| *locked);
        let objects = |of: Vec<(bool, ObjectInfo)>| of.into_iter().map(|(_, object)| object).collect();
        Ok((objects(free), objects(locked)))
    }

    async fn delete(&self, objects: &[ObjectInfo]) -> Result<()> {
        let storage = self.services.vault.storage();
        let deletes: Vec<_> =
            objects.iter().map(|object| async move { storage.delete(&object.key).await }.boxed()).collect();
        stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// The one comparison that everything hangs on: see [`crate::margins`].
fn is_due(row: &Condemned, listed_at: Timestamp) -> bool {
    row.at.checked_add(CONDEMNED_FOR).is_ok_and(|end| end <= listed_at)
}

/// The rows of condemned objects below a prefix, in order, a page at a time.
pub(super) struct Rows {
    pages: Pages<Condemned>,
    after: Option<String>,
    read: VecDeque<Condemned>,
    ended: bool,
}

impl Rows {
    /// Rows with keys after `after`.
    ///
    /// # Errors
    /// `Internal` for a prefix that has no rows of its own.
    pub(super) fn new(services: &Services, prefix: &str, after: Option<&str>) -> Result<Self> {
        let pages = services.jobs.condemned(prefix, after)?;
        Ok(Self { pages, after: after.map(str::to_owned), read: VecDeque::new(), ended: false })
    }

    /// All rows that were not given yet, up to and with `last`; all that are left where that is `None`.
    ///
    /// # Errors
    /// What state gives.
    pub(super) async fn up_to(&mut self, last: Option<&str>) -> Result<Vec<Condemned>> {
        let mut given = Vec::new();
        loop {
            while let Some(row) = self.read.front() {
                if last.is_some_and(|last| row.key.as_str() > last) {
                    return Ok(given);
                }
                given.extend(self.read.pop_front());
            }
            match self.pages.next().await? {
                Some(page) if !self.ended => {
                    let after = self.after.as_deref().unwrap_or_default();
                    self.read.extend(page.into_iter().filter(|row| row.key.as_str() > after));
                }
                _ => {
                    self.ended = true;
                    return Ok(given);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_goes_when_its_time_is_up_and_no_earlier() {
        let at: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let row = Condemned { key: "packs/a".to_owned(), size: 1, at };
        assert!(is_due(&row, at + CONDEMNED_FOR));
        assert!(!is_due(&row, at + CONDEMNED_FOR - jiff::SignedDuration::from_millis(1)));
        assert!(!is_due(&row, at));
        assert!(!is_due(&Condemned { at: Timestamp::MAX, ..row }, Timestamp::MAX), "a time that has no end");
    }
}
