//! Symbolic links inside a local store: they are not listed, and no operation reads, writes or removes anything through
//! one. What they point to stays as it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, Upload, maintenance_of, open};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};
use tempfile::TempDir;

use super::contract::keys;

struct Fixture {
    root: TempDir,
    /// A directory outside the store, with files called like objects.
    elsewhere: TempDir,
    store: Arc<dyn SnapshotStore>,
}

impl Fixture {
    fn new() -> Self {
        let (root, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        for name in ["data", "data#1", "deep/data", "only/data"] {
            let path = elsewhere.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "of somebody else").unwrap();
        }
        fs::create_dir(elsewhere.path().join("empty")).unwrap();
        Self { store: open_at(root.path()), root, elsewhere }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn link(&self, name: &str, target: &Path) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        symlink(target, self.path(name)).unwrap();
    }

    /// Returns every name below the other directory, and the contents of its files.
    fn elsewhere(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let (mut found, mut pending) = (Vec::new(), vec![self.elsewhere.path().to_owned()]);
        while let Some(path) = pending.pop() {
            match path.is_dir() {
                true => pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path())),
                false => found.push((path.clone(), Some(fs::read(&path).unwrap()))),
            }
            found.push((path, None));
        }
        found.sort();
        found
    }

    /// Makes every request for a key, and returns the errors. `None` stands for success.
    async fn requests(&self, key: &str) -> Vec<(&'static str, Option<SnapshotError>)> {
        let store = self.store.as_ref();
        vec![
            ("create", store.create(key, "new".into()).await.err()),
            ("upload", upload(store, key).await.err()),
            ("get", store.get(key, 100).await.err()),
            ("get_range", store.get_range(key, 0..2).await.err()),
            ("head", store.head(key).await.err()),
            ("delete", store.delete(key).await.err()),
        ]
    }
}

fn open_at(path: &Path) -> Arc<dyn SnapshotStore> {
    open(&Location::Local(path.to_owned()), &StoreConfig::default()).unwrap()
}

async fn upload(store: &dyn SnapshotStore, key: &str) -> Result<u64> {
    let mut upload: Box<dyn Upload> = store.upload(key, None).await?;
    upload.write("new".into()).await?;
    upload.finish().await
}

#[tokio::test]
async fn nothing_is_done_through_a_link_and_the_error_names_it() {
    let fixture = Fixture::new();
    fixture.store.create("own/data", "own".into()).await.unwrap();
    let elsewhere = fixture.elsewhere.path();
    // A link, its target, and the key of an object that is the link or behind it.
    for (link, target, key) in [
        ("whole", elsewhere.to_owned(), "whole/data"),
        ("whole-deep", elsewhere.to_owned(), "whole-deep/deep/data"),
        ("middle/link", elsewhere.join("deep"), "middle/link/data"),
        ("missing", elsewhere.to_owned(), "missing/new/data"),
        ("empty", elsewhere.join("empty"), "empty/data"),
        ("only", elsewhere.join("only"), "only/data"),
        ("object/data", elsewhere.join("data"), "object/data"),
        ("top", elsewhere.join("data"), "top"),
        ("to-directory/data", elsewhere.to_owned(), "to-directory/data"),
        ("dangling", elsewhere.join("nowhere"), "dangling/data"),
        ("dangling-object/data", elsewhere.join("nowhere"), "dangling-object/data"),
        ("loop", "loop".into(), "loop/data"),
        ("loop-object/data", "data".into(), "loop-object/data"),
        ("relative", "own".into(), "relative/data"),
        ("up/link", "..".into(), "up/link/own/data"),
        ("root", fixture.root.path().to_owned(), "root/own/data"),
    ] {
        fixture.link(link, &target);
        let before = fixture.elsewhere();
        for (request, error) in fixture.requests(key).await {
            let error = error.unwrap_or_else(|| panic!("{request} of {key} succeeds"));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{request} of {key}: {error:?}");
            let named = format!("/{link} is a symbolic link, and links inside a store are not followed");
            assert!(error.message().contains(&named), "{request} of {key}: {error}");
            assert_eq!(error.key(), Some(key));
        }
        assert_eq!(fixture.elsewhere(), before, "{key}");
        assert!(fixture.path(link).is_symlink(), "{key}: the link is gone");
    }
    assert_eq!(keys(fixture.store.as_ref(), "").await, ["own/data"]);
    for prefix in ["whole", "whole-deep/deep", "middle/link", "object", "relative", "root/own", "loop"] {
        assert_eq!(keys(fixture.store.as_ref(), prefix).await, [""; 0], "{prefix}");
    }
    assert_eq!(fixture.store.get("own/data", 10).await.unwrap(), "own");
}

#[tokio::test]
async fn maintenance_does_not_follow_a_link() {
    let fixture = Fixture::new();
    fixture.link("whole", fixture.elsewhere.path());
    fixture.link("box/empty", &fixture.elsewhere.path().join("empty"));
    fixture.link("box/data#1", &fixture.elsewhere.path().join("data#1"));
    let before = fixture.elsewhere();
    let maintenance = maintenance_of(fixture.store.as_ref()).unwrap();
    let later = DateTime::<Utc>::MAX_UTC;
    assert_eq!(maintenance.orphans(|_| true, later).await.unwrap(), []);
    assert_eq!(maintenance.collect_garbage(|_| true, later).await.unwrap(), []);
    assert_eq!(fixture.elsewhere(), before);
}

#[tokio::test]
async fn the_root_of_a_store_may_be_a_link() {
    let fixture = Fixture::new();
    let link = fixture.elsewhere.path().join("to-the-store");
    symlink(fixture.root.path(), &link).unwrap();
    let store = open_at(&link);
    store.create("box/data", "x".into()).await.unwrap();
    assert_eq!(fs::read(fixture.path("box/data")).unwrap(), b"x");
    assert_eq!(keys(store.as_ref(), "").await, ["box/data"]);
    store.delete("box/data").await.unwrap();
    assert!(!fixture.path("box").exists());
}

/// Moves the directory `box` of the store away, and puts a link to the other directory in its place.
fn swap(fixture: &Fixture) {
    fs::rename(fixture.path("box"), fixture.path("moved")).unwrap();
    fixture.link("box", fixture.elsewhere.path());
}

#[tokio::test]
async fn a_directory_that_is_swapped_for_a_link_during_an_upload_is_written_to_itself() {
    let fixture = Fixture::new();
    for finish in [true, false] {
        let mut upload = fixture.store.upload("box/data", None).await.unwrap();
        // More than is kept in memory, so that the file exists.
        upload.write(vec![7; 26 << 20].into()).await.unwrap();
        assert!(fixture.path("box/data#1").exists());
        swap(&fixture);
        let before = fixture.elsewhere();
        match finish {
            true => assert_eq!(upload.finish().await.unwrap(), 26 << 20),
            false => upload.abort().await.unwrap(),
        }
        assert_eq!(fixture.elsewhere(), before);
        assert_eq!(fs::read_dir(fixture.path("moved")).unwrap().count(), usize::from(finish));
        fs::remove_file(fixture.path("box")).unwrap();
        fs::remove_dir_all(fixture.path("moved")).unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_is_swapped_for_a_link_during_a_listing_is_listed_itself() {
    let fixture = Fixture::new();
    // More than one listing reads at once.
    for number in 0..3000 {
        fs::create_dir_all(fixture.path("box")).unwrap();
        fs::write(fixture.path(&format!("box/own-{number}")), "x").unwrap();
    }
    let mut objects = fixture.store.list("");
    let mut found = vec![objects.try_next().await.unwrap().unwrap().key];
    swap(&fixture);
    while let Some(object) = objects.try_next().await.unwrap() {
        found.push(object.key);
    }
    assert!(found.iter().all(|key| key.starts_with("box/own-")), "{found:?}");
}
