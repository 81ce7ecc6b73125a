//! A view in direct mode that may not make a mirror: it copies nothing, gives the rows of its commit and no others, and
//! ends once a page that it still needs has been reused.

mod common;

use std::path::{Path, PathBuf};

use common::*;
use redb::Database;
use redb_live::{Error, LiveFile, Mode, Table, View, ViewOptions};

/// Enough for several looks at the header.
const ROWS: u64 = 4_000;
const VALUE_LEN: usize = 300;

struct Bench {
    _dir: tempfile::TempDir,
    scratch: PathBuf,
    path: PathBuf,
    database: Database,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, path) = (dir.path().join("scratch"), dir.path().join("db"));
        std::fs::create_dir(&scratch).unwrap();
        let database = Database::create(&path).unwrap();
        let bench = Self { _dir: dir, scratch, path, database };
        bench.commit(0, 0..ROWS);
        bench
    }

    /// Gives rows other values, in one commit.
    fn commit(&self, generation: u64, rows: std::ops::Range<u64>) {
        let txn = self.database.begin_write().unwrap();
        {
            let mut table = txn.open_table(STR_BYTES).unwrap();
            for row in rows {
                let value = noise(generation * ROWS + row, VALUE_LEN);
                table.insert(format!("{row:05}").as_str(), value.as_slice()).unwrap();
            }
        }
        txn.commit().unwrap();
    }

    fn rows(&self) -> Rows {
        dump(&self.database.begin_read().unwrap(), STR_BYTES)
    }

    fn view(&self, mirror_commits: bool) -> View {
        let options = ViewOptions { mirror_commits, ..options(Mode::Direct, &self.scratch) };
        LiveFile::open(&self.path).unwrap().view(&options).unwrap()
    }

    #[track_caller]
    fn assert_nothing_copied(&self, view: &View) {
        assert!(!view.is_mirrored());
        assert_empty(&self.scratch);
    }
}

#[track_caller]
fn assert_empty(dir: &Path) {
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0, "something was copied");
}

fn table(view: &View) -> Table {
    view.table("str to bytes").unwrap().unwrap()
}

/// The rows up to the end or to an error, with something done after each leaf.
fn rows_until_moved(table: &Table, mut after_each: impl FnMut(u64)) -> (Rows, Option<Error>) {
    let mut rows = Rows::new();
    for (at, leaf) in table.leaves().enumerate() {
        match leaf {
            Ok(leaf) => rows.extend((0..leaf.len()).map(|i| (leaf.key(i).to_vec(), leaf.value(i).to_vec()))),
            Err(error) => return (rows, Some(error)),
        }
        after_each(at as u64);
    }
    (rows, None)
}

#[test]
fn a_commit_leaves_the_view_its_rows_and_makes_no_copy() {
    let bench = Bench::new();
    let before = bench.rows();
    let [view, copying] = [false, true].map(|mirror_commits| bench.view(mirror_commits));
    bench.commit(1, 0..ROWS);
    assert_ne!(bench.rows(), before);
    assert_eq!(table_rows(&table(&view)).unwrap(), before);
    bench.assert_nothing_copied(&view);
    // So the commit was there to be noticed.
    assert_eq!(table_rows(&table(&copying)).unwrap(), before);
    assert!(copying.is_mirrored());
    // A view of the new commit gives that.
    assert_eq!(table_rows(&table(&bench.view(false))).unwrap(), bench.rows());
}

#[test]
fn a_view_whose_pages_were_reused_ends_in_moved() {
    let bench = Bench::new();
    let view = bench.view(false);
    // A commit writes to pages that the one before the last has freed.
    for generation in 1..6 {
        bench.commit(generation, 0..ROWS);
    }
    let (rows, error) = rows_until_moved(&table(&view), |_| ());
    assert!(matches!(error, Some(Error::Moved)), "{} rows, then {error:?}", rows.len());
    bench.assert_nothing_copied(&view);
    // And so does every other cursor, from wherever it begins.
    let mut cursor = table(&view).leaves();
    cursor.skip_to(b"02000").unwrap();
    assert!(matches!(cursor.next_leaf(), Err(Error::Moved)));
    assert!(cursor.next_leaf().unwrap().is_none(), "nothing comes after an error");
    bench.assert_nothing_copied(&view);
}

#[test]
fn what_a_view_gives_between_commits_is_of_its_own_commit_up_to_the_end_or_to_moved() {
    let (mut ended, mut moved) = (0, 0);
    // From one row a commit, of which few pages are reused, to a quarter of all.
    for rows_per_commit in [1, 10, 100, 1_000] {
        let bench = Bench::new();
        let before = bench.rows();
        let view = bench.view(false);
        let (rows, error) = rows_until_moved(&table(&view), |at| {
            let first = at * 997 % (ROWS - rows_per_commit);
            bench.commit(at + 1, first..first + rows_per_commit);
        });
        assert!(before.starts_with(&rows), "{rows_per_commit} rows a commit: a row of another commit");
        match error {
            None => {
                assert_eq!(rows.len(), before.len());
                ended += 1;
            }
            Some(Error::Moved) => moved += 1,
            Some(error) => panic!("{rows_per_commit} rows a commit: {error}"),
        }
        bench.assert_nothing_copied(&view);
    }
    assert!(moved > 0, "{ended} views came to their ends, and none met a page that was reused");
}
