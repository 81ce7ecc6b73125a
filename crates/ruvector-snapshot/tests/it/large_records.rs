//! Records with tens of megabytes of metadata: the memory that a command takes for them is at most three times the largest.
//!
//! Each command runs in a process of its own, which reports the most memory that it has had. What it has for a small
//! record is subtracted.

use std::path::Path;
use std::sync::LazyLock;

use ruvector_snapshot::{
    CreateOptions, ExportFormat, ExportOptions, Query, RestoreOptions, SearchOptions, SnapshotConfig, SnapshotManager,
};
use test_fixtures::{METADATA, TestDir, make_database};

use crate::common::measured_process::{peak_bytes, report_peak, started_for};

const MIB: usize = 1 << 20;
const LARGE_ID: &str = "id-000002";

/// Returns text that no compression makes much smaller.
fn noise(bytes: usize) -> String {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ_"[(state >> 58) as usize]
    };
    String::from_utf8((0..bytes).map(|_| next()).collect()).unwrap()
}

/// Changes the metadata of records.
fn set_metadata(db: &Path, ids: &[&str], text: &str) {
    let database = redb::Database::create(db).unwrap();
    let write = database.begin_write().unwrap();
    for id in ids {
        write.open_table(METADATA).unwrap().insert(*id, text).unwrap();
    }
    write.commit().unwrap();
}

/// Inserts the same rows with redb alone, in one transaction, with as much cache as a restore gives it.
fn insert_with_redb(directory: &Path) {
    let text = std::fs::read_to_string(directory.join("text")).unwrap();
    let database = redb::Builder::new().set_cache_size(128 << 20).create(directory.join("redb.db")).unwrap();
    let write = database.begin_write().unwrap();
    let insert = |id: &str, text: &str| drop(write.open_table(METADATA).unwrap().insert(id, text).unwrap());
    insert("id-000001", "{}");
    insert(LARGE_ID, &text);
    drop(text);
    insert("id-000003", "{}");
    write.commit().unwrap();
}

/// One command, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started as a child process by another test"]
async fn measured_process() {
    let Some((directory, verb)) = started_for() else { return };
    let directory = directory.as_path();
    let config = SnapshotConfig { snapshot_dir: directory.join("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap();
    let create = async |base: Option<&str>| {
        let mut options = CreateOptions::default();
        options.base_id = base.map(str::to_owned);
        manager.create_snapshot_of_file(&directory.join("a.db"), "a", &options).await.unwrap()
    };
    let latest = async || manager.resolve("latest").await.unwrap();
    match verb.as_str() {
        "redb" => insert_with_redb(directory),
        "create" => drop(create(None).await),
        "increment" => drop(create(Some(&latest().await)).await),
        "verify" => assert!(manager.verify_snapshot(&latest().await).await.unwrap()),
        "compact" => drop(manager.compact_snapshot(&latest().await, None).await.unwrap()),
        "restore" => {
            let restored = directory.join("restored.db");
            let _absent = std::fs::remove_file(&restored);
            manager.restore_snapshot_to(&latest().await, restored, &RestoreOptions::default()).await.unwrap();
        }
        "export" | "parquet" => {
            let exported = directory.join("exported");
            let _absent = std::fs::remove_dir_all(&exported);
            let format = if verb == "parquet" { ExportFormat::Parquet } else { ExportFormat::Npy };
            let options = ExportOptions::default().format(format);
            manager.export_snapshot(&latest().await, exported, &options).await.unwrap();
        }
        "search" => {
            let query = Query::like("id-000001");
            manager.search_snapshot(&latest().await, &[query], &SearchOptions::default()).await.unwrap();
        }
        other => panic!("{other}"),
    }
    report_peak();
}

/// The commands that can be measured, in the order in which they are run. Two of them change the database first.
const CHANGE: &str = "increment with the record";
const NO_CHANGE: &str = "increment without the record";
const ALL: &[&str] =
    &["create", "verify", "restore", CHANGE, "verify", "restore", "export", "search", NO_CHANGE, "compact", "redb"];

/// Runs commands on a database whose records of these ids have this metadata, and returns what each of them takes.
fn peaks(metadata: &str, ids: &[&str], commands: &[&str]) -> Vec<usize> {
    let dir = TestDir::new();
    let db = dir.path("a.db");
    drop(make_database(&db, 300, 8, 1));
    set_metadata(&db, ids, metadata);
    std::fs::write(dir.path("text"), metadata).unwrap();
    let peak = |command: &&str| {
        match *command {
            CHANGE => set_metadata(&db, ids, &metadata.replace("\"a\":1", "\"a\":2")),
            NO_CHANGE => set_metadata(&db, &["id-000200"], "{}"),
            _ => {}
        }
        peak_bytes("large_records", &dir.path(""), command.split(' ').next().unwrap())
    };
    commands.iter().map(peak).collect()
}

/// What each command takes if all records are small.
static SMALL: LazyLock<Vec<usize>> = LazyLock::new(|| peaks("{\"b\":0,\"a\":1}", &[LARGE_ID], ALL));

/// Returns how many times the size of a record with this metadata each command takes.
fn times(metadata: &str, ids: &[&str], commands: &[&str]) -> Vec<f64> {
    let small = |command: &str| SMALL[ALL.iter().position(|other| *other == command).unwrap()];
    let times = |(large, command): (usize, &&str)| large.saturating_sub(small(command)) as f64 / metadata.len() as f64;
    peaks(metadata, ids, commands).into_iter().zip(commands).map(times).collect()
}

/// Asserts that no command takes more than three times the size of a record with this metadata.
fn assert_at_most_three_times(metadata: &str, ids: &[&str], commands: &[&str]) {
    let times = times(metadata, ids, commands);
    assert!(times.iter().all(|times| *times <= 3.0), "{} bytes, {commands:?}: {times:?}", metadata.len());
}

fn text(bytes: usize) -> String {
    format!("{{\"text\":\"{}\",\"a\":1}}", noise(bytes))
}

#[test]
fn a_record_of_62_mib_takes_at_most_three_times_its_size() {
    assert_at_most_three_times(&text(62 * MIB), &[LARGE_ID], &["create", "verify", "restore"]);
}

/// redb gives a row a page of the next power of two, and has the page twice when it reads it. Its debug build fills all of
/// the page.
#[test]
fn a_record_of_35_mib_takes_at_most_three_times_its_size_or_as_much_as_redb() {
    let metadata = text(35 * MIB);
    let times = times(&metadata, &[LARGE_ID], ALL);
    let redb = *times.last().unwrap();
    for (command, times) in ALL.iter().zip(times) {
        let limit = if matches!(*command, "restore" | "redb") { f64::max(3.0, redb + 0.25) } else { 3.0 };
        assert!(times <= limit, "{command} takes {times} times {} bytes, and redb {redb}", metadata.len());
    }
}

/// While one of them is on its way, no other is read.
#[test]
fn several_large_records_take_as_much_as_one() {
    let ids = [LARGE_ID, "id-000003", "id-000100"];
    assert_at_most_three_times(&text(20 * MIB), &ids, &["create", "verify", CHANGE, "verify", NO_CHANGE, "compact"]);
}

/// A create remembers where the members of each object are that must be sorted.
#[test]
fn members_that_must_be_sorted_take_at_most_three_times_the_record() {
    let list = |item: &str| {
        let items = vec![item; 12 * MIB / (item.len() + 1)].join(",");
        format!("{{\"z\":[{items}],\"a\":1}}")
    };
    let nested = format!("{}0{}", "{\"b\":0,\"a\":".repeat(120), "}".repeat(120));
    let members: Vec<_> = (0..0x10_0000).rev().map(|number| format!("\"{number:x}\":0")).collect();
    let members = format!("{{{},\"a\":1}}", members.join(","));
    let long_numbers = list("-1234567890.0987654321e-10");
    assert_at_most_three_times(&list("{\"b\":0,\"a\":0}"), &[LARGE_ID], &["create", CHANGE]);
    for metadata in [list(&nested), members, long_numbers] {
        assert_at_most_three_times(&metadata, &[LARGE_ID], &["create"]);
    }
}
