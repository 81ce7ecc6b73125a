//! Irregular rows: what a database file holds that is not a record of the format, row by row and unchanged (FORMAT.md,
//! section 4).
//!
//! [`Encoder`] turns tables and their rows into the content of the sections `irregular`, [`Decoder`] does the reverse.
//! Both need memory for one section and one row, and both check the order of what passes through them.

mod decoder;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::checksum::{ContentSum, DIGEST_BYTES, Digest};
use crate::error::{FormatError, Result};

pub use decoder::Decoder;

/// Size at which [`Encoder`] ends a section, for the first [`SMALL_SECTIONS`] of them.
const SECTION_TARGET_BYTES: usize = 8 << 20;
/// The number of sections after which they are larger, because metadata.json has an entry for each.
const SMALL_SECTIONS: u64 = 1024;
const LARGE_SECTION_TARGET_BYTES: usize = 128 << 20;

const NAME: &str = "irregular";
const END: u8 = 0;
const TABLE: u8 = 1;
const ROW: u8 = 2;
/// No digest of a record starts with these bytes: they would be the length of its id.
const DOMAIN: [u8; 4] = [0xff; 4];

/// What metadata.json records about the irregular rows of a state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IrregularInfo {
    /// The number of ids whose rows in the tables `vectors` and `metadata` are kept unchanged.
    pub records: u64,
    /// The number of rows of the table `config` that are kept unchanged.
    pub config_rows: u64,
    /// The number of tables that are not Ruvector's.
    pub tables: u64,
    /// The number of rows of these tables.
    pub table_rows: u64,
    /// The part of the content checksum that the irregular rows add.
    pub checksum: ContentSum,
    /// The first records and tables, as sentences.
    pub examples: Vec<String>,
}

/// The maximum length of [`IrregularInfo::examples`].
pub const EXAMPLES_MAX: usize = 64;

impl IrregularInfo {
    /// Describes a stream of irregular rows. `records` is the number of ids in the tables `vectors` and `metadata`.
    pub fn new(records: u64, counts: &IrregularCounts, examples: Vec<String>) -> Self {
        let IrregularCounts { config_rows, tables, table_rows, checksum, .. } = *counts;
        Self { records, config_rows, tables, table_rows, checksum, examples }
    }

    /// Returns whether a stream with these counts can be the one that this describes.
    pub fn fits(&self, counts: &IrregularCounts) -> bool {
        let IrregularCounts { vector_rows, metadata_rows, config_rows, tables, table_rows, checksum } = *counts;
        // An id has a row in one of the two tables, or in both.
        let records = vector_rows.max(metadata_rows)..=vector_rows.saturating_add(metadata_rows);
        records.contains(&self.records)
            && (config_rows, tables, table_rows, checksum)
                == (self.config_rows, self.tables, self.table_rows, self.checksum)
    }

    /// Returns whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        (self.records, self.config_rows, self.tables, self.table_rows) == (0, 0, 0, 0)
    }
}

/// The counts in words, for example `3 records and 2 tables with 120 rows`.
impl fmt::Display for IrregularInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let records = (self.records > 0).then(|| counted(self.records, "record"));
        let config_rows = (self.config_rows > 0).then(|| counted(self.config_rows, "config row"));
        let tables = (self.tables > 0)
            .then(|| format!("{} with {}", counted(self.tables, "table"), counted(self.table_rows, "row")));
        let parts: Vec<_> = [records, config_rows, tables].into_iter().flatten().collect();
        f.write_str(&parts.join(" and "))
    }
}

/// A table of key-value pairs, as redb defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IrregularTable {
    /// The name of the table.
    pub name: String,
    /// The type of the keys.
    pub key: ColumnType,
    /// The type of the values.
    pub value: ColumnType,
}

/// The type of the keys or the values of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// Who defines the type.
    pub origin: TypeOrigin,
    /// The name of the type, for example `&str`.
    pub name: String,
    /// The number of bytes that each value has. `None` if it varies.
    pub width: Option<u32>,
}

/// Who defines a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeOrigin {
    /// redb.
    Redb,
    /// An application.
    Application,
}

impl ColumnType {
    /// Describes a type of redb without a fixed width.
    pub fn redb(name: &str) -> Self {
        Self { origin: TypeOrigin::Redb, name: name.to_owned(), width: None }
    }

    /// Returns whether keys of this type are sorted by their bytes.
    pub fn is_sorted_by_bytes(&self) -> bool {
        self.origin == TypeOrigin::Redb && matches!(self.name.as_str(), "&str" | "&[u8]" | "String")
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        out.push(if self.origin == TypeOrigin::Redb { 1 } else { 2 });
        out.push(u8::from(self.width.is_some()));
        out.extend_from_slice(&self.width.unwrap_or_default().to_le_bytes());
        append_text(&self.name, out)
    }

    fn has_width(&self, bytes: &[u8]) -> bool {
        self.width.is_none_or(|width| width as usize == bytes.len())
    }
}

impl IrregularTable {
    /// Returns the table of Ruvector with this name: `vectors`, `metadata` or `config`. `None` for another name.
    pub fn of_ruvector(name: &str) -> Option<Self> {
        let value = match name {
            "vectors" => "&[u8]",
            "metadata" | "config" => "&str",
            _ => return None,
        };
        Some(Self { name: name.to_owned(), key: ColumnType::redb("&str"), value: ColumnType::redb(value) })
    }

    /// Returns whether Ruvector stores its records or its settings in a table of this name.
    pub fn is_of_ruvector(&self) -> bool {
        matches!(self.name.as_str(), "vectors" | "metadata" | "config")
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        append_text(&self.name, &mut out)?;
        self.key.encode(&mut out)?;
        self.value.encode(&mut out)?;
        Ok(out)
    }
}

/// A table, or a row of the last table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrregularItem<'a> {
    /// A table. Its rows follow.
    Table(&'a IrregularTable),
    /// A row.
    Row {
        /// The table of the row.
        table: &'a IrregularTable,
        /// The key, as the database has it.
        key: &'a [u8],
        /// The value, as the database has it.
        value: &'a [u8],
    },
}

/// An [`IrregularItem`] that owns its data. The table of a row is the last one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedIrregularItem {
    /// A table. Its rows follow.
    Table(IrregularTable),
    /// A row.
    Row {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
}

impl From<IrregularItem<'_>> for OwnedIrregularItem {
    fn from(item: IrregularItem<'_>) -> Self {
        match item {
            IrregularItem::Table(table) => Self::Table(table.clone()),
            IrregularItem::Row { key, value, .. } => Self::Row { key: key.to_vec(), value: value.to_vec() },
        }
    }
}

/// What a stream of irregular rows adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IrregularCounts {
    /// Rows of `vectors`.
    pub vector_rows: u64,
    /// Rows of `metadata`.
    pub metadata_rows: u64,
    /// Rows of `config`.
    pub config_rows: u64,
    /// Tables that are not Ruvector's.
    pub tables: u64,
    /// Rows of these tables.
    pub table_rows: u64,
    /// The part of the content checksum.
    pub checksum: ContentSum,
}

impl IrregularCounts {
    /// Returns whether the stream has no entry.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Counts and sums a stream of irregular rows, and checks its order.
#[derive(Debug, Clone, Default)]
pub struct IrregularTally {
    counts: IrregularCounts,
    table: Option<TallyTable>,
}

#[derive(Debug, Clone)]
struct TallyTable {
    table: IrregularTable,
    sha256: [u8; 32],
    rows: u64,
    last_key: Vec<u8>,
}

impl IrregularTally {
    /// Adds the next entry.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if it cannot follow the entries before it.
    pub fn add(&mut self, item: IrregularItem<'_>) -> Result<()> {
        match item {
            IrregularItem::Table(table) => self.add_table(table),
            IrregularItem::Row { table, key, value } => self.add_row(table, key, value),
        }
    }

    /// Returns what all entries add up to.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the last table cannot be the last one.
    pub fn finish(self) -> Result<IrregularCounts> {
        self.check_table_end()?;
        Ok(self.counts)
    }

    fn add_table(&mut self, table: &IrregularTable) -> Result<()> {
        self.check_table_end()?;
        let name = &table.name;
        if self.table.as_ref().is_some_and(|last| last.table.name >= *name) {
            return Err(FormatError::corrupt(format!("the table {name:?} is out of order")));
        }
        match IrregularTable::of_ruvector(name) {
            Some(expected) if expected != *table => {
                return Err(FormatError::corrupt(format!("the table {name:?} has other types than Ruvector's")));
            }
            Some(_) => {}
            None => self.counts.tables += 1,
        }
        let encoded = table.encode()?;
        let parts: [&[u8]; 3] = [&DOMAIN, &[TABLE], &encoded];
        self.counts.checksum.add(&digest_of(parts));
        let sha256 = Sha256::digest(&encoded).into();
        self.table = Some(TallyTable { table: table.clone(), sha256, rows: 0, last_key: Vec::new() });
        Ok(())
    }

    fn add_row(&mut self, table: &IrregularTable, key: &[u8], value: &[u8]) -> Result<()> {
        let name = &table.name;
        let current = self.table.as_mut().filter(|current| current.table.name == *name);
        let current = current.ok_or_else(|| FormatError::corrupt(format!("a row of {name:?} is not in its table")))?;
        if !table.key.has_width(key) || !table.value.has_width(value) {
            return Err(FormatError::corrupt(format!(
                "a row of the table {name:?} does not have the width of its type"
            )));
        }
        let follows = match current.rows {
            0 => true,
            _ if table.key.is_sorted_by_bytes() => current.last_key.as_slice() < key,
            _ => current.last_key != key,
        };
        if !follows {
            return Err(FormatError::corrupt(format!("the keys of the table {name:?} are not in order")));
        }
        let [key_bytes, value_bytes] = row_lengths(key, value)?;
        let number = current.rows.to_le_bytes();
        let parts: [&[u8]; 8] = [&DOMAIN, &[ROW], &current.sha256, &number, &key_bytes, &value_bytes, key, value];
        self.counts.checksum.add(&digest_of(parts));
        current.rows += 1;
        current.last_key.clear();
        current.last_key.extend_from_slice(key);
        let count = match name.as_str() {
            "vectors" => &mut self.counts.vector_rows,
            "metadata" => &mut self.counts.metadata_rows,
            "config" => &mut self.counts.config_rows,
            _ => &mut self.counts.table_rows,
        };
        *count += 1;
        Ok(())
    }

    fn check_table_end(&self) -> Result<()> {
        match &self.table {
            Some(last) if last.rows == 0 && last.table.is_of_ruvector() => {
                Err(FormatError::corrupt(format!("the table {:?} has no irregular rows", last.table.name)))
            }
            _ => Ok(()),
        }
    }
}

/// Encodes a stream of irregular rows into sections.
///
/// ```
/// use ruvector_snapshot_format::irregular::{Decoder, Encoder, IrregularItem, IrregularTable};
///
/// let table = IrregularTable::of_ruvector("metadata").ok_or("no such table")?;
/// let mut encoder = Encoder::default();
/// encoder.push(IrregularItem::Table(&table))?;
/// encoder.push(IrregularItem::Row { table: &table, key: b"a", value: b"not JSON" })?;
/// let (section, counts) = encoder.finish()?;
///
/// let mut decoder = Decoder::default();
/// decoder.feed(&section);
/// let mut rows = 0;
/// while let Some(item) = decoder.next_item()? {
///     rows += usize::from(matches!(item, IrregularItem::Row { .. }));
/// }
/// assert_eq!((rows, decoder.finish()?), (1, counts));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Encoder {
    tally: IrregularTally,
    raw: Vec<u8>,
    /// The start in `raw` of what was not taken yet.
    start: usize,
    sections: u64,
}

impl Encoder {
    /// Adds the next entry.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if it cannot follow the entries before it, and `InvalidInput` if it is too long.
    pub fn push(&mut self, item: IrregularItem<'_>) -> Result<()> {
        self.tally.add(item)?;
        match item {
            IrregularItem::Table(table) => {
                self.raw.push(TABLE);
                self.raw.extend_from_slice(&table.encode()?);
            }
            IrregularItem::Row { key, value, .. } => {
                self.raw.push(ROW);
                let [key_bytes, value_bytes] = row_lengths(key, value)?;
                self.raw.extend_from_slice(&key_bytes);
                self.raw.extend_from_slice(&value_bytes);
                self.raw.extend_from_slice(key);
                self.raw.extend_from_slice(value);
            }
        }
        Ok(())
    }

    /// Takes the content of a section, once there is enough for one. Call it until it returns `None`.
    pub fn take_section(&mut self) -> Option<Vec<u8>> {
        let bytes = if self.sections < SMALL_SECTIONS { SECTION_TARGET_BYTES } else { LARGE_SECTION_TARGET_BYTES };
        let section = self.raw.get(self.start..self.start.checked_add(bytes)?)?.to_vec();
        self.sections += 1;
        self.start += bytes;
        if self.start == self.raw.len() || self.start >= LARGE_SECTION_TARGET_BYTES {
            self.raw.drain(..std::mem::take(&mut self.start));
        }
        Some(section)
    }

    /// Returns the content of the last section, and what the stream adds up to. Nothing but the end of the stream may
    /// be left to take, see [`take_section`](Self::take_section).
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the last table cannot be the last one.
    pub fn finish(mut self) -> Result<(Vec<u8>, IrregularCounts)> {
        self.raw.drain(..self.start);
        self.raw.push(END);
        Ok((self.raw, self.tally.finish()?))
    }
}

/// Returns the name of section `number` of the irregular stream, from 0.
pub fn section_name(number: usize) -> String {
    if number == 0 { NAME.to_owned() } else { format!("{NAME}.{number}") }
}

/// Returns whether a section of this name is part of the irregular stream.
pub fn is_section_name(name: &str) -> bool {
    name == NAME || name.strip_prefix(NAME).is_some_and(|rest| rest.starts_with('.'))
}

fn row_lengths(key: &[u8], value: &[u8]) -> Result<[[u8; 4]; 2]> {
    Ok([length(key)?, length(value)?])
}

fn length(bytes: &[u8]) -> Result<[u8; 4]> {
    let length = u32::try_from(bytes.len()).map_err(|error| {
        FormatError::invalid_input("a key, a value or a name of a table has 4 GiB or more").with_source(error)
    })?;
    Ok(length.to_le_bytes())
}

fn append_text(text: &str, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&length(text.as_bytes())?);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn digest_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    let mut digest = [0; DIGEST_BYTES];
    for (to, from) in digest.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    digest
}

fn malformed(what: &str) -> FormatError {
    FormatError::corrupt(format!("the irregular rows are malformed: {what}"))
}
