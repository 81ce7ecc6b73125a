//! Every moment of a writer's work: after each single write of redb to the file, a view holds a whole commit, and a copy
//! of the file at that moment, as after a crash, shows what redb makes of it.

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use common::*;
use proptest::prelude::*;
use redb::{Database, Durability};
use redb_live::{Error, LiveFile, Mode};

type State = BTreeMap<String, Rows>;

/// What the commits made, and what was seen at every write.
#[derive(Default)]
struct Observer {
    path: PathBuf,
    dir: PathBuf,
    moments: u32,
    copies: u32,
    rolled_back: u32,
    moved: u32,
    /// The states seen, without those repeated.
    seen: Vec<State>,
}

impl Observer {
    fn look(&mut self) {
        self.moments += 1;
        let live = LiveFile::open(&self.path).unwrap();
        let view = live.view(&options(Mode::Mirror, &self.dir)).unwrap();
        self.rolled_back += u32::from(view.rolled_back());
        let state = view_rows(&view).unwrap();
        match file_rows(&self.path, Mode::Direct, &self.dir) {
            Ok(direct) => assert_eq!(direct, state),
            Err(Error::Moved) => self.moved += 1,
            Err(error) => panic!("{error}"),
        }
        if self.moments.is_multiple_of(3) {
            self.copies += 1;
            self.compare_a_copy(&state);
        }
        if self.seen.last() != Some(&state) {
            self.seen.push(state);
        }
    }

    fn compare_a_copy(&self, state: &State) {
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

fn observe(dir: &Path, v3: bool, commits: &[Commit]) -> (Observer, Vec<State>) {
    let path = dir.join("db");
    let hook = Hook::default();
    let mut builder = Database::builder();
    builder.create_with_file_format_v3(v3).set_cache_size(1 << 20);
    let backend = HookedFile::with_header_first(&path, Arc::clone(&hook));
    let mut database = builder.create_with_backend(backend).unwrap();

    let observer = Arc::new(Mutex::new(Observer { path, dir: dir.to_owned(), ..Observer::default() }));
    let watching = Arc::clone(&observer);
    *hook.lock().unwrap() = Some(Box::new(move || watching.lock().unwrap().look()));
    let mut states = vec![State::new()];
    for (generation, commit) in commits.iter().enumerate() {
        apply(&database, commit, generation as u64);
        states.push(redb_rows(&database));
    }
    // Compaction wants the last commit to be durable.
    database.begin_write().unwrap().commit().unwrap();
    database.compact().unwrap();
    drop(database);
    *hook.lock().unwrap() = None;
    (Arc::into_inner(observer).unwrap().into_inner().unwrap(), states)
}

/// What was seen is a subsequence of what was committed: nothing mixed, nothing backwards.
fn assert_in_order(seen: &[State], states: &[State]) {
    let mut states = states.iter();
    for state in seen {
        assert!(states.any(|committed| committed == state), "a state that never was, or after a newer one");
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn every_moment_is_one_commit(commits in prop::collection::vec(commit(), 1..5), v3: bool) {
        let dir = tempfile::tempdir().unwrap();
        let (observer, states) = observe(dir.path(), v3, &commits);
        assert_in_order(&observer.seen, &states);
        prop_assert!(observer.seen.last() == states.last());
        println!("{} moments, {} copies, {} rolled back, {} moved", observer.moments, observer.copies, observer.rolled_back, observer.moved);
    }
}

#[test]
fn a_commit_whose_header_came_first_is_not_seen_before_its_pages() {
    let dir = tempfile::tempdir().unwrap();
    let commits = [0, 0, 0, 4, 0].map(|kind| Commit { first: 0, rows: 50, value_len: 300, remove: false, kind });
    let (observer, states) = observe(dir.path(), false, &commits);
    assert!(observer.rolled_back > 20 && observer.copies > 20);
    assert_in_order(&observer.seen, &states);
    assert_eq!(observer.seen.last(), states.last());
}
