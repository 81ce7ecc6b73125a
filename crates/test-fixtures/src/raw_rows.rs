//! The rows of the tables of a database file as bytes, also those that redb's own types cannot hold.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{Key, ReadableTable as _, TableDefinition, TypeName, Value};

/// redb's type `&str`, as bytes that need not be UTF-8.
#[derive(Debug)]
pub struct RawText;

impl Value for RawText {
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

    fn as_bytes<'a, 'b: 'a>(value: &'a &'b [u8]) -> &'a [u8]
    where
        Self: 'b,
    {
        value
    }

    fn type_name() -> TypeName {
        <&str>::type_name()
    }
}

impl Key for RawText {
    fn compare(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
        one.cmp(other)
    }
}

const VECTORS: TableDefinition<'_, RawText, &[u8]> = TableDefinition::new("vectors");
const METADATA: TableDefinition<'_, RawText, RawText> = TableDefinition::new("metadata");
const CONFIG: TableDefinition<'_, RawText, RawText> = TableDefinition::new("config");

/// Rows by their keys.
pub type ByteRows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The rows of Ruvector's tables, byte by byte.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawRows {
    /// The rows of `vectors`.
    pub vectors: ByteRows,
    /// The rows of `metadata`.
    pub metadata: ByteRows,
    /// The rows of `config`.
    pub config: ByteRows,
}

impl RawRows {
    /// Reads the rows of a database file with redb.
    pub fn of_file(path: &Path) -> Self {
        // A copy, because redb writes to the files that it opens.
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(path, copy.path()).unwrap();
        let database = redb::Database::open(copy.path()).unwrap();
        let transaction = database.begin_read().unwrap();
        let mut rows = Self::default();
        for row in transaction.open_table(VECTORS).unwrap().iter().unwrap() {
            let (key, value) = row.unwrap();
            rows.vectors.insert(key.value().to_vec(), value.value().to_vec());
        }
        for (definition, to) in [(METADATA, &mut rows.metadata), (CONFIG, &mut rows.config)] {
            for row in transaction.open_table(definition).unwrap().iter().unwrap() {
                let (key, value) = row.unwrap();
                to.insert(key.value().to_vec(), value.value().to_vec());
            }
        }
        rows
    }

    /// Changes a database file from the rows `before` to these, in one commit that writes only the differences.
    pub fn write_over(&self, before: &Self, path: &Path) {
        let database = redb::Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut vectors = transaction.open_table(VECTORS).unwrap();
            for key in before.vectors.keys().filter(|key| !self.vectors.contains_key(*key)) {
                vectors.remove(key.as_slice()).unwrap();
            }
            for (key, value) in self.vectors.iter().filter(|(key, value)| before.vectors.get(*key) != Some(value)) {
                vectors.insert(key.as_slice(), value.as_slice()).unwrap();
            }
        }
        let texts = [(METADATA, &before.metadata, &self.metadata), (CONFIG, &before.config, &self.config)];
        for (definition, before, after) in texts {
            let mut table = transaction.open_table(definition).unwrap();
            for key in before.keys().filter(|key| !after.contains_key(*key)) {
                table.remove(key.as_slice()).unwrap();
            }
            for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
                table.insert(key.as_slice(), value.as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}
