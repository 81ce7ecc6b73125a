//! Which irregular rows can be restored beside which records. Create, verify, restore and compact ask the same types, so
//! that they never disagree.
//!
//! [`IrregularCheck`] takes the irregular rows of a state, [`IrregularIds`] is what it has to remember of them, and
//! [`StateCheck`] compares that with the ids of the records of the state.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use ruvector_snapshot_format::checksum::{DIGEST_BYTES, Digest};
use ruvector_snapshot_format::irregular::{IrregularItem, IrregularTable};
use ruvector_snapshot_format::limits;
use ruvector_snapshot_format::model::DatabaseInfo;
use sha2::{Digest as _, Sha256};

use super::OPTIONS_ROW;
use super::file::{IdRows, vector_bytes};
use super::raw_table::check_restorable;
use super::redb_types::RedbType;
use crate::error::{Result, SnapshotError, corrupt};

/// The longest key or value that redb stores, and the longest row.
const REDB_VALUE_BYTES: usize = 3 << 30;
const REDB_ROW_BYTES: usize = (3 << 30) + (768 << 20);

/// Checks the irregular rows of a state, in order. Needs 16 bytes for each row of `vectors` and `metadata`, 16 more for
/// each whose metadata is irregular, and 16 for each key of a table whose order only its application knows: all of
/// these are exceptions, and a list of them is a small part of the rows themselves.
#[derive(Debug)]
pub(crate) struct IrregularCheck {
    dimensions: u64,
    /// Whether a restored file shows its dimensions only by its vectors.
    infers_dimensions: bool,
    /// The names of the config rows that a restore writes apart from the irregular ones.
    config_names: BTreeSet<String>,
    ids: IrregularIds,
    /// Ids whose metadata is irregular by itself, sorted once all metadata has been checked.
    bad_metadata: Vec<Digest>,
    /// The number of `ids` that have metadata.
    metadata_ids: usize,
    keys: TableKeys,
}

/// What the check of a state needs to know of its irregular rows.
#[derive(Debug, Default)]
pub(crate) struct IrregularIds {
    /// The ids with rows in `vectors` or `metadata`, as digests. Sorted when complete.
    ids: Vec<Digest>,
    dimensions: u64,
    /// What the irregular rows of `vectors` say of the dimensions, if only vectors show them.
    first_vector: FirstVector,
}

/// The first irregular row of `vectors` that shows dimensions.
#[derive(Debug, Default, PartialEq, Eq)]
enum FirstVector {
    /// It does not matter.
    #[default]
    Irrelevant,
    /// There is none so far.
    Missing,
    Fits,
    /// It has other dimensions than the database. This is its key.
    Other(Vec<u8>),
}

/// The keys of the current table, as far as they matter for the next one.
#[derive(Debug, Default)]
enum TableKeys {
    /// The stream itself is checked for the order of bytes.
    #[default]
    Bytes,
    /// The type of the keys, and the last key.
    Typed(RedbType, Option<Vec<u8>>),
    /// Only the application knows the order. All keys so far, as digests, with the name of the table.
    Unordered(String, Vec<Digest>),
}

impl IrregularCheck {
    /// Starts with the description of the database of the state.
    pub(crate) fn new(database: &DatabaseInfo) -> Self {
        let mut config_names: BTreeSet<String> = database.rows.keys().cloned().collect();
        if database.distance_metric.is_some() {
            config_names.insert(OPTIONS_ROW.to_owned());
        }
        let ids = IrregularIds { dimensions: database.dimensions, ..IrregularIds::default() };
        Self {
            dimensions: database.dimensions,
            infers_dimensions: !config_names.contains(OPTIONS_ROW),
            config_names,
            ids,
            bad_metadata: Vec::new(),
            metadata_ids: 0,
            keys: TableKeys::default(),
        }
    }

    /// Checks the next entry of the stream.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if a restore could not store it, or not as it is here, and `Unsupported` if this program does
    /// not know the types of a table.
    pub(crate) fn add(&mut self, item: IrregularItem<'_>) -> Result<()> {
        match item {
            IrregularItem::Table(table) => {
                check_restorable(table)?;
                std::mem::replace(&mut self.keys, TableKeys::of(table)).finish()?;
                if table.name == "vectors" {
                    self.end_metadata();
                    if self.infers_dimensions {
                        self.ids.first_vector = FirstVector::Missing;
                    }
                }
                Ok(())
            }
            IrregularItem::Row { table, key, value } => {
                check_size(&table.name, key.len(), value.len())?;
                match table.name.as_str() {
                    "config" => self.add_config(key, value),
                    "metadata" => {
                        self.add_metadata(key, value);
                        Ok(())
                    }
                    "vectors" => self.add_vector(key, value),
                    name => self.keys.add(name, key),
                }
            }
        }
    }

    /// Ends the check of the rows, and returns what the records of the state must be compared with.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if a table has a key twice.
    pub(crate) fn finish(mut self) -> Result<IrregularIds> {
        std::mem::take(&mut self.keys).finish()?;
        self.ids.ids.sort_unstable();
        Ok(self.ids)
    }

    fn add_config(&self, name: &[u8], text: &[u8]) -> Result<()> {
        let shown = String::from_utf8_lossy(name);
        match (std::str::from_utf8(name), std::str::from_utf8(text)) {
            (Ok(_), Ok(_)) => Err(corrupt(format!(
                "the irregular config row {shown:?} is text, so it belongs in the section database"
            ))),
            (Ok(name), Err(_)) if self.config_names.contains(name) => Err(corrupt(format!(
                "the config row {shown:?} is there twice: as an irregular row, and among the others"
            ))),
            _ => Ok(()),
        }
    }

    fn add_metadata(&mut self, key: &[u8], text: &[u8]) {
        let id = digest_of(key);
        self.ids.ids.push(id);
        let rows = IdRows { key, vector: None, metadata: Some(text) };
        if rows.texts().is_err() {
            self.bad_metadata.push(id);
        }
    }

    fn end_metadata(&mut self) {
        self.ids.ids.sort_unstable();
        self.bad_metadata.sort_unstable();
        self.metadata_ids = self.ids.ids.len();
    }

    fn add_vector(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let id = digest_of(key);
        let rows = IdRows { key, vector: Some(value), metadata: None };
        let is_regular = rows.record(self.dimensions).is_ok();
        if is_regular && self.bad_metadata.binary_search(&id).is_err() {
            return Err(corrupt(format!("the irregular rows of id {} form a record", shown(key))));
        }
        let has_metadata = self.ids.ids.get(..self.metadata_ids).is_some_and(|ids| ids.binary_search(&id).is_ok());
        if !has_metadata {
            self.ids.ids.push(id);
        }
        if self.ids.first_vector == FirstVector::Missing {
            let vector = vector_bytes(value).filter(|vector| shows_dimensions(vector));
            self.ids.first_vector = match vector {
                None => FirstVector::Missing,
                Some(vector) if vector.len() as u64 / 4 == self.dimensions => FirstVector::Fits,
                Some(_) => FirstVector::Other(key.to_vec()),
            };
        }
        Ok(())
    }
}

impl TableKeys {
    fn of(table: &IrregularTable) -> Self {
        if table.is_of_ruvector() || table.key.is_sorted_by_bytes() {
            return Self::Bytes;
        }
        match RedbType::of(&table.key).filter(RedbType::is_key) {
            Some(of) => Self::Typed(of, None),
            None => Self::Unordered(table.name.clone(), Vec::new()),
        }
    }

    fn add(&mut self, table: &str, key: &[u8]) -> Result<()> {
        match self {
            Self::Bytes => Ok(()),
            Self::Typed(of, last) => {
                if !of.can_hold(key) {
                    return Err(corrupt(format!("a key of the table {table:?} is not one of its type")));
                }
                match last.as_ref().map(|last| of.compare(last, key)) {
                    None | Some(Ordering::Less) => {}
                    Some(Ordering::Equal) => return Err(twice(table)),
                    Some(Ordering::Greater) => {
                        return Err(corrupt(format!(
                            "the keys of the table {table:?} are not in the order of their type"
                        )));
                    }
                }
                let last = last.get_or_insert_default();
                last.clear();
                last.extend_from_slice(key);
                Ok(())
            }
            Self::Unordered(_, keys) => {
                keys.push(digest_of(key));
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<()> {
        let Self::Unordered(table, mut keys) = self else { return Ok(()) };
        keys.sort_unstable();
        match keys.windows(2).any(|pair| pair.first() == pair.last()) {
            true => Err(twice(&table)),
            false => Ok(()),
        }
    }
}

/// Compares the ids of the records of a state, in order, with its irregular rows.
#[derive(Debug)]
pub(crate) struct StateCheck {
    irregular: Arc<IrregularIds>,
    is_first: bool,
    /// Whether the first record shows the dimensions before any other row does.
    shows_dimensions: bool,
}

impl IrregularIds {
    /// Returns whether the records of the state matter.
    pub(crate) fn concerns_records(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Starts to compare with the records of a state.
    pub(crate) fn state(self: &Arc<Self>) -> StateCheck {
        StateCheck { irregular: self.clone(), is_first: true, shows_dimensions: false }
    }
}

impl StateCheck {
    /// Returns whether the ids of the records matter. Most states have no irregular rows.
    pub(crate) fn needs_records(&self) -> bool {
        self.irregular.concerns_records() || self.irregular.first_vector != FirstVector::Irrelevant
    }

    /// Checks the next record.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if its id has irregular rows too.
    pub(crate) fn add(&mut self, id: &str) -> Result<()> {
        if std::mem::take(&mut self.is_first) {
            self.shows_dimensions = match &self.irregular.first_vector {
                FirstVector::Other(key) => self.irregular.dimensions > 0 && id.as_bytes() < key.as_slice(),
                _ => self.irregular.dimensions > 0,
            };
        }
        // Most states have no such ids, and a digest takes longer than all else.
        if !self.irregular.concerns_records() || self.irregular.ids.binary_search(&digest_of(id.as_bytes())).is_err() {
            return Ok(());
        }
        Err(corrupt(format!("id {} is a record, and has irregular rows too", shown(id.as_bytes()))))
    }

    /// Ends the check after the last record.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the dimensions of a restored file would be others than those of the snapshot.
    pub(crate) fn finish(self) -> Result<()> {
        let dimensions = self.irregular.dimensions;
        let fits = match &self.irregular.first_vector {
            FirstVector::Irrelevant | FirstVector::Fits => true,
            FirstVector::Missing => self.shows_dimensions || dimensions == 0,
            FirstVector::Other(_) => self.shows_dimensions,
        };
        if fits {
            return Ok(());
        }
        Err(corrupt(format!(
            "the database has no options, and its first vector does not have the {dimensions} dimensions of the snapshot"
        )))
    }
}

/// The ids of the records of a source whose order of reading is records first: 8 bytes each.
#[derive(Debug, Default)]
pub(crate) struct SourceIds {
    first: Option<String>,
    /// The first bytes of the digest of each id. That two differ only behind them is less likely than a fault of the
    /// memory: one in 10^8 for a billion records and a hundred irregular ones.
    prefixes: Vec<[u8; 8]>,
}

impl SourceIds {
    /// Adds the id of the next record.
    pub(crate) fn add(&mut self, id: &str) {
        self.first.get_or_insert_with(|| id.to_owned());
        self.prefixes.push(prefix_of(&digest_of(id.as_bytes())));
    }

    /// Compares all records with the irregular rows, as a [`StateCheck`] does.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if they do not fit.
    pub(crate) fn check(&self, irregular: IrregularIds) -> Result<()> {
        let irregular = Arc::new(irregular);
        let mut state = irregular.state();
        self.first.iter().try_for_each(|first| state.add(first))?;
        state.finish()?;
        let is_irregular = |prefix: &[u8; 8]| irregular.ids.binary_search_by_key(prefix, prefix_of).is_ok();
        match self.prefixes.iter().position(is_irregular) {
            Some(at) => Err(corrupt(format!("record {at} of the source, counted from 0, has irregular rows too"))),
            None => Ok(()),
        }
    }
}

fn prefix_of(digest: &Digest) -> [u8; 8] {
    digest.first_chunk().copied().unwrap_or_default()
}

fn digest_of(key: &[u8]) -> Digest {
    let mut digest = [0; DIGEST_BYTES];
    for (to, from) in digest.iter_mut().zip(Sha256::digest(key)) {
        *to = from;
    }
    digest
}

/// Returns whether a file without options shows its dimensions by this vector.
pub(super) fn shows_dimensions(vector: &[u8]) -> bool {
    !vector.is_empty() && vector.len() <= limits::VECTOR_BYTES
}

/// Checks that redb stores a row of these lengths.
fn check_size(table: &str, key_bytes: usize, value_bytes: usize) -> Result<()> {
    let is_small =
        key_bytes.max(value_bytes) <= REDB_VALUE_BYTES && key_bytes.saturating_add(value_bytes) <= REDB_ROW_BYTES;
    if is_small {
        return Ok(());
    }
    Err(corrupt(format!("a row of the table {table:?} is larger than a database can store")))
}

fn twice(table: &str) -> SnapshotError {
    corrupt(format!("two rows of the table {table:?} have the same key"))
}

fn shown(key: &[u8]) -> String {
    const CHARS_SHOWN: usize = 64;
    let text = String::from_utf8_lossy(key);
    let more = if text.chars().count() > CHARS_SHOWN { "…" } else { "" };
    format!("{:?}", text.chars().take(CHARS_SHOWN).collect::<String>() + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_redb_would_refuse_is_too_large() {
        const GIB: usize = 1 << 30;
        for (key, value, fits) in [
            (0, 3 * GIB, true),
            (3 * GIB, 768 << 20, true),
            (0, 3 * GIB + 1, false),
            (3 * GIB + 1, 0, false),
            (GIB, 3 * GIB, false),
        ] {
            assert_eq!(check_size("t", key, value).is_ok(), fits, "{key} and {value}");
        }
    }
}
