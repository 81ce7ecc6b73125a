//! Helpers for the tests: rows as bytes, from a view and from redb, and a storage backend that observes redb's writes.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex},
};

use proptest::prelude::ProptestConfig;
use redb::{Database, Key, ReadTransaction, ReadableTable, StorageBackend, TableDefinition, TableHandle, Value};
use redb_live::{Error, Leaf, LiveFile, Mode, Table, View, ViewOptions};

/// Keys and values, in key order.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;
/// The rows of each table, by its name.
pub type TableRows = BTreeMap<String, Rows>;

pub const STR_BYTES: TableDefinition<&str, &[u8]> = TableDefinition::new("str to bytes");
pub const BYTES_STR: TableDefinition<&[u8], &str> = TableDefinition::new("bytes to str");
pub const INT_INT: TableDefinition<u64, u64> = TableDefinition::new("int to int");
pub const INT_BYTES: TableDefinition<u32, &[u8]> = TableDefinition::new("int to bytes");
pub const STR_INT: TableDefinition<&str, u64> = TableDefinition::new("str to int");
pub const INT_UNIT: TableDefinition<i64, ()> = TableDefinition::new("int to unit");
pub const PAIR_OPTION: TableDefinition<(u32, &str), Option<u64>> = TableDefinition::new("pair to option");
pub const ARRAY_ARRAY: TableDefinition<[u8; 20], [u8; 300]> = TableDefinition::new("array to array");

/// Returns a configuration with this number of cases, or with `PROPTEST_CASES` if that is set.
pub fn cases(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

pub fn options(mode: Mode, scratch_dir: &Path) -> ViewOptions {
    ViewOptions { mode, scratch_dir: Some(scratch_dir.to_owned()), ..ViewOptions::default() }
}

pub fn leaf_rows(leaf: &Leaf) -> Rows {
    (0..leaf.len()).map(|i| (leaf.key(i).to_vec(), leaf.value(i).to_vec())).collect()
}

pub fn table_rows(table: &Table) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    for leaf in table.leaves() {
        rows.extend(leaf_rows(&leaf?));
    }
    Ok(rows)
}

/// Returns the rows of all tables except multimap tables.
pub fn view_rows(view: &View) -> Result<TableRows, Error> {
    let mut all = BTreeMap::new();
    for info in view.tables()? {
        if !info.multimap {
            let rows = table_rows(&view.table(&info.name)?.unwrap())?;
            assert_eq!(info.rows, rows.len() as u64);
            all.insert(info.name, rows);
        }
    }
    Ok(all)
}

pub fn file_rows(path: &Path, mode: Mode, scratch_dir: &Path) -> Result<TableRows, Error> {
    view_rows(&LiveFile::open(path)?.view(&options(mode, scratch_dir))?)
}

/// Reads in direct mode, and in mirror mode if that returns `Changed`, as the documentation advises.
pub fn file_rows_with_fallback(path: &Path, scratch_dir: &Path) -> Result<TableRows, Error> {
    match file_rows(path, Mode::Direct, scratch_dir) {
        Err(Error::Changed) => file_rows(path, Mode::Mirror, scratch_dir),
        other => other,
    }
}

/// Returns the rows of all tables as redb reads them. Only the tables that are defined above can exist.
pub fn redb_rows(database: &Database) -> TableRows {
    let txn = database.begin_read().unwrap();
    let mut all = BTreeMap::new();
    for handle in txn.list_tables().unwrap() {
        let name = handle.name();
        let rows = match name {
            "str to bytes" => redb_table_rows(&txn, STR_BYTES),
            "bytes to str" => redb_table_rows(&txn, BYTES_STR),
            "int to int" => redb_table_rows(&txn, INT_INT),
            "int to bytes" => redb_table_rows(&txn, INT_BYTES),
            "str to int" => redb_table_rows(&txn, STR_INT),
            "int to unit" => redb_table_rows(&txn, INT_UNIT),
            "pair to option" => redb_table_rows(&txn, PAIR_OPTION),
            "array to array" => redb_table_rows(&txn, ARRAY_ARRAY),
            other => panic!("unknown table {other}"),
        };
        all.insert(name.to_owned(), rows);
    }
    all
}

pub fn redb_table_rows<K, V>(txn: &ReadTransaction, table: TableDefinition<K, V>) -> Rows
where
    K: Key + 'static,
    V: Value + 'static,
{
    let table = txn.open_table(table).unwrap();
    table
        .iter()
        .unwrap()
        .map(|row| {
            let (key, value) = row.unwrap();
            (K::as_bytes(&key.value()).as_ref().to_vec(), V::as_bytes(&value.value()).as_ref().to_vec())
        })
        .collect()
}

/// Returns pseudorandom bytes that depend only on the seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// A callback that runs after every change of the file.
pub type Hook = Arc<Mutex<Option<Box<dyn FnMut() + Send>>>>;

/// Offsets and bytes.
type Writes = Vec<(u64, Vec<u8>)>;

/// A storage backend for redb without lock and without `fsync` that runs a hook after every write.
///
/// It can write the header before all other writes since the last sync. redb's write buffer is a hash map, so this
/// order can also occur with a real file.
#[derive(Clone)]
pub struct HookedFile {
    file: Arc<File>,
    hook: Hook,
    header_first: bool,
    queue: Arc<Mutex<Writes>>,
}

impl HookedFile {
    pub fn create(path: &Path) -> Self {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        Self { file: Arc::new(file), hook: Hook::default(), header_first: false, queue: Arc::default() }
    }

    pub fn with_header_first(path: &Path, hook: Hook) -> Self {
        Self { hook, header_first: true, ..Self::create(path) }
    }

    fn run_hook(&self) {
        if let Some(hook) = self.hook.lock().unwrap().as_mut() {
            hook();
        }
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)?;
        self.run_hook();
        Ok(())
    }

    fn drain(&self) -> io::Result<()> {
        let mut queue = std::mem::take(&mut *self.queue.lock().unwrap());
        queue.sort_by_key(|(offset, _)| *offset != 0);
        queue.iter().try_for_each(|(offset, data)| self.write_now(*offset, data))
    }
}

impl std::fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookedFile")
    }
}

impl StorageBackend for HookedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.drain()?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.drain()?;
        self.file.set_len(len)?;
        self.run_hook();
        Ok(())
    }

    fn sync_data(&self, _eventual: bool) -> io::Result<()> {
        self.drain()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if !self.header_first {
            return self.write_now(offset, data);
        }
        self.queue.lock().unwrap().push((offset, data.to_vec()));
        Ok(())
    }
}
