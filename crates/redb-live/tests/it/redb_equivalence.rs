//! A view must contain the same tables as redb, with the same rows in the same order, whatever redb wrote.

use std::path::Path;

use proptest::prelude::*;
use redb::{
    Builder, Database, Durability, MultimapTableDefinition, ReadableTable, ReadableTableMetadata, WriteTransaction,
};
use redb_live::{Error, Leaf, Leaves, LiveFile, Mode, Table, View};

use crate::support::*;

#[derive(Debug, Clone)]
enum Op {
    Insert { table: u8, first: u16, count: u16, value_len: usize },
    Remove { table: u8, first: u16, count: u16 },
    Commit { durable: bool },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![6 => 0usize..300, 2 => 300usize..6_000, 1 => 6_000usize..150_000];
    prop_oneof![
        6 => (0u8..8, 0u16..2_000, 1u16..120, len)
            .prop_map(|(table, first, count, value_len)| Op::Insert { table, first, count, value_len }),
        2 => (0u8..8, 0u16..2_000, 1u16..400).prop_map(|(table, first, count)| Op::Remove { table, first, count }),
        2 => any::<bool>().prop_map(|durable| Op::Commit { durable }),
        1 => Just(Op::Reopen),
    ]
}

fn insert(txn: &WriteTransaction, table: u8, i: u16, len: usize) {
    let value = noise(u64::from(i) + len as u64, len);
    let key = format!("{:0width$}", i, width = usize::from(i % 90));
    let text = "ab".repeat(len / 2);
    match table {
        0 => drop(txn.open_table(STR_BYTES).unwrap().insert(key.as_str(), value.as_slice()).unwrap()),
        1 => drop(txn.open_table(BYTES_STR).unwrap().insert(key.as_bytes(), text.as_str()).unwrap()),
        2 => drop(txn.open_table(INT_INT).unwrap().insert(u64::from(i), len as u64).unwrap()),
        3 => drop(txn.open_table(INT_BYTES).unwrap().insert(u32::from(i), value.as_slice()).unwrap()),
        4 => drop(txn.open_table(STR_INT).unwrap().insert(key.as_str(), len as u64).unwrap()),
        5 => drop(txn.open_table(INT_UNIT).unwrap().insert(i64::from(i) - 1_000, ()).unwrap()),
        6 => drop(
            txn.open_table(PAIR_OPTION).unwrap().insert((u32::from(i % 7), key.as_str()), Some(len as u64)).unwrap(),
        ),
        _ => {
            drop(txn.open_table(ARRAY_ARRAY).unwrap().insert([(i % 251) as u8; 20], [(len % 251) as u8; 300]).unwrap())
        }
    }
}

fn remove(txn: &WriteTransaction, table: u8, i: u16) {
    let key = format!("{:0width$}", i, width = usize::from(i % 90));
    match table {
        0 => drop(txn.open_table(STR_BYTES).unwrap().remove(key.as_str()).unwrap()),
        1 => drop(txn.open_table(BYTES_STR).unwrap().remove(key.as_bytes()).unwrap()),
        2 => drop(txn.open_table(INT_INT).unwrap().remove(u64::from(i)).unwrap()),
        3 => drop(txn.open_table(INT_BYTES).unwrap().remove(u32::from(i)).unwrap()),
        4 => drop(txn.open_table(STR_INT).unwrap().remove(key.as_str()).unwrap()),
        5 => drop(txn.open_table(INT_UNIT).unwrap().remove(i64::from(i) - 1_000).unwrap()),
        6 => drop(txn.open_table(PAIR_OPTION).unwrap().remove((u32::from(i % 7), key.as_str())).unwrap()),
        _ => drop(txn.open_table(ARRAY_ARRAY).unwrap().remove([(i % 251) as u8; 20]).unwrap()),
    }
}

fn builder() -> Builder {
    #[allow(unused_mut)]
    let mut builder = Database::builder();
    // Small pages and regions give a small file many regions. redb allows them only with `--cfg fuzzing`:
    // `RUSTFLAGS="--cfg fuzzing" cargo test -p redb-live --test it redb_equivalence`.
    #[cfg(fuzzing)]
    builder.set_page_size(1024).set_region_size(1024 * 1024);
    builder
}

fn create(path: &Path, v3: bool) -> Database {
    builder().create_with_file_format_v3(v3).set_cache_size(1 << 20).create(path).unwrap()
}

fn open(path: &Path) -> Database {
    builder().open(path).unwrap()
}

fn begin(database: &Database, durable: bool) -> WriteTransaction {
    let mut txn = database.begin_write().unwrap();
    if !durable {
        txn.set_durability(Durability::None);
    }
    txn
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn a_view_contains_the_last_durable_commit(
        ops in prop::collection::vec(op(), 1..14), v3: bool, close: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut database = create(&path, v3);
        let mut durable = redb_rows(&database);
        let mut txn = begin(&database, true);
        for op in &ops {
            match *op {
                Op::Insert { table, first, count, value_len } => {
                    (0..count).for_each(|i| insert(&txn, table, first + i, value_len));
                }
                Op::Remove { table, first, count } => (0..count).for_each(|i| remove(&txn, table, first + i)),
                Op::Commit { durable: is_durable } => {
                    if !is_durable {
                        txn.set_durability(Durability::None);
                    }
                    txn.commit().unwrap();
                    if is_durable {
                        durable = redb_rows(&database);
                    }
                    txn = begin(&database, true);
                }
                Op::Reopen => {
                    txn.commit().unwrap();
                    drop(database);
                    database = open(&path);
                    durable = redb_rows(&database);
                    txn = begin(&database, true);
                }
            }
        }
        if close {
            txn.commit().unwrap();
            durable = redb_rows(&database);
            drop(database);
            prop_assert!(file_rows(&path, Mode::Direct, dir.path()).unwrap() == durable);
        } else {
            prop_assert!(file_rows_with_fallback(&path, dir.path()).unwrap() == durable);
            prop_assert!(file_rows(&path, Mode::Mirror, dir.path()).unwrap() == durable);
            txn.abort().unwrap();
        }
        prop_assert!(file_rows(&path, Mode::Mirror, dir.path()).unwrap() == durable);
    }
}

#[test]
fn all_public_types_are_send_and_sync() {
    fn assert_send_and_sync<T: Send + Sync + 'static>() {}
    assert_send_and_sync::<LiveFile>();
    assert_send_and_sync::<View>();
    assert_send_and_sync::<Table>();
    assert_send_and_sync::<Leaves>();
    assert_send_and_sync::<Leaf>();
    assert_send_and_sync::<Error>();
}

#[test]
fn an_empty_database_has_no_tables() {
    for v3 in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let database = create(&path, v3);
        assert!(file_rows_with_fallback(&path, dir.path()).unwrap().is_empty());
        drop(database);
        assert!(file_rows(&path, Mode::Direct, dir.path()).unwrap().is_empty());
    }
}

#[test]
fn table_descriptions_match_redb() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = create(&path, false);
    let txn = database.begin_write().unwrap();
    (0..1_000).for_each(|i| insert(&txn, 0, i, 100));
    (0..10).for_each(|i| insert(&txn, 6, i, 100));
    txn.open_table(INT_INT).unwrap();
    txn.commit().unwrap();
    let expected = database.begin_read().unwrap().open_table(STR_BYTES).unwrap().len().unwrap();
    drop(database);

    let view = LiveFile::open(&path).unwrap().view(&options(Mode::Direct, dir.path())).unwrap();
    let tables = view.tables().unwrap();
    let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["int to int", "pair to option", "str to bytes"]);
    assert_eq!((tables[0].rows, tables[2].rows), (0, expected));
    assert_eq!((tables[2].key_type.as_str(), tables[2].value_type.as_str()), ("&str", "&[u8]"));
    assert_eq!((tables[1].key_type.as_str(), tables[1].value_type.as_str()), ("(u32,&str)", "Option<u64>"));
    assert!(view.table("no such table").unwrap().is_none());
    assert!(!view.is_mirrored() && !view.rolled_back());
    assert_eq!(view.table("int to int").unwrap().unwrap().leaves().count(), 0);
    let mut leaves = view.table("str to bytes").unwrap().unwrap().leaves();
    let leaf = leaves.next_leaf().unwrap().unwrap();
    assert!(leaf.key(leaf.len()).is_empty() && leaf.value(usize::MAX).is_empty());
    assert_ne!(leaf.checksum(), leaves.next_leaf().unwrap().unwrap().checksum());
}

#[test]
fn a_multimap_table_is_listed_and_cannot_be_streamed() {
    const MULTI: MultimapTableDefinition<&str, u64> = MultimapTableDefinition::new("many");
    for v3 in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let database = create(&path, v3);
        let txn = database.begin_write().unwrap();
        {
            let mut table = txn.open_multimap_table(MULTI).unwrap();
            for i in 0..3_000u64 {
                table.insert(if i % 10 == 0 { "few" } else { "many" }, i).unwrap();
            }
        }
        insert(&txn, 0, 1, 1);
        txn.commit().unwrap();
        let view = LiveFile::open(&path).unwrap().view(&options(Mode::Mirror, dir.path())).unwrap();
        let tables = view.tables().unwrap();
        assert!(tables[0].multimap && tables[0].rows == 3_000);
        assert!(matches!(view.table("many"), Err(Error::UnsupportedTable { .. })));
        assert_eq!(view_rows(&view).unwrap().len(), 1);
        drop(database);
    }
}

#[test]
fn values_and_keys_longer_than_a_page_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = create(&path, true);
    let value = noise(7, 9_000_000);
    let txn = database.begin_write().unwrap();
    if cfg!(fuzzing) {
        txn.open_table(STR_BYTES).unwrap().insert("big", &value[..100_000]).unwrap();
    } else {
        txn.open_table(STR_BYTES).unwrap().insert("big", value.as_slice()).unwrap();
    }
    // Keys that are longer than a page lead to branches that are longer than a page.
    for i in 0..40 {
        let key = format!("{i:09000}");
        txn.open_table(STR_BYTES).unwrap().insert(key.as_str(), &value[..i]).unwrap();
    }
    txn.commit().unwrap();
    let expected = redb_rows(&database);
    assert_eq!(file_rows_with_fallback(&path, dir.path()).unwrap(), expected);
    assert_eq!(file_rows(&path, Mode::Mirror, dir.path()).unwrap(), expected);
}

#[test]
fn views_match_redb_after_savepoints_and_compaction() {
    for v3 in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut database = create(&path, v3);
        let txn = database.begin_write().unwrap();
        (0..500).for_each(|i| insert(&txn, 0, i, 3_000));
        txn.commit().unwrap();
        let txn = database.begin_write().unwrap();
        let savepoint = txn.ephemeral_savepoint().unwrap();
        (0..450).for_each(|i| remove(&txn, 0, i));
        txn.commit().unwrap();
        assert_eq!(file_rows(&path, Mode::Mirror, dir.path()).unwrap(), redb_rows(&database));
        let mut txn = database.begin_write().unwrap();
        txn.restore_savepoint(&savepoint).unwrap();
        txn.commit().unwrap();
        drop(savepoint);
        assert_eq!(file_rows(&path, Mode::Mirror, dir.path()).unwrap(), redb_rows(&database));
        let txn = database.begin_write().unwrap();
        (0..450).for_each(|i| remove(&txn, 0, i));
        txn.commit().unwrap();
        let len = std::fs::metadata(&path).unwrap().len();
        database.compact().unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < len);
        assert_eq!(file_rows_with_fallback(&path, dir.path()).unwrap(), redb_rows(&database));
        assert_eq!(database.begin_read().unwrap().open_table(STR_BYTES).unwrap().iter().unwrap().count(), 50);
    }
}

#[test]
fn a_file_upgraded_to_format_3_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut database = create(&path, false);
    let txn = database.begin_write().unwrap();
    (0..500).for_each(|i| insert(&txn, 0, i, 300));
    txn.commit().unwrap();
    assert!(database.upgrade().unwrap());
    assert_eq!(file_rows_with_fallback(&path, dir.path()).unwrap(), redb_rows(&database));
    let expected = redb_rows(&database);
    drop(database);
    assert_eq!(file_rows(&path, Mode::Direct, dir.path()).unwrap(), expected);
}

/// An application's key type that has the name of one of redb's types and the opposite order.
#[derive(Debug)]
struct ReverseBytes;

impl redb::Value for ReverseBytes {
    type SelfType<'a> = &'a [u8];
    type AsBytes<'a> = &'a [u8];

    fn fixed_width() -> Option<usize> {
        None
    }

    fn from_bytes<'a>(data: &'a [u8]) -> &'a [u8]
    where
        Self: 'a,
    {
        data
    }

    fn as_bytes<'a, 'b: 'a>(value: &'a Self::SelfType<'b>) -> &'a [u8] {
        value
    }

    fn type_name() -> redb::TypeName {
        redb::TypeName::new("&[u8]")
    }
}

impl redb::Key for ReverseBytes {
    fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        b.cmp(a)
    }
}

#[test]
fn a_key_type_with_its_own_order_is_read_in_that_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::create(&path).unwrap();
    let table = redb::TableDefinition::<ReverseBytes, u64>::new("reverse");
    let txn = database.begin_write().unwrap();
    for i in 0..200u8 {
        txn.open_table(table).unwrap().insert([i].as_slice(), 1).unwrap();
    }
    txn.commit().unwrap();
    for mode in [Mode::Direct, Mode::Mirror] {
        let rows = file_rows(&path, mode, dir.path()).unwrap();
        assert_eq!(rows["reverse"], redb_table_rows(&database.begin_read().unwrap(), table));
        assert_eq!(rows["reverse"][0].0, [199]);
    }
}
