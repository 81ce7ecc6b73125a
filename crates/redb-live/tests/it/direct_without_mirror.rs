//! Direct views with `mirror_on_commit: false`: they copy nothing, return only rows of their commit, and end in
//! `Changed` at the first page that was overwritten.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use redb::Database;
use redb_live::{Error, LiveFile, Mode, Table, View, ViewOptions};

use crate::support::*;

/// Enough rows for several checks of the header.
const ROWS: u64 = 4_000;
const VALUE_LEN: usize = 300;

struct Fixture {
    _dir: tempfile::TempDir,
    scratch: PathBuf,
    path: PathBuf,
    database: Database,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, path) = (dir.path().join("scratch"), dir.path().join("db"));
        std::fs::create_dir(&scratch).unwrap();
        let database = Database::create(&path).unwrap();
        let fixture = Self { _dir: dir, scratch, path, database };
        fixture.commit(0, 0..ROWS);
        fixture
    }

    /// Changes the values of rows in one commit.
    fn commit(&self, generation: u64, rows: Range<u64>) {
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
        redb_table_rows(&self.database.begin_read().unwrap(), STR_BYTES)
    }

    fn view(&self, mirror_on_commit: bool) -> View {
        let options = ViewOptions { mirror_on_commit, ..options(Mode::Direct, &self.scratch) };
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
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0, "the scratch directory is not empty");
}

fn table(view: &View) -> Table {
    view.table("str to bytes").unwrap().unwrap()
}

/// Returns the rows up to the end or to an error. Calls `after_each` with the number of the leaf after each leaf.
fn rows_until_error(table: &Table, mut after_each: impl FnMut(u64)) -> (Rows, Option<Error>) {
    let mut rows = Rows::new();
    for (i, leaf) in table.leaves().enumerate() {
        match leaf {
            Ok(leaf) => rows.extend(leaf_rows(&leaf)),
            Err(error) => return (rows, Some(error)),
        }
        after_each(i as u64);
    }
    (rows, None)
}

#[test]
fn a_commit_neither_changes_the_rows_of_a_view_nor_makes_a_copy() {
    let fixture = Fixture::new();
    let before = fixture.rows();
    let [view, mirroring_view] = [false, true].map(|mirror_on_commit| fixture.view(mirror_on_commit));
    fixture.commit(1, 0..ROWS);
    assert_ne!(fixture.rows(), before);
    assert_eq!(table_rows(&table(&view)).unwrap(), before);
    fixture.assert_nothing_copied(&view);
    // A view with `mirror_on_commit` did notice the commit.
    assert_eq!(table_rows(&table(&mirroring_view)).unwrap(), before);
    assert!(mirroring_view.is_mirrored());
    // A new view returns the new commit.
    assert_eq!(table_rows(&table(&fixture.view(false))).unwrap(), fixture.rows());
}

#[test]
fn a_view_whose_pages_were_overwritten_ends_in_changed() {
    let fixture = Fixture::new();
    let view = fixture.view(false);
    // Each commit writes to pages that an earlier one has freed.
    for generation in 1..6 {
        fixture.commit(generation, 0..ROWS);
    }
    let (rows, error) = rows_until_error(&table(&view), |_| ());
    assert!(matches!(error, Some(Error::Changed)), "{} rows, then {error:?}", rows.len());
    fixture.assert_nothing_copied(&view);
    // A cursor that starts elsewhere in the table ends the same way.
    let mut cursor = table(&view).leaves();
    cursor.seek(b"02000").unwrap();
    assert!(matches!(cursor.next_leaf(), Err(Error::Changed)));
    assert!(cursor.next_leaf().unwrap().is_none(), "a cursor returned a leaf after an error");
    fixture.assert_nothing_copied(&view);
}

#[test]
fn a_view_returns_only_rows_of_its_commit_while_others_are_made() {
    let (mut complete, mut changed) = (0, 0);
    // One row per commit overwrites few pages, 1,000 rows a quarter of them.
    for rows_per_commit in [1, 10, 100, 1_000] {
        let fixture = Fixture::new();
        let before = fixture.rows();
        let view = fixture.view(false);
        let (rows, error) = rows_until_error(&table(&view), |i| {
            let first = i * 997 % (ROWS - rows_per_commit);
            fixture.commit(i + 1, first..first + rows_per_commit);
        });
        assert!(before.starts_with(&rows), "{rows_per_commit} rows per commit: a row of another commit");
        match error {
            None => {
                assert_eq!(rows.len(), before.len());
                complete += 1;
            }
            Some(Error::Changed) => changed += 1,
            Some(error) => panic!("{rows_per_commit} rows per commit: {error}"),
        }
        fixture.assert_nothing_copied(&view);
    }
    assert!(changed > 0, "all {complete} views were complete, so no page was overwritten");
}
