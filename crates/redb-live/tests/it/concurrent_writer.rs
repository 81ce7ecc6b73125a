//! A writer that commits without pause, in another thread or in another process. Every view must contain exactly one
//! commit.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use redb::{Database, Durability, ReadableTable};
use redb_live::{Error, LiveFile, Mode, View};

use crate::support::*;

const ROWS: u64 = 60;
/// The number of rows in a table whose values never change, although the upper pages of its tree do. They make a view
/// take longer than several commits.
const BALLAST_ROWS: u32 = 8_000;
/// The test that the writer process runs.
const WRITER_TEST: &str = "concurrent_writer::writer_process";
/// The environment variable that passes the path of the database to the writer process.
const WRITER_PATH_VAR: &str = "REDB_LIVE_TEST_WRITER";

/// Commits one generation after another until `stop` returns true.
///
/// Each value of two tables contains the generation. The values grow and shrink, to free and reuse pages of all
/// orders.
fn write_generations(database: &Database, mut stop: impl FnMut() -> bool) {
    for generation in 1u64.. {
        if stop() {
            return;
        }
        let mut txn = database.begin_write().unwrap();
        match generation % 7 {
            0 => txn.set_two_phase_commit(true),
            3 => txn.set_durability(Durability::None),
            5 => txn.set_quick_repair(generation % 2 == 0),
            _ => {}
        }
        {
            let mut bytes = txn.open_table(STR_BYTES).unwrap();
            let mut ints = txn.open_table(INT_INT).unwrap();
            for i in 0..ROWS {
                let len = if i == 7 { (generation % 13) * 2_000 } else { (i * generation) % 900 };
                let mut value = generation.to_le_bytes().to_vec();
                value.resize(8 + len as usize, generation as u8);
                bytes.insert(format!("row {i:05}").as_str(), value.as_slice()).unwrap();
                ints.insert(i, generation).unwrap();
            }
            let mut ballast = txn.open_table(INT_BYTES).unwrap();
            ballast.insert((generation % u64::from(BALLAST_ROWS)) as u32, [7; 900].as_slice()).unwrap();
            // Rows that exist only in even generations.
            for i in ROWS..ROWS + 20 {
                if generation % 2 == 0 {
                    ints.insert(i, generation).unwrap();
                } else {
                    ints.remove(i).unwrap();
                }
            }
        }
        txn.commit().unwrap();
    }
}

/// Returns the generation of the rows. Panics if they belong to more than one.
fn generation_of(view: &View) -> Result<u64, Error> {
    let Some(table) = view.table("str to bytes")? else { return Ok(0) };
    let bytes = table_rows(&table)?;
    let ints = table_rows(&view.table("int to int")?.unwrap())?;
    let generation = u64::from_le_bytes(bytes[0].1[..8].try_into().unwrap());
    for (_, value) in &bytes {
        assert_eq!(value[..8], generation.to_le_bytes());
        assert!(value[8..].iter().all(|byte| *byte == generation as u8));
    }
    assert!(ints.iter().all(|(_, value)| value[..] == generation.to_le_bytes()));
    assert_eq!(bytes.len() as u64, ROWS);
    if let Some(ballast) = view.table("int to bytes")? {
        for leaf in ballast.leaves() {
            let leaf = leaf?;
            assert!((0..leaf.len()).all(|i| leaf.value(i) == [7; 900]));
        }
    }
    assert_eq!(ints.len() as u64, if generation % 2 == 0 { ROWS + 20 } else { ROWS });
    Ok(generation)
}

#[derive(Debug, Default)]
struct Tally {
    passes: u32,
    changed: u32,
    rolled_back: u32,
    direct: u32,
    mirrored: u32,
}

/// Takes `count` views. The only error that may occur is `Changed`, in direct mode.
fn take_views(path: &Path, dir: &Path, mode: Mode, count: u32) -> Tally {
    let live = LiveFile::open(path).unwrap();
    let mut tally = Tally::default();
    let mut last = 0;
    for _ in 0..count {
        let direct = match mode {
            Mode::Direct => live.view(&options(Mode::Direct, dir)).and_then(|view| Ok((generation_of(&view)?, view))),
            Mode::Mirror => Err(Error::Changed),
        };
        let (generation, view) = match direct {
            Ok(direct) => {
                tally.direct += 1;
                direct
            }
            Err(Error::Changed) => {
                tally.changed += 1;
                let view = live.view(&options(Mode::Mirror, dir)).unwrap();
                (generation_of(&view).unwrap(), view)
            }
            Err(error) => panic!("{error}"),
        };
        assert!(generation >= last, "generation {generation} after {last}");
        assert!(view.pages_read() > 0 && view.transaction_id() > 0);
        last = generation;
        tally.mirrored += u32::from(view.is_mirrored());
        tally.passes = tally.passes.max(view.passes());
        tally.rolled_back += u32::from(view.rolled_back());
    }
    tally
}

fn add_ballast(database: &Database) {
    let txn = database.begin_write().unwrap();
    {
        let mut ballast = txn.open_table(INT_BYTES).unwrap();
        (0..BALLAST_ROWS).for_each(|i| drop(ballast.insert(i, [7; 900].as_slice()).unwrap()));
    }
    txn.commit().unwrap();
}

fn commit_generations(database: &Database, count: u32) {
    let mut turns = 0..count;
    write_generations(database, || turns.next().is_none());
}

fn with_writer_thread(v3: bool, mode: Mode, count: u32) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::builder().create_with_file_format_v3(v3).set_cache_size(512 << 10).create(&path).unwrap();
    add_ballast(&database);
    commit_generations(&database, 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| write_generations(&database, || stop.load(Ordering::Relaxed)));
        let tally = std::panic::catch_unwind(|| take_views(&path, dir.path(), mode, count));
        stop.store(true, Ordering::Relaxed);
        println!("v3 {v3} {mode:?}: {:?}", tally.unwrap());
    });
}

#[test]
fn mirror_views_are_consistent_while_a_thread_writes() {
    with_writer_thread(false, Mode::Mirror, 20);
    with_writer_thread(true, Mode::Mirror, 20);
}

#[test]
fn direct_views_are_consistent_while_a_thread_writes() {
    with_writer_thread(false, Mode::Direct, 20);
    with_writer_thread(true, Mode::Direct, 20);
}

#[test]
fn a_mirror_view_does_not_depend_on_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    commit_generations(&database, 1);
    let view = LiveFile::open(&path).unwrap().view(&options(Mode::Mirror, dir.path())).unwrap();
    let second = view.clone();
    commit_generations(&database, 1);
    commit_generations(&database, 20);
    std::fs::write(&path, b"").unwrap();
    assert_eq!(generation_of(&view).unwrap(), generation_of(&second).unwrap());
}

#[test]
fn a_direct_view_mirrors_the_file_when_it_notices_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    for i in 0..20_000u64 {
        txn.open_table(INT_INT).unwrap().insert(i, 1).unwrap();
    }
    txn.commit().unwrap();
    let live = LiveFile::open(&path).unwrap();
    let view = live.view(&options(Mode::Direct, dir.path())).unwrap();
    let mut leaves = view.table("int to int").unwrap().unwrap().leaves();
    let mut other = view.table("int to int").unwrap().unwrap().leaves();
    let mut rows = leaves.next_leaf().unwrap().unwrap().len();
    assert!(!view.is_mirrored());

    let id = live.transaction_id().unwrap();
    let txn = database.begin_write().unwrap();
    for i in 0..20_000u64 {
        txn.open_table(INT_INT).unwrap().insert(i, 2).unwrap();
    }
    txn.commit().unwrap();
    assert!(live.transaction_id().unwrap() > id && view.transaction_id() == id);

    // One commit leaves the pages of the one before in place. Read enough of them that the view notices the commit.
    for _ in 0..70 {
        rows += leaves.next_leaf().unwrap().unwrap().len();
    }
    assert!(view.is_mirrored());
    for _ in 0..5 {
        let txn = database.begin_write().unwrap();
        for i in 0..20_000u64 {
            txn.open_table(INT_INT).unwrap().insert(i, 3).unwrap();
        }
        txn.commit().unwrap();
    }
    for leaf in leaves {
        let leaf = leaf.unwrap();
        assert!((0..leaf.len()).all(|i| leaf.value(i) == 1u64.to_le_bytes()));
        rows += leaf.len();
    }
    assert_eq!(rows, 20_000);
    assert_eq!(other.by_ref().map(|leaf| leaf.unwrap().len()).sum::<usize>(), 20_000);
    assert!(other.next().is_none());
}

#[test]
fn a_direct_view_reports_overwritten_pages_as_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    commit_generations(&database, 1);
    let view = LiveFile::open(&path).unwrap().view(&options(Mode::Direct, dir.path())).unwrap();
    commit_generations(&database, 10);
    let mut leaves = view.table("str to bytes").unwrap().unwrap().leaves();
    let error = leaves.by_ref().find_map(Result::err).unwrap();
    assert!(matches!(error, Error::Changed), "{error}");
    assert!(leaves.next().is_none());
}

#[test]
fn a_direct_view_reports_why_its_mirror_could_not_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    add_ballast(&database);
    commit_generations(&database, 1);
    let nowhere = dir.path().join("nowhere");
    let view = LiveFile::open(&path).unwrap().view(&options(Mode::Direct, &nowhere)).unwrap();
    // One commit leaves the pages of the one before in place. Read enough of them that the view notices the commit.
    commit_generations(&database, 1);
    let mut ballast = view.table("int to bytes").unwrap().unwrap().leaves();
    (0..70).for_each(|_| drop(ballast.next_leaf().unwrap().unwrap()));
    commit_generations(&database, 10);
    for _ in 0..2 {
        let mut leaves = view.table("str to bytes").unwrap().unwrap().leaves();
        let error = leaves.by_ref().find_map(Result::err).unwrap();
        match error {
            Error::Scratch { dir, source } => assert!(dir == nowhere && source.kind() == std::io::ErrorKind::NotFound),
            other => panic!("{other}"),
        }
        assert!(leaves.next().is_none() && !view.is_mirrored());
    }
}

/// The writer process. It is killed on drop.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The main function of the writer process. It does nothing in a normal test run.
#[test]
fn writer_process() {
    if let Some(path) = std::env::var_os(WRITER_PATH_VAR).map(PathBuf::from) {
        let database = Database::builder().set_cache_size(512 << 10).create(&path).unwrap();
        add_ballast(&database);
        commit_generations(&database, 1);
        std::fs::write(path.with_extension("ready"), b"").unwrap();
        write_generations(&database, || false);
    }
}

fn spawn_writer(path: &Path) -> Writer {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", WRITER_TEST, "--nocapture"])
        .env(WRITER_PATH_VAR, path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut writer = Writer(child);
    while !path.with_extension("ready").exists() {
        assert!(writer.0.try_wait().unwrap().is_none(), "the writer process ended early");
        std::thread::yield_now();
    }
    writer
}

#[test]
fn views_are_consistent_while_a_process_writes_and_after_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let path = dir.path().join(format!("{round}.db"));
        let writer = spawn_writer(&path);
        assert!(Database::open(&path).is_err(), "the writer holds no lock");
        let tally = [Mode::Mirror, Mode::Direct].map(|mode| take_views(&path, dir.path(), mode, 8));
        println!("{tally:?}");
        drop(writer);

        // A view of the file that the killed process left contains what redb's repair makes of it.
        let rows = file_rows_with_fallback(&path, dir.path()).unwrap();
        assert_eq!(file_rows(&path, Mode::Mirror, dir.path()).unwrap(), rows);
        let database = Database::open(&path).unwrap();
        assert_eq!(rows, redb_rows(&database));
        assert!(database.begin_read().unwrap().open_table(INT_INT).unwrap().iter().unwrap().count() > 0);
    }
}
