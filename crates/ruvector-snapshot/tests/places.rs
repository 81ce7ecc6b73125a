//! The files that a restore meets and leaves: permissions, links, and what is no regular file, at the place of a database and
//! among the files of a snapshot.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::stored::Stored;
use common::{Place, make_database, names, records_of_file};
use ruvector_snapshot::source::Description;
use ruvector_snapshot::source::database::FileTarget;
use ruvector_snapshot::{
    CreateOptions, ErrorKind, Phase, Progress, ProgressUpdate, RestoreOptions, SnapshotManager, VerifyOptions,
};

async fn place_with_snapshot() -> (Place, SnapshotManager, String) {
    let place = Place::new();
    drop(make_database(&place.path("a.db"), 30, 4, 1));
    let manager = place.manager();
    let made = manager.create_snapshot_of_file(place.path("a.db"), "one", &CreateOptions::default()).await.unwrap();
    (place, manager, made.id)
}

fn overwrite(overwrite: bool) -> RestoreOptions {
    RestoreOptions { overwrite, ..RestoreOptions::default() }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn is_fifo(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().file_type().is_fifo()
}

// ---- permissions

#[tokio::test]
async fn a_file_that_is_replaced_leaves_its_permissions() {
    let (place, manager, id) = place_with_snapshot().await;
    let expected = records_of_file(&place.path("a.db"));
    for bits in [0o600, 0o640, 0o644, 0o400, 0o666] {
        fs::write(place.restored(), "old").unwrap();
        fs::set_permissions(place.restored(), Permissions::from_mode(bits)).unwrap();
        manager.restore_snapshot_to(&id, place.restored(), &overwrite(true)).await.unwrap();
        assert_eq!(mode(&place.restored()), bits, "{bits:o}");
        fs::set_permissions(place.restored(), Permissions::from_mode(0o600)).unwrap();
        assert!(records_of_file(&place.restored()) == expected);
        fs::remove_file(place.restored()).unwrap();
    }
}

#[tokio::test]
async fn a_new_file_is_as_open_as_the_umask_says() {
    let (place, manager, id) = place_with_snapshot().await;
    drop(File::create(place.path("restored/plain")).unwrap());
    for replace in [false, true] {
        manager.restore_snapshot_to(&id, place.restored(), &overwrite(replace)).await.unwrap();
        assert_eq!(mode(&place.restored()), mode(&place.path("restored/plain")));
        fs::remove_file(place.restored()).unwrap();
    }
}

/// Looks at the files beside the place while the restore stands still.
#[derive(Debug)]
struct Beside {
    directory: PathBuf,
    seen: Mutex<Vec<(Phase, u32)>>,
}

impl Progress for Beside {
    fn update(&self, update: ProgressUpdate) {
        let built = names(&self.directory).into_iter().filter(|name| name.starts_with(".restored.db.restoring-"));
        let modes: Vec<_> = built.map(|name| (update.phase, mode(&self.directory.join(name)))).collect();
        assert_eq!(modes.len(), 1, "{modes:?}");
        self.seen.lock().unwrap().extend(modes);
    }
}

#[tokio::test]
async fn what_is_being_built_is_its_owners_alone() {
    let (place, manager, id) = place_with_snapshot().await;
    fs::write(place.restored(), "old").unwrap();
    fs::set_permissions(place.restored(), Permissions::from_mode(0o644)).unwrap();
    let beside = Arc::new(Beside { directory: place.path("restored"), seen: Mutex::default() });
    let options = RestoreOptions { overwrite: true, progress: Some(beside.clone()) };
    manager.restore_snapshot_to(&id, place.restored(), &options).await.unwrap();
    let seen = beside.seen.lock().unwrap();
    for phase in [Phase::Restore, Phase::Prove] {
        assert!(seen.iter().any(|(at, _)| *at == phase), "{seen:?}");
    }
    assert!(seen.iter().all(|(_, mode)| *mode == 0o600), "{seen:?}");
}

// ---- what stands at the place

#[tokio::test]
async fn a_link_goes_on_leading_to_the_database() {
    let (place, manager, id) = place_with_snapshot().await;
    let expected = records_of_file(&place.path("a.db"));
    fs::create_dir(place.path("real")).unwrap();
    let real = place.path("real/real.db");
    fs::write(&real, "old").unwrap();
    fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
    symlink("../real/real.db", place.path("restored/link")).unwrap();
    symlink("link", place.restored()).unwrap();

    let error = manager.restore_snapshot_to(&id, place.restored(), &overwrite(false)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    assert_eq!(fs::read(&real).unwrap(), b"old");

    manager.restore_snapshot_to(&id, place.restored(), &overwrite(true)).await.unwrap();
    assert_eq!(fs::read_link(place.restored()).unwrap(), Path::new("link"));
    assert_eq!(fs::read_link(place.path("restored/link")).unwrap(), Path::new("../real/real.db"));
    assert!(fs::symlink_metadata(&real).unwrap().is_file());
    assert_eq!(mode(&real), 0o640);
    assert!(records_of_file(&real) == expected);
    assert_eq!(names(&place.path("restored")), ["link", "restored.db"]);
    assert_eq!(names(&place.path("real")), ["real.db"]);
}

#[tokio::test]
async fn a_link_to_nowhere_stays() {
    let (place, manager, id) = place_with_snapshot().await;
    symlink("nowhere", place.restored()).unwrap();
    for replace in [false, true] {
        manager.restore_snapshot_to(&id, place.restored(), &overwrite(replace)).await.unwrap_err();
        assert_eq!(fs::read_link(place.restored()).unwrap(), Path::new("nowhere"));
        assert_eq!(names(&place.path("restored")), ["restored.db"]);
    }
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_and_stays() {
    let (place, manager, id) = place_with_snapshot().await;
    fifo(&place.path("restored/fifo"));
    symlink("fifo", place.path("restored/link-to-fifo")).unwrap();
    fs::create_dir(place.path("restored/directory")).unwrap();
    symlink("directory", place.path("restored/link-to-directory")).unwrap();
    let before = names(&place.path("restored"));
    for name in &before {
        for replace in [false, true] {
            let place = place.path("restored").join(name);
            let error = manager.restore_snapshot_to(&id, &place, &overwrite(replace)).await.unwrap_err();
            let is_refused = match replace {
                true => error.kind() == ErrorKind::Invalid,
                false => matches!(error.kind(), ErrorKind::Invalid | ErrorKind::AlreadyExists),
            };
            assert!(is_refused, "{name}, overwrite {replace}: {error:?}");
        }
    }
    assert_eq!(names(&place.path("restored")), before);
    assert!(is_fifo(&place.path("restored/fifo")));
    assert!(place.path("restored/directory").is_dir());
    assert_eq!(names(&place.path("restored/directory")), Vec::<String>::new());
    for link in ["fifo", "directory"] {
        assert_eq!(fs::read_link(place.path(&format!("restored/link-to-{link}"))).unwrap(), Path::new(link));
    }
}

// ---- among the files of a snapshot

/// Carries it out on a thread of its own, which may stand still for ever without the test doing so.
fn ends<T: Send + 'static>(what: &str, work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        sender.send(runtime.block_on(work))
    });
    receiver.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{what} does not end: {error}"))
}

#[test]
fn a_fifo_among_the_files_of_a_snapshot_is_damage() {
    let (place, manager, id) = ends("create", place_with_snapshot());
    let stored = Stored::read(&place.snapshots(), &id);
    for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz", "checksum.sha256"] {
        stored.remove(file);
        fifo(&stored.dir.join(file));
        let run = || (manager.clone(), id.clone(), place.restored());
        let (verb, ..) = run();
        let listing = ends("list", async move { verb.list().await.unwrap() });
        assert_eq!((listing.snapshots.len(), listing.damaged.len()), (0, 1), "{file}");
        assert_eq!(listing.damaged[0].error.kind(), ErrorKind::Damaged, "{:?}", listing.damaged);

        let (verb, id, _) = run();
        let report = ends("verify", async move { verb.verify_snapshot_with(&id, &VerifyOptions::default()).await });
        let report = report.unwrap();
        assert!(report.damage.iter().any(|damage| damage.file == file), "{file}: {:?}", report.damage);

        if file != "checksum.sha256" {
            let (verb, id, _) = run();
            let error = ends("restore", async move { verb.restore_snapshot(&id).await.err() });
            assert_eq!(error.unwrap().kind(), ErrorKind::Damaged, "{file}");
            let (verb, id, restored) = run();
            let restored = async move { verb.restore_snapshot_to(&id, restored, &overwrite(false)).await.err() };
            assert_eq!(ends("restore to a file", restored).unwrap().kind(), ErrorKind::Damaged, "{file}");
            place.assert_nothing_restored();
        }
        assert!(is_fifo(&stored.dir.join(file)));
        stored.remove(file);
        stored.repair();
    }
    let (verb, other) = (manager.clone(), id.clone());
    assert!(ends("verify", async move { verb.verify_snapshot(&other).await.unwrap() }));

    // In the place of the commit it makes no snapshot.
    stored.remove("metadata.json");
    fifo(&stored.dir.join("metadata.json"));
    let verb = manager.clone();
    let listing = ends("list", async move { verb.list().await.unwrap() });
    assert_eq!((listing.snapshots.len(), listing.damaged.len()), (0, 0));
    assert_eq!(listing.unfinished, [id.as_str()]);
    let restored = ends("restore", async move { manager.restore_snapshot(&id).await.err() });
    assert_eq!(restored.unwrap().kind(), ErrorKind::NotFound);
}

/// redb closes a database only once its transaction is gone, and would wait for that for ever.
#[test]
fn a_description_that_ruvector_does_not_know_ends_with_an_error() {
    let place = Place::new();
    let description = Description {
        dimensions: 4,
        distance_metric: Some("Cosine".to_owned()),
        quantization: serde_json::json!("Nope"),
        ..Description::default()
    };
    let target = FileTarget::create(&place.restored(), false).unwrap();
    let error = target.finish(&description).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    place.assert_nothing_restored();
}
