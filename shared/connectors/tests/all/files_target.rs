//! The target `files`: what it refuses, what it leaves behind, and what it does where something stands already.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use crate::tree_support;

use crate::tree_support::*;
use holdfast_connectors::files::FilesTarget;
use holdfast_connectors::{OnConflict, RestoreOrder, Target, Written};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::model::{EntryMeta, RecordEncoding, StreamInfo, StreamKind};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

struct Scene {
    dir: tempfile::TempDir,
    order: RestoreOrder,
}

impl Scene {
    fn new(on_conflict: OnConflict) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), order: order(on_conflict, &[tree("files")]) }
    }

    /// A target that holds something already, with a policy for it.
    fn filled(on_conflict: OnConflict) -> Self {
        let scene = Self::new(on_conflict);
        fs::create_dir(scene.to()).unwrap();
        fs::write(scene.to().join("old"), "old").unwrap();
        scene
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("to")
    }

    /// Each call by a worker that knows nothing of the others.
    fn target(&self) -> FilesTarget {
        FilesTarget::new(self.to(), &self.order)
    }

    async fn prepared(self) -> Self {
        self.target().prepare(&self.order).await.unwrap();
        self
    }

    async fn write(&self, meta: &EntryMeta, content: &[u8]) -> Result<Written, Error> {
        self.target().write_entry(&self.order.streams[0], meta, &mut Pieces::of(content, 3)).await
    }

    async fn finish(&self) {
        self.target().finish(&self.order).await.unwrap();
        assert_eq!(self.beside(), ["to"]);
        assert!(fs::read_dir(self.to()).unwrap().all(|e| e.unwrap().file_name() != ".holdfast-01RESTORE"));
    }

    fn beside(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.to().join(name)).unwrap()
    }
}

const KEPT: Written = Written { written: 0, conflicts: 1, bytes: 0 };

#[tokio::test]
async fn paths_that_lead_out_are_refused() {
    let scene = Scene::new(OnConflict::Fail).prepared().await;
    for path in [&b"/etc/x"[..], b"../x", b"a/../../x", b"a/./b", b"a//b", b"", b"x\0y", b".."] {
        let error = scene.write(&file(path, b"x"), b"x").await.unwrap_err();
        assert_eq!(error.code, Code::TargetInvalid, "{path:?}");
        assert!(error.hint.is_some() && !error.message.contains('\0'));
    }
    scene.target().abandon(&scene.order).await.unwrap();
    assert!(scene.beside().is_empty());
}

#[tokio::test]
async fn no_link_of_the_backup_leads_anything_out() {
    let scene = Scene::new(OnConflict::Fail).prepared().await;
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().as_os_str().as_encoded_bytes();
    scene.write(&link(b"way", target), b"").await.unwrap();
    for entry in [
        file(b"way/x", b""),
        file(b"way/deep/x", b""),
        directory(b"way/", 0o777),
        directory(b"way/x/", 0o777),
    ] {
        let error = scene.write(&entry, b"").await.unwrap_err();
        assert_eq!(error.code, Code::TargetInvalid, "{entry:?}");
    }
    // A directory first and then a link of its name: the link is what fails.
    scene.write(&file(b"dir/x", b"x"), b"x").await.unwrap();
    assert_eq!(scene.write(&link(b"dir", target), b"").await.unwrap_err().code, Code::TargetInvalid);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn no_link_of_the_target_is_followed() {
    for policy in [OnConflict::Skip, OnConflict::Overwrite] {
        let scene = Scene::filled(policy).prepared().await;
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x"), "theirs").unwrap();
        symlink(outside.path(), scene.to().join("way")).unwrap();
        symlink(outside.path().join("x"), scene.to().join("x")).unwrap();
        let error = scene.write(&file(b"way/x", b"ours"), b"ours").await.unwrap_err();
        assert_eq!(error.code, Code::TargetInvalid);
        assert!(error.message.contains("way is a link"), "{error}");
        // A link in the place of a file is replaced or kept itself.
        let written = scene.write(&file(b"x", b"ours!!"), b"ours!!").await.unwrap();
        assert_eq!(written.conflicts, 1);
        scene.finish().await;
        assert_eq!(fs::read(outside.path().join("x")).unwrap(), b"theirs");
        assert_eq!(
            fs::symlink_metadata(scene.to().join("x")).unwrap().is_symlink(),
            policy == OnConflict::Skip
        );
    }
}

#[tokio::test]
async fn a_target_that_is_not_empty_needs_a_policy() {
    let scene = Scene::filled(OnConflict::Fail);
    for error in [scene.target().check(&scene.order).await, scene.target().prepare(&scene.order).await] {
        let error = error.unwrap_err();
        assert_eq!(error.code, Code::TargetNotEmpty);
        assert!(error.message.contains("/to is not empty") && error.hint.unwrap().contains("--on-conflict"));
    }
    assert_eq!(scene.beside(), ["to"]);
    assert_eq!(look(&scene.to()).len(), 1);
}

#[tokio::test]
async fn what_is_no_directory_or_has_none_is_refused() {
    let scene = Scene::new(OnConflict::Overwrite);
    fs::write(scene.to(), "a file").unwrap();
    assert_eq!(scene.target().check(&scene.order).await.unwrap_err().code, Code::TargetInvalid);
    fs::remove_file(scene.to()).unwrap();
    symlink("nowhere", scene.to()).unwrap();
    assert_eq!(scene.target().check(&scene.order).await.unwrap_err().code, Code::TargetInvalid);
    let deep = FilesTarget::new(scene.dir.path().join("no/such"), &scene.order);
    let error = deep.check(&scene.order).await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
    assert!(error.message.contains("/no does not exist"), "{error}");
}

#[tokio::test]
async fn records_are_refused() {
    let shape = StreamKind::Records { encoding: RecordEncoding::Json, key: vec!["/id".into()] };
    let stream = StreamInfo { name: "orders".into(), shape, schema: serde_json::Value::Null };
    let order = order(OnConflict::Fail, &[stream]);
    let error = FilesTarget::new("/tmp/x", &order).check(&order).await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
    assert!(error.hint.unwrap().contains("jsonl:DIR"));
}

#[tokio::test]
async fn several_streams_go_into_directories_of_their_names() {
    let scene = Scene::new(OnConflict::Fail);
    let order = order(OnConflict::Fail, &[tree("files"), tree("images")]);
    let target = FilesTarget::new(scene.to(), &order);
    target.prepare(&order).await.unwrap();
    target.write_entry(&order.streams[0], &file(b"x", b"1"), &mut Pieces::of(b"1", 1)).await.unwrap();
    target.finish(&order).await.unwrap();
    assert_eq!(scene.read("files/x"), "1");
    assert_eq!(fs::read_dir(scene.to().join("images")).unwrap().count(), 0);

    let bad = tree_support::order(OnConflict::Fail, &[tree("files"), tree("../images")]);
    let error = FilesTarget::new(scene.dir.path().join("new"), &bad).check(&bad).await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
}

#[tokio::test]
async fn an_empty_directory_is_replaced_and_hands_on_its_mode() {
    let scene = Scene::new(OnConflict::Fail);
    fs::create_dir(scene.to()).unwrap();
    fs::set_permissions(scene.to(), fs::Permissions::from_mode(0o710)).unwrap();
    let scene = scene.prepared().await;
    scene.write(&file(b"a/x", b"x"), b"x").await.unwrap();
    assert_eq!(fs::read_dir(scene.to()).unwrap().count(), 0);
    scene.finish().await;
    assert_eq!(scene.read("a/x"), "x");
    assert_eq!(fs::metadata(scene.to()).unwrap().mode() & 0o7777, 0o710);
    assert_eq!(scene.target().check(&scene.order).await.unwrap_err().code, Code::TargetNotEmpty);
}

#[tokio::test]
async fn a_target_that_was_filled_meanwhile_stays_as_it_is() {
    let scene = Scene::new(OnConflict::Fail).prepared().await;
    scene.write(&file(b"x", b"x"), b"x").await.unwrap();
    fs::create_dir(scene.to()).unwrap();
    fs::write(scene.to().join("theirs"), "").unwrap();
    let error = scene.target().finish(&scene.order).await.unwrap_err();
    assert_eq!(error.code, Code::TargetNotEmpty);
    scene.target().abandon(&scene.order).await.unwrap();
    assert_eq!(scene.beside(), ["to"]);
    assert_eq!(look(&scene.to()).len(), 1);
}

#[tokio::test]
async fn a_worker_that_comes_after_the_end_is_told_so() {
    let scene = Scene::new(OnConflict::Fail).prepared().await;
    scene.target().abandon(&scene.order).await.unwrap();
    let error = scene.write(&file(b"x", b"x"), b"x").await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
    assert!(scene.target().finish(&scene.order).await.is_err());
    assert!(scene.beside().is_empty());
}

#[tokio::test]
async fn content_that_fails_leaves_nothing() {
    for scene in
        [Scene::new(OnConflict::Fail).prepared().await, Scene::filled(OnConflict::Overwrite).prepared().await]
    {
        let meta = file(b"old", b"longer");
        let mut content = Pieces::of(b"long", 2).then(Error::damaged("packs/1", "cut"));
        let error =
            scene.target().write_entry(&scene.order.streams[0], &meta, &mut content).await.unwrap_err();
        assert_eq!(error.code, Code::ObjectDamaged);
        let short = scene.write(&meta, b"long").await.unwrap_err();
        assert_eq!(short.code, Code::Internal);
        let left: Vec<PathBuf> = walk_files(scene.dir.path());
        assert!(left.iter().all(|path| *path == scene.to().join("old")), "{left:?}");
    }
}

fn walk_files(root: &Path) -> Vec<PathBuf> {
    look(root)
        .iter()
        .filter(|(_, seen)| seen.kind == "file")
        .map(|(name, _)| root.join(std::str::from_utf8(name).unwrap()))
        .collect()
}

#[tokio::test]
async fn skip_keeps_what_differs() {
    let scene = Scene::filled(OnConflict::Skip);
    fs::write(scene.to().join("same"), "same").unwrap();
    fs::create_dir(scene.to().join("dir")).unwrap();
    symlink("there", scene.to().join("link")).unwrap();
    let scene = scene.prepared().await;
    assert_eq!(scene.write(&file(b"old", b"new"), b"new").await.unwrap(), KEPT);
    assert_eq!(scene.write(&file(b"old", b"newer"), b"newer").await.unwrap(), KEPT);
    assert_eq!(scene.write(&file(b"dir", b"x"), b"x").await.unwrap(), KEPT);
    assert_eq!(scene.write(&directory(b"old/", 0o700), b"").await.unwrap(), KEPT);
    assert_eq!(scene.write(&file(b"old/below", b"x"), b"x").await.unwrap(), KEPT);
    assert_eq!(scene.write(&link(b"link", b"elsewhere"), b"").await.unwrap(), KEPT);
    let equal = Written { written: 1, conflicts: 0, bytes: 0 };
    assert_eq!(scene.write(&file(b"same", b"same"), b"same").await.unwrap(), equal);
    assert_eq!(scene.write(&link(b"link", b"there"), b"").await.unwrap(), equal);
    assert_eq!(scene.write(&file(b"deep/new", b"new"), b"new").await.unwrap().bytes, 3);
    scene.finish().await;
    let seen = look(&scene.to());
    assert_eq!((&*seen[&b"old"[..]].content, &*seen[&b"deep/new"[..]].content), (&b"old"[..], &b"new"[..]));
    assert_eq!((seen[&b"same"[..]].mode, seen[&b"same"[..]].mtime), (0o640, (1_600_000_000, 123_456_789)));
    assert_eq!(seen[&b"link"[..]].content, b"there");
    // Nobody said what mode `deep` has, so it is that of any new directory.
    let plain = scene.dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    assert_eq!(seen[&b"deep"[..]].mode, fs::metadata(plain).unwrap().mode() & 0o7777);
}

#[tokio::test]
async fn overwrite_replaces_what_differs() {
    let scene = Scene::filled(OnConflict::Overwrite);
    fs::create_dir(scene.to().join("empty")).unwrap();
    fs::create_dir(scene.to().join("full")).unwrap();
    fs::write(scene.to().join("full/x"), "x").unwrap();
    fs::write(scene.to().join("file"), "x").unwrap();
    let scene = scene.prepared().await;
    let over = Written { written: 1, conflicts: 1, bytes: 3 };
    assert_eq!(scene.write(&file(b"old", b"new"), b"new").await.unwrap(), over);
    assert_eq!(scene.write(&file(b"empty", b"new"), b"new").await.unwrap(), over);
    assert_eq!(scene.write(&file(b"file/below", b"new"), b"new").await.unwrap(), over);
    assert_eq!(scene.write(&directory(b"file/", 0o750), b"").await.unwrap().written, 1);
    let error = scene.write(&file(b"full", b"new"), b"new").await.unwrap_err();
    assert_eq!(error.code, Code::TargetConflict);
    assert_eq!(scene.write(&link(b"old", b"there"), b"").await.unwrap().conflicts, 1);
    assert_eq!(scene.write(&file(b"old", b"new"), b"new").await.unwrap().conflicts, 1);
    scene.finish().await;
    assert_eq!(
        (scene.read("old"), scene.read("empty"), scene.read("file/below")),
        ("new".into(), "new".into(), "new".into())
    );
    assert_eq!(look(&scene.to())[&b"file"[..]].mode, 0o750);
    assert_eq!(scene.read("full/x"), "x");
}

#[tokio::test]
async fn directories_that_lock_their_owner_out_are_written_and_finished_again() {
    let scene = Scene::new(OnConflict::Fail).prepared().await;
    for (path, mode) in [(&b"a/"[..], 0), (b"a/b/", 0o500), (b"a/b/c/", 0o755)] {
        scene.write(&directory(path, mode), b"").await.unwrap();
    }
    scene.write(&file(b"a/b/c/x", b"x"), b"x").await.unwrap();
    // As left by a finish that was ended just before the rename.
    let tree = scene.dir.path().join(".to.holdfast-01RESTORE/tree");
    fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o0)).unwrap();
    scene.finish().await;
    let mode = fs::metadata(scene.to().join("a")).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0);
    fs::set_permissions(scene.to().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    let seen = look(&scene.to());
    assert_eq!((seen[&b"a/b"[..]].mode, seen[&b"a/b/c"[..]].mode), (0o500, 0o755));
    assert!(seen.iter().all(|(_, seen)| seen.mtime == (1_600_000_000, 123_456_789)));
    fs::set_permissions(scene.to().join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn abandoning_removes_locked_directories_too() {
    let scene = Scene::new(OnConflict::Fail).prepared().await;
    scene.write(&file(b"a/b/x", b"x"), b"x").await.unwrap();
    let tree = scene.dir.path().join(".to.holdfast-01RESTORE/tree");
    fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o0)).unwrap();
    scene.target().abandon(&scene.order).await.unwrap();
    scene.target().abandon(&scene.order).await.unwrap();
    assert!(scene.beside().is_empty());
}

#[tokio::test]
async fn objects_that_stand_for_directories_become_directories() {
    let scene = Scene::new(OnConflict::Fail).prepared().await;
    let bare = EntryMeta { mode: None, mtime: None, ..file(b"folder/", b"") };
    scene.write(&bare, b"").await.unwrap();
    scene.write(&EntryMeta { mode: None, ..file(b"folder/x", b"x") }, b"x").await.unwrap();
    let error = scene.write(&file(b"odd/", b"x"), b"x").await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
    scene.finish().await;
    assert_eq!(scene.read("folder/x"), "x");
    fs::write(scene.to().join("plain"), "").unwrap();
    let seen = look(&scene.to());
    assert_eq!(seen[&b"folder/x"[..]].mode, seen[&b"plain"[..]].mode);
}
