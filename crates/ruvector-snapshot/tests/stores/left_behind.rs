//! A create that fails, and whose clean-up fails too, reports what it has left: in its error, and as a warning.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ruvector_snapshot::store::{SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{CreateOptions, ErrorKind, Result, SnapshotError, SnapshotManager};
use test_fixtures::{ForwardingStore, Method, StoreHooks, TestDir, Warnings, create_full, memory_store};
use test_servers::Fault;

use super::buckets::fixture::{SERVERS, make_large, make_small};

/// Refuses the creation of one object, and all deletions after it.
struct Revoked {
    file: &'static str,
    is_revoked: Mutex<bool>,
}

#[async_trait]
impl StoreHooks for Revoked {
    type Guard = ();

    async fn before(&self, method: Method, key: &str) -> Result<()> {
        let mut is_revoked = self.is_revoked.lock().unwrap();
        *is_revoked |= key.ends_with(self.file) && matches!(method, Method::Create | Method::FinishUpload);
        match *is_revoked && matches!(method, Method::Create | Method::FinishUpload | Method::Delete) {
            true => Err(SnapshotError::new(ErrorKind::PermissionDenied, "no longer permitted").with_key(key)),
            false => Ok(()),
        }
    }
}

fn stores(dir: &TestDir) -> [Arc<dyn SnapshotStore>; 2] {
    let location = dir.path("snapshots").to_str().unwrap().parse().unwrap();
    [memory_store(), open(&location, &StoreConfig::default().create(true)).unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_cannot_be_removed_are_named_in_the_error_and_in_warnings() {
    let data = ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz"];
    let dir = TestDir::new();
    let database = make_small(&dir, "a.db", 20);
    for inner in stores(&dir) {
        let manager = SnapshotManager::with_store(dir.config(), inner.clone()).unwrap();
        let base = create_full(&manager, &database, "base").await.unwrap();
        for base_id in [None, Some(&base.id)] {
            let hooks = Revoked { file: "checksum.sha256", is_revoked: Mutex::default() };
            let store = ForwardingStore::new(inner.clone(), hooks);
            let manager = SnapshotManager::with_store(dir.config(), store).unwrap();
            let warnings = Arc::new(Warnings::default());
            let mut options = CreateOptions::default().progress(warnings.clone());
            options.base_id = base_id.cloned();
            let error = manager.create_snapshot_of_file(&database, "b", &options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
            let (message, warnings) = (error.message().to_owned(), warnings.list());
            assert!(message.contains("no longer permitted; the clean-up failed too, and left "), "{message}");
            let marker = base_id.map(|_| "upload.json");
            for file in data.into_iter().chain(marker) {
                let key = message.split([' ', ',']).find(|word| word.ends_with(&format!("/{file}")));
                let key = key.unwrap_or_else(|| panic!("{file} is not in {message}"));
                let named =
                    warnings.iter().filter(|warning| warning.contains(key) && warning.contains("prune removes it"));
                assert_eq!(named.count(), 1, "{key}: {warnings:?}");
            }
            assert!(!message.contains("checksum.sha256"), "it was not stored: {message}");
            assert_eq!(warnings.len(), 3 + usize::from(base_id.is_some()), "{warnings:?}");
            assert_eq!(manager.take_warnings(), Vec::<String>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_stored_is_not_reported() {
    let dir = TestDir::new();
    let database = make_small(&dir, "a.db", 20);
    for inner in stores(&dir) {
        let hooks = Revoked { file: "upload.json", is_revoked: Mutex::new(true) };
        let manager = SnapshotManager::with_store(dir.config(), ForwardingStore::new(inner, hooks)).unwrap();
        let error = create_full(&manager, &database, "a").await.unwrap_err();
        assert!(!error.message().contains("checksum.sha256"), "{error:?}");
        assert!(!manager.take_warnings().iter().any(|warning| warning.contains("checksum.sha256")));
    }
}

/// From the first part of a large file on, the server refuses every request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_cannot_be_aborted_is_reported_with_its_size() {
    let dir = TestDir::new();
    let database = make_large(&dir);
    for start in SERVERS {
        let server = start();
        let mut is_revoked = false;
        server.wire().set(move |request, _| {
            is_revoked |= request.is_part_upload();
            let message = "Access Denied.";
            is_revoked.then_some(Fault::Error { status: 403, code: "AccessDenied", message })
        });
        let (manager, warnings) = (server.manager(&dir, &[]), Arc::new(Warnings::default()));
        let options = CreateOptions::default().progress(warnings.clone());
        let error = manager.create_snapshot_of_file(&database, "a", &options).await.unwrap_err();
        let (message, warnings) = (error.message(), warnings.list());
        assert!(message.contains("the clean-up failed too, and left parts of snapshot-"), "{message}");
        assert!(message.contains("vectors.bin.gz (up to ") && message.contains(" bytes)"), "{message}");
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(
            warning.contains("parts of snapshot-") && warning.contains("a lifecycle rule of the bucket"),
            "{warning}"
        );
        assert!(warning.contains("AccessDenied"), "{warning}");
        assert_eq!(server.open_uploads(), 1);

        // The same after a drop, which returns no error.
        let store = server.open(&[]);
        server.wire().clear();
        let mut upload = store.upload("dropped", None).await.unwrap();
        upload.write(vec![7; 9 << 20].into()).await.unwrap();
        let manager = SnapshotManager::with_store(dir.config(), store).unwrap();
        server.wire().set(|request, _| {
            let message = "Access Denied.";
            request.is_abort().then_some(Fault::Error { status: 403, code: "AccessDenied", message })
        });
        drop(upload);
        let warning = loop {
            match manager.take_warnings().pop() {
                Some(warning) => break warning,
                None => tokio::task::yield_now().await,
            }
        };
        assert!(warning.contains("parts of dropped (up to "), "{warning}");
    }
}
