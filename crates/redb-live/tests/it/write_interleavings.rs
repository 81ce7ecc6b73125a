//! Takes views after every single write that redb makes to the file. Each view must contain exactly one commit, and a
//! copy of the file at that time, as a crash would leave it, must contain what redb's repair makes of it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use redb::{Database, Durability};
use redb_live::{Error, LiveFile, Mode};

use crate::support::*;

/// Takes views and records what they contain.
#[derive(Default)]
struct Observer {
    path: PathBuf,
    dir: PathBuf,
    observations: u32,
    copies: u32,
    rolled_back: u32,
    changed: u32,
    /// The states that were observed, without consecutive duplicates.
    states: Vec<TableRows>,
}

impl Observer {
    fn observe(&mut self) {
        self.observations += 1;
        let live = LiveFile::open(&self.path).unwrap();
        let view = live.view(&options(Mode::Mirror, &self.dir)).unwrap();
        self.rolled_back += u32::from(view.rolled_back());
        let state = view_rows(&view).unwrap();
        match file_rows(&self.path, Mode::Direct, &self.dir) {
            Ok(direct) => assert_eq!(direct, state),
            Err(Error::Changed) => self.changed += 1,
            Err(error) => panic!("{error}"),
        }
        if self.observations.is_multiple_of(3) {
            self.copies += 1;
            self.compare_copy_with_redb(&state);
        }
        if self.states.last() != Some(&state) {
            self.states.push(state);
        }
    }

    fn compare_copy_with_redb(&self, state: &TableRows) {
        let copy = self.dir.join("copy");
        std::fs::copy(&self.path, &copy).unwrap();
        assert_eq!(&file_rows(&copy, Mode::Mirror, &self.dir).unwrap(), state);
        let database = Database::builder().create_with_backend(HookedFile::create(&copy)).unwrap();
        assert_eq!(&redb_rows(&database), state);
        drop(database);
        assert_eq!(&file_rows(&copy, Mode::Direct, &self.dir).unwrap(), state);
    }
}

#[derive(Debug, Clone)]
struct Commit {
    first: u64,
    rows: u64,
    value_len: usize,
    remove: bool,
    kind: u8,
}

fn commit() -> impl Strategy<Value = Commit> {
    (0u64..60, 1u64..40, prop_oneof![4 => 0usize..400, 1 => 400usize..40_000], any::<bool>(), 0u8..5).prop_map(
        |(first, rows, value_len, remove, kind)| Commit { first, rows, value_len, remove: remove && first > 20, kind },
    )
}

fn apply(database: &Database, commit: &Commit, generation: u64) {
    let mut txn = database.begin_write().unwrap();
    match commit.kind {
        1 => txn.set_two_phase_commit(true),
        2 => txn.set_quick_repair(true),
        3 => txn.set_durability(Durability::None),
        _ => {}
    }
    {
        let mut bytes = txn.open_table(STR_BYTES).unwrap();
        let mut ints = txn.open_table(INT_INT).unwrap();
        for i in commit.first..commit.first + commit.rows {
            let key = format!("row {i}");
            if commit.remove {
                bytes.remove(key.as_str()).unwrap();
                ints.remove(i).unwrap();
            } else {
                bytes.insert(key.as_str(), noise(generation + i, commit.value_len).as_slice()).unwrap();
                ints.insert(i, generation).unwrap();
            }
        }
    }
    txn.commit().unwrap();
}

/// Makes the commits and observes every write. Returns the observer and the committed states.
fn observe(dir: &Path, v3: bool, commits: &[Commit]) -> (Observer, Vec<TableRows>) {
    let path = dir.join("db");
    let hook = Hook::default();
    let mut builder = Database::builder();
    builder.create_with_file_format_v3(v3).set_cache_size(1 << 20);
    let backend = HookedFile::with_header_first(&path, Arc::clone(&hook));
    let mut database = builder.create_with_backend(backend).unwrap();

    let observer = Arc::new(Mutex::new(Observer { path, dir: dir.to_owned(), ..Observer::default() }));
    let hooked_observer = Arc::clone(&observer);
    *hook.lock().unwrap() = Some(Box::new(move || hooked_observer.lock().unwrap().observe()));
    let mut states = vec![TableRows::new()];
    for (generation, commit) in commits.iter().enumerate() {
        apply(&database, commit, generation as u64);
        states.push(redb_rows(&database));
    }
    // Compaction requires that the last commit is durable.
    database.begin_write().unwrap().commit().unwrap();
    database.compact().unwrap();
    drop(database);
    *hook.lock().unwrap() = None;
    (Arc::into_inner(observer).unwrap().into_inner().unwrap(), states)
}

/// Asserts that the observed states are a subsequence of the committed ones.
fn assert_in_commit_order(observed: &[TableRows], committed: &[TableRows]) {
    let mut committed = committed.iter();
    for state in observed {
        assert!(committed.any(|committed| committed == state), "a state that was not committed, or an older one again");
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn every_view_contains_exactly_one_commit(commits in prop::collection::vec(commit(), 1..5), v3: bool) {
        let dir = tempfile::tempdir().unwrap();
        let (observer, states) = observe(dir.path(), v3, &commits);
        assert_in_commit_order(&observer.states, &states);
        prop_assert!(observer.states.last() == states.last());
        println!(
            "{} observations, {} copies, {} rolled back, {} changed",
            observer.observations, observer.copies, observer.rolled_back, observer.changed
        );
    }
}

#[test]
fn a_commit_whose_header_is_written_first_is_not_visible_before_its_pages() {
    let dir = tempfile::tempdir().unwrap();
    let commits = [0, 0, 0, 4, 0].map(|kind| Commit { first: 0, rows: 50, value_len: 300, remove: false, kind });
    let (observer, states) = observe(dir.path(), false, &commits);
    assert!(observer.rolled_back > 20 && observer.copies > 20);
    assert_in_commit_order(&observer.states, &states);
    assert_eq!(observer.states.last(), states.last());
}
