//! Skipping leaves with known checksums and seeking to a key: the rows stay correct, and only the necessary pages are
//! read.

use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;
use redb::Database;
use redb_live::{Error, LiveFile, Mode, NextLeaf, Table, View};

use crate::support::*;

/// The rows of each leaf, by its checksum.
type KnownLeaves = BTreeMap<u128, Rows>;

fn view(path: &Path, mode: Mode) -> View {
    LiveFile::open(path).unwrap().view(&options(mode, path.parent().unwrap())).unwrap()
}

fn table(path: &Path, mode: Mode) -> Table {
    view(path, mode).table("str to bytes").unwrap().unwrap()
}

fn leaves(table: &Table) -> KnownLeaves {
    table
        .leaves()
        .map(|leaf| {
            let leaf = leaf.unwrap();
            (leaf.checksum(), leaf_rows(&leaf))
        })
        .collect()
}

/// Returns all rows, those of known leaves without reading them, and the number of leaves that were read.
fn rows_skipping(table: &Table, known: &KnownLeaves) -> (Rows, usize) {
    let (mut rows, mut read) = (Rows::new(), 0);
    let mut cursor = table.leaves();
    while let Some(next) = cursor.next_skipping(|checksum| known.get(&checksum).map(|rows| rows.len() as u64)).unwrap()
    {
        match next {
            NextLeaf::Skipped(checksum) => rows.extend(known[&checksum].iter().cloned()),
            NextLeaf::Read(leaf) => {
                read += 1;
                rows.extend(leaf_rows(&leaf));
            }
        }
    }
    (rows, read)
}

/// Writes or removes ranges of rows, given as first row, number of rows, and length of the value or `None` to remove.
fn change(database: &Database, changes: &[(u16, u16, Option<usize>)]) {
    let txn = database.begin_write().unwrap();
    {
        let mut table = txn.open_table(STR_BYTES).unwrap();
        for (first, count, len) in changes {
            for i in *first..first.saturating_add(*count) {
                let key = format!("{i:05}");
                match len {
                    Some(len) => {
                        drop(table.insert(key.as_str(), noise(u64::from(i) + *len as u64, *len).as_slice()).unwrap())
                    }
                    None => drop(table.remove(key.as_str()).unwrap()),
                }
            }
        }
    }
    txn.commit().unwrap();
}

fn changes() -> impl Strategy<Value = Vec<(u16, u16, Option<usize>)>> {
    let len = prop_oneof![1 => Just(None), 4 => (0usize..400).prop_map(Some), 1 => (4_000usize..20_000).prop_map(Some)];
    prop::collection::vec((0u16..3_000, 1u16..200, len), 0..6)
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn skipping_and_seeking_return_the_same_rows_as_a_full_scan(
        before in changes(), after in changes(), mut keys in prop::collection::vec(0u16..3_300, 0..12), mirror: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mode = if mirror { Mode::Mirror } else { Mode::Direct };
        let database = Database::create(&path).unwrap();
        change(&database, &before);
        let known = leaves(&table(&path, mode));
        change(&database, &after);

        let table = table(&path, mode);
        let rows = table_rows(&table).unwrap();
        let (skipping_rows, read) = rows_skipping(&table, &known);
        prop_assert!(skipping_rows == rows);
        let new = leaves(&table).into_keys().filter(|checksum| !known.contains_key(checksum)).count();
        prop_assert_eq!(read, new);

        keys.sort_unstable();
        let mut cursor = table.leaves();
        let mut found = Rows::new();
        for key in keys {
            let key = format!("{key:05}").into_bytes();
            cursor.seek(&key).unwrap();
            let mut leaves = 0;
            while found.last().is_none_or(|(last, _)| *last < key) && let Some(leaf) = cursor.next_leaf().unwrap() {
                found.extend(leaf_rows(&leaf));
                leaves += 1;
            }
            // The leaf that can contain the key, and the next one if all keys of the first are less.
            prop_assert!(leaves <= 2, "{leaves} leaves were read");
            let first = rows.iter().find(|(found, _)| *found >= key);
            prop_assert!(first.is_none_or(|row| found.contains(row)));
        }
        prop_assert!(found.is_sorted_by(|one, next| one.0 < next.0));
        let last = found.last().map(|(last, _)| last.clone());
        let mut rest = Rows::new();
        while let Some(leaf) = cursor.next_leaf().unwrap() {
            rest.extend(leaf_rows(&leaf));
        }
        prop_assert!(last.is_none() || rest.iter().eq(rows.iter().filter(|(key, _)| Some(key) > last.as_ref())));
    }
}

#[test]
fn a_few_changed_rows_cost_a_few_pages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    change(&database, &[(0, 20_000, Some(1_500))]);
    let known = leaves(&table(&path, Mode::Direct));
    change(&database, &[(777, 1, Some(1_501)), (15_000, 2, None)]);
    let view = view(&path, Mode::Direct);
    let before = view.pages_read();
    let (rows, read) = rows_skipping(&view.table("str to bytes").unwrap().unwrap(), &known);
    let pages = view.pages_read() - before;
    assert_eq!(rows.len(), 19_998);
    assert!(read <= 4, "{read} leaves were read");
    assert!(pages * 20 < known.len() as u64, "{pages} pages for {} leaves", known.len());
    // Seeking to one row reads only a path from the root.
    let before = view.pages_read();
    let mut cursor = view.table("str to bytes").unwrap().unwrap().leaves();
    cursor.seek(b"12345").unwrap();
    let leaf = cursor.next_leaf().unwrap().unwrap();
    assert!((0..leaf.len()).any(|i| leaf.key(i) == b"12345"));
    assert!(view.pages_read() - before <= 5);
    // Each further seek reads one leaf, and a branch only if it is not on the current path.
    let before = view.pages_read();
    for key in (12_355..13_355).step_by(10) {
        cursor.seek(key.to_string().as_bytes()).unwrap();
        cursor.next_leaf().unwrap().unwrap();
    }
    let pages = view.pages_read() - before;
    assert!((100..120).contains(&pages), "{pages}");
}

#[test]
fn wrong_row_counts_of_skipped_leaves_are_detected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    change(&database, &[(0, 100, Some(300))]);
    let table = table(&path, Mode::Direct);
    let known = leaves(&table);
    for (difference, reason) in [(1, "more rows"), (-1, "rows are missing")] {
        let mut cursor = table.leaves();
        let error = loop {
            let rows = |checksum| known.get(&checksum).map(|rows| (rows.len() as i64 + difference) as u64);
            match cursor.next_skipping(rows) {
                Ok(next) => assert!(next.is_some(), "{difference} rows per leaf were not detected"),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, Error::Corrupt { .. }) && error.to_string().contains(reason), "{error}");
        assert!(cursor.next_leaf().unwrap().is_none(), "a cursor returned a leaf after an error");
    }
}

#[test]
fn seek_refuses_keys_that_are_not_sorted_by_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(INT_INT).unwrap().insert(1, 1).unwrap();
    txn.commit().unwrap();
    let view = view(&path, Mode::Direct);
    let error = view.table("int to int").unwrap().unwrap().leaves().seek(&[1]).unwrap_err();
    assert!(matches!(error, Error::UnsupportedTable { .. }), "{error}");
}

#[test]
fn an_unchanged_table_costs_its_branches_and_one_changed_row_a_path_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    change(&database, &[(0, 20_000, Some(1_500))]);
    let write_text = |rows: std::ops::Range<u32>, text: &str| {
        let txn = database.begin_write().unwrap();
        let mut table = txn.open_table(BYTES_STR).unwrap();
        for row in rows {
            table.insert(format!("{row:05}").as_bytes(), format!("{row:0100}{text}").as_str()).unwrap();
        }
        drop(table);
        txn.commit().unwrap();
    };
    write_text(0..20_000, "");
    let before = view(&path, Mode::Direct);
    let names = ["str to bytes", "bytes to str"];
    let known = names.map(|name| leaves(&before.table(name).unwrap().unwrap()));
    write_text(12_345..12_346, "changed");

    let view = view(&path, Mode::Direct);
    let pages = |name, known: &KnownLeaves| {
        let before = view.pages_read();
        let (rows, read) = rows_skipping(&view.table(name).unwrap().unwrap(), known);
        assert_eq!(rows.len(), 20_000);
        (read, view.pages_read() - before)
    };
    let [(unchanged_read, unchanged_pages), (changed_read, changed_pages)] =
        [pages(names[0], &known[0]), pages(names[1], &known[1])];
    assert_eq!((unchanged_read, changed_read), (0, 1));
    assert!(unchanged_pages * 20 < known[0].len() as u64, "{unchanged_pages} pages for {} leaves", known[0].len());
    assert!(changed_pages * 20 < known[1].len() as u64, "{changed_pages} pages for {} leaves", known[1].len());

    // Seeking to the changed row reads one path in each table.
    let before = view.pages_read();
    for name in names {
        let mut cursor = view.table(name).unwrap().unwrap().leaves();
        cursor.seek(b"12345").unwrap();
        cursor.next_leaf().unwrap().unwrap();
    }
    assert!(view.pages_read() - before <= 8, "{} pages", view.pages_read() - before);
}
