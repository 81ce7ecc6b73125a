//! Records with tens of megabytes of metadata: the memory that a command takes for one is a small multiple of its size.
//!
//! Each command runs in a process of its own, which reports the most memory that it has had.

use std::path::Path;
use std::process::{Command, Stdio};

use ruvector_snapshot::{CreateOptions, RestoreOptions, SnapshotConfig, SnapshotManager};
use test_fixtures::{METADATA, TestDir, make_database};

const DIRECTORY: &str = "RUVECTOR_SNAPSHOT_TEST_DIRECTORY";
const VERB: &str = "RUVECTOR_SNAPSHOT_TEST_VERB";
/// Size of the large record: redb reads and writes it in pages of a power of two.
const RECORD_BYTES: usize = 62 << 20;

/// Returns text of almost [`RECORD_BYTES`] that no compression makes much smaller.
fn noise() -> String {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ_"[(state >> 58) as usize]
    };
    String::from_utf8((0..RECORD_BYTES - 100).map(|_| next()).collect()).unwrap()
}

fn set_metadata(db: &Path, text: &str) {
    let database = redb::Database::create(db).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(METADATA).unwrap().insert("id-000002", text).unwrap();
    write.commit().unwrap();
}

/// One command, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started as a child process by another test"]
async fn measured_process() {
    let (Some(directory), Ok(verb)) = (std::env::var_os(DIRECTORY), std::env::var(VERB)) else { return };
    let directory = Path::new(&directory);
    let config = SnapshotConfig { snapshot_dir: directory.join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let create = async |base: Option<&str>| {
        let mut options = CreateOptions::default();
        options.base_id = base.map(str::to_owned);
        manager.create_snapshot_of_file(&directory.join("a.db"), "a", &options).await.unwrap()
    };
    let latest = async || manager.resolve("latest").await.unwrap();
    match verb.as_str() {
        "create" => drop(create(None).await),
        "increment" => drop(create(Some(&latest().await)).await),
        "verify" => assert!(manager.verify_snapshot(&latest().await).await.unwrap()),
        "compact" => drop(manager.compact_snapshot(&latest().await, None).await.unwrap()),
        "restore" => {
            let restored = directory.join("restored.db");
            let _absent = std::fs::remove_file(&restored);
            manager.restore_snapshot_to(&latest().await, restored, &RestoreOptions::default()).await.unwrap();
        }
        other => panic!("{other}"),
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!("{peak}");
}

/// Returns the most memory of a process that ran this command, in bytes.
fn peak_bytes(directory: &Path, verb: &str) -> usize {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "large_records::measured_process", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(VERB, verb)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{verb}: {text}");
    let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// Runs commands on a database whose record has this metadata, and returns what each of them takes.
fn peaks(metadata: &str, verbs: &[&str]) -> Vec<usize> {
    let dir = TestDir::new();
    let db = dir.path("a.db");
    drop(make_database(&db, 300, 8, 1));
    set_metadata(&db, metadata);
    let peak = |verb: &&str| {
        if *verb == "increment" {
            set_metadata(&db, &metadata.replace("\"a\":1", "\"a\":2"));
        }
        peak_bytes(&dir.path(""), verb)
    };
    verbs.iter().map(peak).collect()
}

/// Asserts that no command takes more than `times` the size of a record with this metadata.
fn assert_at_most(times: f64, metadata: &str, verbs: &[&str]) {
    let small = peaks("{\"b\":0,\"a\":1}", verbs);
    for ((verb, large), small) in verbs.iter().zip(peaks(metadata, verbs)).zip(small) {
        let taken = large.saturating_sub(small) as f64 / metadata.len() as f64;
        assert!(taken <= times, "{verb} takes {taken} times the record of {} bytes", metadata.len());
    }
}

#[test]
fn a_large_text_takes_at_most_three_times_its_size() {
    assert_at_most(3.0, &format!("{{\"text\":\"{}\",\"a\":1}}", noise()), &["create", "verify", "restore"]);
}

/// A create remembers where the members of each object are that must be sorted.
#[test]
fn a_large_list_of_small_objects_that_must_be_sorted_takes_at_most_four_times_its_size() {
    let noise = noise();
    let objects = noise.as_bytes().chunks_exact(16).map(|name| {
        let name = std::str::from_utf8(name).unwrap();
        format!("{{\"b\":\"{name}\",\"a\":0}}")
    });
    let objects = objects.take(noise.len() / 36).collect::<Vec<_>>().join(",");
    assert_at_most(4.0, &format!("{{\"z\":[{objects}],\"a\":1}}"), &["create"]);
}

#[test]
fn each_snapshot_of_a_chain_with_a_large_record_takes_at_most_three_times_its_size() {
    let text = format!("{{\"text\":\"{}\",\"a\":1}}", noise());
    assert_at_most(6.0, &text, &["create", "increment", "verify", "compact"]);
}
