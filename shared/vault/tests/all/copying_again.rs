//! Copies beside whoever deletes, over storage that fails or gives short pages, and what they ask of it.

use crate::rotation::{back_up, made, opened, reads, take};
use bytes::Bytes;
use futures::FutureExt as _;
use holdfast_vault::copy::{Copied, How, What, copy};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::memory::{MemoryCloud, MemoryStorage};
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{ByteRange, Listing, ObjectInfo, PartSum, Put, Storage, list_all};
use std::sync::{Arc, Mutex};

pub(crate) const HOW: How = How { at_once: 3, verify: false, dry_run: false };
pub(crate) const DRY: How = How { dry_run: true, ..HOW };
pub(crate) const VERIFY: How = How { verify: true, ..HOW };

/// What happens to a store right before one of its objects is read: nothing, a change of what it holds, or a failure.
pub(crate) type Event = Arc<dyn Fn(&MemoryStorage, &str) -> Result<()> + Send + Sync>;

/// A store that notes what is asked of it, gives pages of so many objects, and is meddled with while it is read.
#[derive(Clone)]
pub(crate) struct Witness {
    pub(crate) inner: MemoryStorage,
    page: usize,
    event: Event,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Witness {
    pub(crate) fn of(inner: &MemoryStorage) -> Self {
        let event: Event = Arc::new(|_, _| Ok(()));
        Self { inner: inner.clone(), page: 1_000, event, asked: Arc::default() }
    }

    pub(crate) fn pages_of(self, page: usize) -> Self {
        Self { page, ..self }
    }

    pub(crate) fn before_each_get(
        self,
        event: impl Fn(&MemoryStorage, &str) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { event: Arc::new(event), ..self }
    }

    /// Nobody can read the objects whose keys begin so.
    pub(crate) fn failing(self, prefix: &'static str) -> Self {
        let down = || Error::new(Code::StorageUnavailable, "it does not answer");
        self.before_each_get(move |_, key| if key.starts_with(prefix) { Err(down()) } else { Ok(()) })
    }

    /// How many requests so far begin with this: what is asked for, and a key.
    pub(crate) fn asked(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|one| one.starts_with(what)).count()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl Storage for Witness {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.note(format!("get {key}"));
        (self.event)(&self.inner, key)?;
        self.inner.get(key, range).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.note(format!("put {key}"));
        self.inner.put_if_absent(key, body).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.note(format!("list {prefix}"));
        let mut listing = self.inner.list(prefix, after).await?;
        listing.more |= listing.objects.len() > self.page;
        listing.objects.truncate(self.page);
        Ok(listing)
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.inner.copy_from(from, key, to, parts).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }
}

/// Deletes an object from where nobody can wait.
pub(crate) fn delete(storage: &MemoryStorage, key: &str) {
    storage.delete(key).now_or_never().unwrap().unwrap();
}

pub(crate) fn place() -> MemoryStorage {
    MemoryCloud::default().store("copy")
}

pub(crate) async fn to(vault: &Vault, place: &MemoryStorage, what: &What, how: How) -> Result<Copied> {
    copy(vault, Arc::new(place.clone()), what, how, &|_| ()).await
}

pub(crate) async fn names(place: &MemoryStorage) -> Vec<(String, u64)> {
    list_all(place, "").await.unwrap().into_iter().map(|object| (object.key, object.size)).collect()
}

/// The vault over a store that is watched.
pub(crate) fn over(vault: &Vault, witness: &Witness) -> Vault {
    vault.over(Arc::new(witness.clone()))
}

#[tokio::test]
async fn a_copy_of_no_object_at_a_time_is_one_of_one() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    let place = place();
    let how = How { at_once: 0, ..HOW };
    // Nothing in memory waits: a copy that is not done at once never is.
    let copied = to(&vault, &place, &What::All, how).now_or_never().unwrap().unwrap();
    assert_eq!((copied.backups_copied, copied.errors.len()), (1, 0));
    assert_eq!(names(&place).await, names(&storage).await);
}

#[tokio::test]
async fn a_copy_says_what_it_would_write_without_reading_the_objects() {
    let (storage, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    let source = Witness::of(&storage);
    let target = Witness::of(&place());
    let planned =
        copy(&over(&vault, &source), Arc::new(target.clone()), &What::All, DRY, &|_| ()).await.unwrap();
    let all = names(&storage).await;
    let bytes: u64 = all.iter().map(|(_, size)| size).sum();
    assert_eq!((planned.objects_copied, planned.bytes_copied), (all.len() as u64, bytes));
    for object in &manifest.objects {
        assert_eq!(source.asked(&format!("get {}", object.key())), 0, "a pack may be large");
    }
    assert_eq!(target.asked("put "), 0);
}

#[tokio::test]
async fn a_finished_copy_is_known_from_its_listings_page_by_page() {
    let (storage, vault) = made().await;
    for id in ["A", "B", "C"] {
        back_up(&vault, id, "r").await;
    }
    let place = place();
    to(&vault, &place, &What::All, HOW).await.unwrap();
    let all = names(&storage).await;
    for page in [1, 2, 1_000] {
        let source = Witness::of(&storage);
        let target = Witness::of(&place).pages_of(page);
        for how in [DRY, HOW] {
            let again = copy(&over(&vault, &source), Arc::new(target.clone()), &What::All, how, &|_| ())
                .await
                .unwrap();
            assert_eq!((again.objects_copied, again.objects_there), (0, all.len() as u64), "{page}");
            assert_eq!((again.backups_copied, again.backups_there), (0, 3), "{page}");
        }
        assert_eq!(source.asked("get packs/") + source.asked("get index/"), 0, "nothing is read again");
        let packs = place.list("packs/", None).await.unwrap().objects.len();
        assert_eq!(target.asked("list packs/"), 2 * packs.div_ceil(page), "each page is asked for once");
        assert_eq!(target.asked("put "), 0);
    }
}

#[tokio::test]
async fn a_manifest_there_that_is_another_one_is_found_and_left_alone() {
    let (_, vault) = made().await;
    back_up(&vault, "A", "r").await;
    let place = place();
    to(&vault, &place, &What::All, HOW).await.unwrap();
    let whole = take(&place, "manifests/A").await;
    let mut flipped = whole.clone();
    flipped[60] ^= 1;
    // Without being asked to compare, a copy looks at sizes only.
    for (body, how, found) in [
        (whole.clone(), HOW, 0),
        (whole.clone(), VERIFY, 0),
        (flipped.clone(), HOW, 0),
        (flipped, VERIFY, 1),
        (whole[..100].to_vec(), HOW, 1),
        (whole[..100].to_vec(), VERIFY, 1),
        ([&whole[..], b"more"].concat(), HOW, 1),
    ] {
        place.overwrite("manifests/A", body.clone());
        let copied = to(&vault, &place, &What::All, how).await.unwrap();
        assert_eq!((copied.errors.len(), copied.backups_there), (found, 1 - found as u64));
        assert_eq!((copied.backups_copied, copied.objects_copied), (0, 0));
        for error in &copied.errors {
            assert_eq!((error.object.as_str(), error.code.as_str()), ("manifests/A", "ObjectDamaged"));
            assert!(error.message.starts_with("in the copy: "), "{}", error.message);
        }
        assert_eq!(place.get("manifests/A", ByteRange::All).await.unwrap(), body);
    }
}

#[tokio::test]
async fn a_place_whose_description_is_unreadable_is_not_taken_for_something_else() {
    let (_, vault) = made().await;
    let used = place();
    for (description, code) in [
        ("{}".to_owned(), Code::ObjectDamaged),
        (format!("{{\"format\": 9, \"vault\": \"{}\"}}", vault.id()), Code::FormatUnsupported),
    ] {
        used.overwrite("holdfast.json", description);
        assert_eq!(to(&vault, &used, &What::All, HOW).await.unwrap_err().code, code);
    }
    let down = Arc::new(Witness::of(&used).failing("holdfast.json"));
    let error = copy(&vault, down, &What::All, HOW, &|_| ()).await.unwrap_err();
    assert_eq!(error.code, Code::StorageUnavailable);
}

#[tokio::test]
async fn what_cannot_be_read_for_now_ends_the_copy_and_is_not_taken_for_missing() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    let target = place();
    let down = Arc::new(Witness::of(&target).failing("keys/"));
    let error = copy(&vault, down, &What::All, HOW, &|_| ()).await.unwrap_err();
    assert_eq!(error.code, Code::StorageUnavailable);
    assert_eq!(target.head("keys/00000001.json").await.unwrap_err().code, Code::ObjectMissing);
    for prefix in ["holdfast.json", "keys/", "manifests/", "packs/"] {
        let source = Witness::of(&storage).failing(prefix);
        let error = to(&over(&vault, &source), &place(), &What::All, HOW).await.unwrap_err();
        assert_eq!(error.code, Code::StorageUnavailable, "{prefix}");
    }
}

#[tokio::test]
async fn a_backup_that_is_deleted_before_it_is_read_is_passed_over() {
    let (storage, vault) = made().await;
    for id in ["A", "B"] {
        back_up(&vault, id, "r").await;
    }
    let source = Witness::of(&storage).before_each_get(|storage, key| {
        if key == "manifests/A" {
            delete(storage, key);
        }
        Ok(())
    });
    let place = place();
    let copied = to(&over(&vault, &source), &place, &What::All, HOW).await.unwrap();
    assert_eq!((copied.backups_copied, copied.errors.len()), (1, 0));
    let copy = opened(&place).await;
    assert_eq!(copy.backups().await.unwrap(), ["B"]);
    reads(&copy, "B").await;
}

/// Whoever deletes a backup while it is copied has damaged nothing; what is missing of another one is still told.
#[tokio::test]
async fn a_backup_that_is_deleted_while_it_is_copied_is_no_damage() {
    let (storage, vault) = made().await;
    let broken = back_up(&vault, "A", "r").await;
    let lost = broken.objects[0].key();
    delete(&storage, &lost);
    let going = back_up(&vault, "B", "r").await;
    let (gone, damaged) = (going.objects[0].key(), going.objects[1].key());
    let mut bytes = take(&storage, &damaged).await;
    bytes[60] ^= 1;
    storage.overwrite(&damaged, bytes);
    back_up(&vault, "C", "r").await;
    let (first, second) = (gone.clone(), damaged.clone());
    let source = Witness::of(&storage).before_each_get(move |storage, key| {
        // As who deletes does: the manifest first.
        if key == first || key == second {
            delete(storage, "manifests/B");
            delete(storage, &first);
        }
        Ok(())
    });
    let place = place();
    let copied = to(&over(&vault, &source), &place, &What::All, HOW).await.unwrap();
    let told: Vec<_> = copied.errors.iter().map(|one| (one.object.as_str(), one.code.as_str())).collect();
    assert_eq!(told, [(lost.as_str(), "ObjectMissing"), (damaged.as_str(), "ObjectDamaged")]);
    assert_eq!((copied.backups_copied, opened(&place).await.backups().await.unwrap().len()), (1, 1));
    reads(&opened(&place).await, "C").await;
}

#[tokio::test]
async fn objects_that_are_missing_of_a_backup_that_stands_are_told() {
    let (storage, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    for object in &manifest.objects {
        delete(&storage, &object.key());
    }
    let copied = to(&vault, &place(), &What::All, HOW).await.unwrap();
    assert_eq!((copied.errors.len(), copied.backups_copied), (manifest.objects.len(), 0));
    assert!(copied.errors.iter().all(|error| error.code == "ObjectMissing"), "{:?}", copied.errors);
}
