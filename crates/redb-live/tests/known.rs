//! Leaves that are known by their checksums are not read, and no row is lost or made up by that; a cursor that
//! skips to a key has every row from there on.

mod common;

use std::collections::BTreeMap;

use common::*;
use proptest::prelude::*;
use redb::Database;
use redb_live::{Error, LeafOrKnown, LiveFile, Mode, Table};

/// The rows of each leaf, by its checksum.
type Known = BTreeMap<u128, Rows>;

fn table(path: &std::path::Path, mode: Mode) -> Table {
    let scratch = path.parent().unwrap();
    LiveFile::open(path).unwrap().view(&options(mode, scratch)).unwrap().table("str to bytes").unwrap().unwrap()
}

fn leaves(table: &Table) -> Known {
    let rows = |leaf: redb_live::Leaf| {
        let rows = (0..leaf.len()).map(|i| (leaf.key(i).to_vec(), leaf.value(i).to_vec())).collect();
        (leaf.checksum(), rows)
    };
    table.leaves().map(|leaf| rows(leaf.unwrap())).collect()
}

/// All rows, with those of known leaves taken from there; and how many leaves were read.
fn rows_through(table: &Table, known: &Known) -> (Rows, usize) {
    let (mut rows, mut read) = (Rows::new(), 0);
    let mut cursor = table.leaves();
    while let Some(next) = cursor.next_or_known(|checksum| known.get(&checksum).map(|rows| rows.len() as u64)).unwrap()
    {
        match next {
            LeafOrKnown::Known(checksum) => rows.extend(known[&checksum].iter().cloned()),
            LeafOrKnown::Leaf(leaf) => {
                read += 1;
                rows.extend((0..leaf.len()).map(|i| (leaf.key(i).to_vec(), leaf.value(i).to_vec())));
            }
        }
    }
    (rows, read)
}

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
    fn known_leaves_are_left_out_and_nothing_else(before in changes(), after in changes(), mut keys in prop::collection::vec(0u16..3_300, 0..12), mirror in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mode = if mirror { Mode::Mirror } else { Mode::Direct };
        let database = Database::create(&path).unwrap();
        change(&database, &before);
        let known = leaves(&table(&path, mode));
        change(&database, &after);

        let table = table(&path, mode);
        let rows = table_rows(&table).unwrap();
        let (through, read) = rows_through(&table, &known);
        prop_assert!(through == rows);
        let new = leaves(&table).into_keys().filter(|checksum| !known.contains_key(checksum)).count();
        prop_assert_eq!(read, new);

        keys.sort_unstable();
        let mut cursor = table.leaves();
        let mut found = Rows::new();
        for key in keys {
            let key = format!("{key:05}").into_bytes();
            cursor.skip_to(&key).unwrap();
            let mut leaves = 0;
            while found.last().is_none_or(|(last, _)| *last < key) && let Some(leaf) = cursor.next_leaf().unwrap() {
                found.extend((0..leaf.len()).map(|i| (leaf.key(i).to_vec(), leaf.value(i).to_vec())));
                leaves += 1;
            }
            // The one that can hold the key, and where that ends before it the next.
            prop_assert!(leaves <= 2, "{leaves} leaves were read");
            let first = rows.iter().find(|(found, _)| *found >= key);
            prop_assert!(first.is_none_or(|row| found.contains(row)));
        }
        prop_assert!(found.is_sorted_by(|one, next| one.0 < next.0));
        let last = found.last().map(|(last, _)| last.clone());
        let mut rest = Rows::new();
        while let Some(leaf) = cursor.next_leaf().unwrap() {
            rest.extend((0..leaf.len()).map(|i| (leaf.key(i).to_vec(), leaf.value(i).to_vec())));
        }
        prop_assert!(last.is_none() || rest.iter().eq(rows.iter().filter(|(key, _)| Some(key) > last.as_ref())));
    }
}

#[test]
fn a_few_changes_cost_a_few_pages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    change(&database, &[(0, 20_000, Some(1_500))]);
    let whole = table(&path, Mode::Direct);
    let known = leaves(&whole);
    change(&database, &[(777, 1, Some(1_501)), (15_000, 2, None)]);
    let scratch = dir.path();
    let view = LiveFile::open(&path).unwrap().view(&options(Mode::Direct, scratch)).unwrap();
    let before = view.pages_read();
    let (rows, read) = rows_through(&view.table("str to bytes").unwrap().unwrap(), &known);
    let pages = view.pages_read() - before;
    assert_eq!(rows.len(), 19_998);
    assert!(read <= 4, "{read} leaves were read");
    assert!(pages * 20 < known.len() as u64, "{pages} pages for {} leaves", known.len());
    // One row costs a path from the root.
    let before = view.pages_read();
    let mut cursor = view.table("str to bytes").unwrap().unwrap().leaves();
    cursor.skip_to(b"12345").unwrap();
    let leaf = cursor.next_leaf().unwrap().unwrap();
    assert!((0..leaf.len()).any(|i| leaf.key(i) == b"12345"));
    assert!(view.pages_read() - before <= 5);
    // Those behind it cost a page each, and the branches on the way once.
    let before = view.pages_read();
    for key in (12_355..13_355).step_by(10) {
        cursor.skip_to(key.to_string().as_bytes()).unwrap();
        cursor.next_leaf().unwrap().unwrap();
    }
    let pages = view.pages_read() - before;
    assert!((100..120).contains(&pages), "{pages}");
}

#[test]
fn a_known_leaf_counts_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    change(&database, &[(0, 100, Some(300))]);
    let table = table(&path, Mode::Direct);
    let known = leaves(&table);
    for (more, reason) in [(1, "more rows"), (-1, "rows are missing")] {
        let mut cursor = table.leaves();
        let error = loop {
            let rows = |checksum| known.get(&checksum).map(|rows| (rows.len() as i64 + more) as u64);
            match cursor.next_or_known(rows) {
                Ok(next) => assert!(next.is_some(), "{more} more rows a leaf went unnoticed"),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, Error::Damaged { .. }) && error.to_string().contains(reason), "{error}");
        assert!(cursor.next_leaf().unwrap().is_none(), "nothing comes after an error");
    }
}

#[test]
fn only_keys_in_the_order_of_their_bytes_can_be_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(INT_INT).unwrap().insert(1, 1).unwrap();
    txn.commit().unwrap();
    let view = LiveFile::open(&path).unwrap().view(&options(Mode::Direct, dir.path())).unwrap();
    let error = view.table("int to int").unwrap().unwrap().leaves().skip_to(&[1]).unwrap_err();
    assert!(matches!(error, Error::UnsupportedTable { .. }), "{error}");
}

#[test]
fn a_table_that_has_not_changed_costs_its_branches_and_one_in_which_a_row_has_a_path_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    change(&database, &[(0, 20_000, Some(1_500))]);
    let describe = |row: u32, text: &str| {
        let txn = database.begin_write().unwrap();
        let mut table = txn.open_table(BYTES_STR).unwrap();
        for row in row..if text.is_empty() { 20_000 } else { row + 1 } {
            table.insert(format!("{row:05}").as_bytes(), format!("{row:0100}{text}").as_str()).unwrap();
        }
        drop(table);
        txn.commit().unwrap();
    };
    describe(0, "");
    let before = LiveFile::open(&path).unwrap().view(&options(Mode::Direct, dir.path())).unwrap();
    let names = ["str to bytes", "bytes to str"];
    let known = names.map(|name| leaves(&before.table(name).unwrap().unwrap()));
    describe(12_345, "another");

    let view = LiveFile::open(&path).unwrap().view(&options(Mode::Direct, dir.path())).unwrap();
    let pages = |name, known: &Known| {
        let before = view.pages_read();
        let (rows, read) = rows_through(&view.table(name).unwrap().unwrap(), known);
        assert_eq!(rows.len(), 20_000);
        (read, view.pages_read() - before)
    };
    let [(large_read, large_pages), (small_read, small_pages)] =
        [pages(names[0], &known[0]), pages(names[1], &known[1])];
    assert_eq!((large_read, small_read), (0, 1));
    assert!(large_pages * 20 < known[0].len() as u64, "{large_pages} pages for {} leaves", known[0].len());
    assert!(small_pages * 20 < known[1].len() as u64, "{small_pages} pages for {} leaves", known[1].len());

    // The rows that differ, and what the other table has of them: a path in each.
    let before = view.pages_read();
    for name in names {
        let mut cursor = view.table(name).unwrap().unwrap().leaves();
        cursor.skip_to(b"12345").unwrap();
        cursor.next_leaf().unwrap().unwrap();
    }
    assert!(view.pages_read() - before <= 8, "{} pages", view.pages_read() - before);
}
