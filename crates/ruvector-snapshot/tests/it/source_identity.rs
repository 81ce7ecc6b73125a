//! Where a snapshot came from: what is recorded, which bases are of the same source, and what `latest` means for one.
//! Each on a disk and in a bucket.

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::TryStreamExt as _;
use ruvector_core::VectorDB;
use ruvector_snapshot::source::FileSource;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    CreateOptions, ErrorKind, Progress, ProgressUpdate, Remedy, Snapshot, SnapshotConfig, SnapshotManager, SourceId,
};
use ruvector_snapshot_format::layout;
use test_fixtures::{TestDir, TickingClock, edit_metadata, entry, make_database, options};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;

/// A listener that keeps the warnings.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Progress for Recorder {
    fn update(&self, _update: ProgressUpdate) {}

    fn warning(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Three databases `a.db`, `b.db` and `c.db`, and one store.
struct Fixture {
    dir: TestDir,
    store: Arc<dyn SnapshotStore>,
    warnings: Arc<Recorder>,
    clock: Arc<TickingClock>,
}

impl Fixture {
    fn new(dir: TestDir, store: Arc<dyn SnapshotStore>) -> Self {
        for (name, rows) in [("a.db", 40), ("b.db", 30), ("c.db", 5)] {
            drop(make_database(&dir.path(name), rows, 4, 1));
        }
        Self { dir, store, warnings: Arc::default(), clock: TickingClock::seconds_from_year(2020) }
    }

    fn on_disk() -> Self {
        let dir = TestDir::new();
        let store = dir.local_store();
        Self::new(dir, store)
    }

    /// Returns a manager on the host `db1`.
    fn manager(&self) -> SnapshotManager {
        self.manager_on("db1")
    }

    fn manager_on(&self, host: &str) -> SnapshotManager {
        let config = SnapshotConfig { host: Some(host.to_owned()), ..self.dir.config() };
        SnapshotManager::with_store(config, self.store.clone()).unwrap().with_clock(self.clock.clone())
    }

    fn options(&self) -> CreateOptions {
        CreateOptions::default().progress(self.warnings.clone())
    }

    fn named(&self, name: &str) -> CreateOptions {
        self.options().source_name(name)
    }

    async fn create(&self, manager: &SnapshotManager, db: &str, options: &CreateOptions) -> Snapshot {
        manager.create_snapshot_of_file(self.dir.path(db), "nightly", options).await.unwrap()
    }

    /// Asserts that an increment is refused, that the error contains these parts, and that nothing was stored.
    async fn assert_refused(&self, db: &str, options: &CreateOptions, parts: &[&str]) {
        let before = self.keys().await;
        let error = self.manager().create_snapshot_of_file(self.dir.path(db), "nightly", options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(error.remedy(), Some(Remedy::BaseFromElsewhere));
        assert!(!error.problem().contains("take a full snapshot"), "{error}");
        let what_to_do = ["take a full snapshot", "CreateOptions::base_from_elsewhere"];
        parts.iter().chain(&what_to_do).for_each(|part| assert!(error.to_string().contains(part), "{part}: {error}"));
        assert_eq!(self.keys().await, before, "{error}");
    }

    async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
        keys.sort();
        keys
    }

    /// Changes the recorded source of a stored snapshot.
    async fn edit_source(&self, snapshot: &Snapshot, change: impl FnOnce(&mut serde_json::Value)) {
        let key = layout::key(&snapshot.id.parse().unwrap(), layout::METADATA_JSON);
        let bytes = self.store.get(&key, u64::MAX).await.unwrap();
        let edited = edit_metadata(&bytes, |json| change(&mut json["source"]));
        self.store.delete(&key).await.unwrap();
        self.store.create(&key, edited.into()).await.unwrap();
    }
}

/// Runs a test on a disk, and in a bucket.
async fn on_each_store(test: impl AsyncFn(&Fixture)) {
    test(&Fixture::on_disk()).await;
    let server = S3Server::start();
    test(&Fixture::new(TestDir::new(), s3_store(&server, "backups"))).await;
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_records_its_source() {
    use std::os::unix::fs::MetadataExt as _;
    on_each_store(async |fixture| {
        let (manager, path) = (fixture.manager(), fixture.dir.path("a.db"));
        fixture.create(&manager, "a.db", &fixture.options()).await;
        manager.create_from(&FileSource::new(&path), "custom", &fixture.options()).await.unwrap();
        let db = VectorDB::new(options(&path, 4)).unwrap();
        manager.create_snapshot_with(&db, "open", &fixture.options()).await.unwrap();
        drop(db);
        let file = std::fs::metadata(&path).unwrap();
        let snapshots = manager.list_snapshots().await.unwrap();
        assert_eq!(snapshots.len(), 3);
        for Snapshot { source, .. } in &snapshots {
            assert_eq!((source.kind.as_str(), source.name.as_deref()), ("file", None));
            assert_eq!((source.host.as_deref(), source.path.clone()), (Some("db1"), Some(text(&path))));
            assert_eq!((source.device, source.inode), (Some(file.dev()), Some(file.ino())));
            assert!(source.transaction_id.is_some_and(|id| id > 0));
        }
        let memory = VectorDB::new(options("memory://a", 4)).unwrap();
        memory.insert(entry("a".to_owned(), 1, 4, 1)).unwrap();
        let source = manager.create_snapshot_with(&memory, "memory", &fixture.named("mine")).await.unwrap().source;
        assert_eq!((source.kind.as_str(), source.name.as_deref(), source.path), ("memory", Some("mine"), None));
        assert_eq!(source.host.as_deref(), Some("db1"));
        assert_eq!(fixture.warnings.take(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_name_in_the_settings_is_the_default_of_the_options() {
    let fixture = Fixture::on_disk();
    let config = SnapshotConfig { source_name: Some("settings".to_owned()), ..fixture.dir.config() };
    let manager = SnapshotManager::with_store(config, fixture.store.clone()).unwrap();
    let named = fixture.create(&manager, "a.db", &fixture.options()).await;
    assert_eq!(named.source.id(), Some(SourceId::Name("settings".to_owned())));
    let named = fixture.create(&manager, "a.db", &fixture.named("options")).await;
    assert_eq!(named.source.id(), Some(SourceId::Name("options".to_owned())));
    for wrong in ["", " \t", "a\nb", &"x".repeat(1025)] {
        let answer = manager.create_snapshot_of_file(fixture.dir.path("a.db"), "x", &fixture.named(wrong)).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
    }
    assert_eq!(fixture.keys().await.len(), 2 * layout::FILES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_of_another_file_is_refused_unless_it_is_accepted() {
    on_each_store(async |fixture| {
        let manager = fixture.manager();
        let base = fixture.create(&manager, "a.db", &fixture.options()).await;
        let on_base = fixture.options().base_id(&base.id);
        let paths = ["a.db", "b.db"].map(|name| format!("db1:{}", text(&fixture.dir.path(name))));
        fixture.assert_refused("b.db", &on_base, &[&base.id, &paths[0], &paths[1]]).await;
        // The base is not read in vain, and a copy is another file, whatever it holds.
        fixture.store.delete(&layout::key(&base.id.parse().unwrap(), "vectors.bin.gz")).await.unwrap();
        fixture.assert_refused("b.db", &on_base.clone().verify_base(true), &[&base.id]).await;
        let base = fixture.create(&manager, "a.db", &fixture.options()).await;
        let on_base = fixture.options().base_id(&base.id);
        std::fs::copy(fixture.dir.path("a.db"), fixture.dir.path("copy.db")).unwrap();
        fixture.assert_refused("copy.db", &on_base, &["copy.db"]).await;
        assert_eq!(fixture.warnings.take(), Vec::<String>::new());

        let moved = fixture.create(&manager, "copy.db", &on_base.clone().base_from_elsewhere(true)).await;
        assert_eq!((moved.base_id(), moved.changes.unwrap().rows()), (Some(&*base.id), 0));
        let warnings = fixture.warnings.take();
        assert!(warnings[0].contains("copy.db") && warnings[0].contains(&paths[0]), "{warnings:?}");
        assert_eq!(warnings.len(), 1);
        // The same file by another spelling.
        let spelled = fixture.dir.path("scratch/.././a.db");
        manager.create_snapshot_of_file(&spelled, "nightly", &on_base).await.unwrap();
        // The file was restored, or copied back: another inode at the same path.
        std::fs::rename(fixture.dir.path("copy.db"), fixture.dir.path("a.db")).unwrap();
        fixture.create(&manager, "a.db", &on_base).await;
        assert_eq!(fixture.warnings.take(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_name_decides_instead_of_the_path() {
    on_each_store(async |fixture| {
        let manager = fixture.manager();
        let base = fixture.create(&manager, "a.db", &fixture.named("articles")).await;
        let plain = fixture.create(&manager, "a.db", &fixture.options()).await;
        fixture.assert_refused("a.db", &fixture.named("users").base_id(&base.id), &["\"articles\"", "\"users\""]).await;
        fixture.assert_refused("a.db", &fixture.options().base_id(&base.id), &["\"articles\"", "a.db"]).await;
        fixture.assert_refused("a.db", &fixture.named("articles").base_id(&plain.id), &["\"articles\"", "a.db"]).await;
        // The database has moved, to another host.
        std::fs::copy(fixture.dir.path("a.db"), fixture.dir.path("moved.db")).unwrap();
        let options = fixture.named("articles").base_id(&base.id);
        fixture.create(&fixture.manager_on("db2"), "moved.db", &options).await;
        let warnings = fixture.warnings.take();
        assert!(warnings.len() == 1 && warnings[0].contains("if these are two databases"), "{warnings:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_alone_is_a_warning() {
    on_each_store(async |fixture| {
        let base = fixture.create(&fixture.manager_on("container-1"), "a.db", &fixture.options()).await;
        fixture.create(&fixture.manager(), "a.db", &fixture.options().base_id(&base.id)).await;
        let warnings = fixture.warnings.take();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        for part in [&*base.id, "container-1", "db1"] {
            assert!(warnings[0].contains(part), "{warnings:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_memory_is_not_the_source_of_a_file() {
    on_each_store(async |fixture| {
        let manager = fixture.manager();
        let of_file = fixture.create(&manager, "a.db", &fixture.options()).await;
        let memory = VectorDB::new(options("memory://a", 4)).unwrap();
        memory.insert(entry("a".to_owned(), 1, 4, 1)).unwrap();
        let on = |base: &Snapshot| fixture.options().base_id(&base.id);
        let error = manager.create_snapshot_with(&memory, "memory", &on(&of_file)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("\"memory\""), "{error}");
        let of_memory = manager.create_snapshot_with(&memory, "memory", &fixture.options()).await.unwrap();
        fixture.assert_refused("a.db", &on(&of_memory), &["\"memory\""]).await;
        manager.create_snapshot_with(&memory, "memory", &on(&of_memory)).await.unwrap();
        assert_eq!(manager.list_snapshots().await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_records_no_source_is_accepted() {
    on_each_store(async |fixture| {
        let manager = fixture.manager();
        let base = fixture.create(&manager, "a.db", &fixture.options()).await;
        let before = |source: &mut serde_json::Value| {
            *source = serde_json::json!({ "kind": "file", "transaction_id": source["transaction_id"] });
        };
        fixture.edit_source(&base, before).await;
        fixture.create(&manager, "b.db", &fixture.options().base_id(&base.id)).await;
        fixture.create(&manager, "a.db", &fixture.named("articles").base_id(&base.id)).await;
        let warnings = fixture.warnings.take();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("does not record which database")), "{warnings:?}");
        // Older programs recorded the kind.
        let memory = VectorDB::new(options("memory://a", 4)).unwrap();
        let on_file = fixture.options().base_id(&base.id);
        let error = manager.create_snapshot_with(&memory, "memory", &on_file).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_has_shrunk_by_half_is_a_warning() {
    on_each_store(async |fixture| {
        let manager = fixture.manager();
        let full = fixture.create(&manager, "a.db", &fixture.options()).await;
        let delete = |rows: std::ops::Range<usize>| {
            let db = VectorDB::new(options(fixture.dir.path("a.db"), 4)).unwrap();
            rows.for_each(|row| assert!(db.delete(&format!("id-{row:06}")).unwrap()));
        };
        delete(0..19);
        fixture.create(&manager, "a.db", &fixture.options().base_id(&full.id)).await;
        assert_eq!(fixture.warnings.take(), Vec::<String>::new());
        delete(19..20);
        fixture.create(&manager, "a.db", &fixture.options().base_id(&full.id)).await;
        let warnings = fixture.warnings.take();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("20 records") && warnings[0].contains("has 40"), "{warnings:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_and_names_mean_this_source_for_a_base() {
    on_each_store(async |fixture| {
        let manager = fixture.manager();
        let source = |name: &str| manager.source_of_file(fixture.dir.path(name), &fixture.options()).unwrap();
        let resolve = async |text: &str, name: &str| manager.resolve_base(text, &source(name)).await;
        assert_eq!(resolve("latest", "a.db").await.unwrap_err().kind(), ErrorKind::NotFound);
        let elsewhere = fixture.create(&fixture.manager_on("db2"), "a.db", &fixture.options()).await;
        // The same path on another host can be another database.
        let error = resolve("latest", "a.db").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(&format!("for example {} of db2:", elsewhere.id)), "{error}");
        let a = fixture.create(&manager, "a.db", &fixture.options()).await;
        let named = fixture.create(&manager, "a.db", &fixture.named("articles")).await;
        let newer_elsewhere = fixture.create(&fixture.manager_on("db2"), "a.db", &fixture.options()).await;
        let b = fixture.create(&manager, "b.db", &fixture.options()).await;
        for text in ["latest", "nightly"] {
            assert_eq!(resolve(text, "a.db").await.unwrap(), a.id);
            assert_eq!(resolve(text, "b.db").await.unwrap(), b.id);
            let articles = SourceId::Name("articles".to_owned());
            assert_eq!(manager.resolve_base(text, &articles).await.unwrap(), named.id);
            let error = resolve(text, "c.db").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let parts = ["no snapshot of this source", "c.db", "5 of others", &b.id, "take a full snapshot"];
            parts.iter().for_each(|part| assert!(error.to_string().contains(part), "{part}: {error}"));
        }
        // Everywhere else, `latest` is the newest of the store, and an id is always that snapshot.
        assert_eq!(manager.resolve("latest").await.unwrap(), b.id);
        assert_eq!(resolve(&newer_elsewhere.id, "c.db").await.unwrap(), newer_elsewhere.id);
        let prefix = a.id.get(..22).unwrap();
        assert_eq!(resolve(prefix, "c.db").await.unwrap(), a.id);
        let error = resolve("other", "a.db").await.unwrap_err();
        assert!(error.to_string().contains("no snapshot has the id, id prefix or name \"other\""), "{error}");
        // Older snapshots record no source. They are counted, and not meant.
        fixture.edit_source(&a, |source| *source = serde_json::json!({ "kind": "file" })).await;
        let error = resolve("latest", "c.db").await.unwrap_err().to_string();
        assert!(error.contains(&format!("for example {} that does not record its source", a.id)), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_source_cannot_be_read_may_be_the_latest_of_this_source() {
    on_each_store(async |fixture| {
        let manager = fixture.manager();
        let a = fixture.create(&manager, "a.db", &fixture.options()).await;
        let b = fixture.create(&manager, "b.db", &fixture.options()).await;
        let source = manager.source_of_file(fixture.dir.path("a.db"), &fixture.options()).unwrap();
        // Of a snapshot without a data file the source is known.
        fixture.store.delete(&layout::key(&b.id.parse().unwrap(), "vectors.bin.gz")).await.unwrap();
        assert_eq!(manager.resolve_base("latest", &source).await.unwrap(), a.id);
        let key = layout::key(&b.id.parse().unwrap(), layout::METADATA_JSON);
        fixture.store.delete(&key).await.unwrap();
        fixture.store.create(&key, "{".into()).await.unwrap();
        assert_eq!(manager.resolve_base("latest", &source).await.unwrap(), b.id);
        let options = fixture.options().base_id(&b.id);
        let answer = manager.create_snapshot_of_file(fixture.dir.path("a.db"), "nightly", &options).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Corrupt);
    })
    .await;
}
