//! What the storage port does for an adapter that says no more than it must.

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::error::{Code, Result};
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::storage::{
    ByteRange, Inspected, Listing, ObjectInfo, PartSum, Put, Storage, StoredSum, list_all,
};
use std::sync::Mutex;

/// A store with only the methods that every adapter must have. It lists the pages that it was given, one a call, and
/// remembers what it was asked for.
#[derive(Debug)]
struct Plain {
    memory: MemoryStorage,
    pages: Mutex<Vec<Listing>>,
    asked: Mutex<Vec<Option<String>>>,
}

impl Plain {
    /// The pages are of these keys, and each says whether more follow.
    fn new(pages: &[(&[&str], bool)]) -> Self {
        let page = |(keys, more): &(&[&str], bool)| Listing {
            objects: keys.iter().map(|key| ObjectInfo { key: (*key).to_owned(), size: 1 }).collect(),
            more: *more,
        };
        let pages = Mutex::new(pages.iter().rev().map(page).collect());
        Self { memory: MemoryStorage::new("plain"), pages, asked: Mutex::default() }
    }
}

#[async_trait]
impl Storage for Plain {
    fn name(&self) -> &str {
        self.memory.name()
    }
    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.memory.head(key).await
    }
    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.memory.get(key, range).await
    }
    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.memory.put_if_absent(key, body).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        assert_eq!(prefix, "packs/");
        self.asked.lock().unwrap().push(after.map(str::to_owned));
        Ok(self.pages.lock().unwrap().pop().expect("no page was left to ask for"))
    }
    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.memory.copy_from(from, key, to, parts).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.memory.delete(key).await
    }
}

/// The keys that are listed, and behind which key each page was asked for.
async fn listed(pages: &[(&[&str], bool)]) -> (Vec<String>, Vec<Option<String>>) {
    let store = Plain::new(pages);
    let all = list_all(&store, "packs/").await.unwrap();
    (all.into_iter().map(|object| object.key).collect(), store.asked.into_inner().unwrap())
}

#[tokio::test]
async fn a_listing_goes_on_behind_the_last_key_while_a_page_says_that_more_follow() {
    let behind = |key: &str| Some(key.to_owned());
    let (keys, asked) = listed(&[(&["a", "b"], true), (&["c"], true), (&["d"], false)]).await;
    assert_eq!(keys, ["a", "b", "c", "d"]);
    assert_eq!(asked, [None, behind("b"), behind("c")]);
    let (keys, asked) = listed(&[(&[], false)]).await;
    assert_eq!((keys.len(), asked.len()), (0, 1));
}

#[tokio::test]
async fn a_page_without_objects_ends_a_listing_whatever_it_promises() {
    // There is no key to go on behind: the same page would come for ever.
    let (keys, asked) = listed(&[(&["a"], true), (&[], true)]).await;
    assert_eq!((keys, asked.len()), (vec!["a".to_owned()], 2));
}

#[tokio::test]
async fn a_store_that_knows_no_locks_says_so_of_every_key_and_refuses_what_is_no_key() {
    let store = Plain::new(&[]);
    store.put_if_absent("packs/a", Bytes::from_static(b"x")).await.unwrap();
    for key in ["packs/a", "packs/missing"] {
        store.keep_until(key, i64::MAX).await.unwrap();
        assert_eq!(store.locked_until(key).await.unwrap(), None, "{key}");
    }
    for no_key in ["", "../a", "a//b"] {
        assert_eq!(store.locked_until(no_key).await.unwrap_err().code, Code::InvalidInput, "{no_key:?}");
        assert_eq!(store.keep_until(no_key, 1).await.unwrap_err().code, Code::InvalidInput, "{no_key:?}");
    }
}

#[tokio::test]
async fn a_store_that_keeps_no_sums_tells_the_size_alone() {
    let store = Plain::new(&[]);
    store.put_if_absent("packs/a", Bytes::from_static(b"four")).await.unwrap();
    let found = store.inspect("packs/a", &[]).await.unwrap();
    assert_eq!(found, Inspected { size: 4, sum: StoredSum::NotKept });
    assert_eq!(store.inspect("packs/b", &[]).await.unwrap_err().code, Code::ObjectMissing);
}
