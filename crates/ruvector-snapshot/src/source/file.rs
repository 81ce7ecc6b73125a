//! A Ruvector database file, read live through redb-live: its tables, its rows and their codecs.
//!
//! `vectors` (&str -> bincode `Vec<f32>`: varint length, then f32 little-endian), `metadata` (&str -> JSON text) and
//! `config` (&str -> text), as ruvector-core 2.4 writes them.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use redb_live::{Leaf, LeafOrKnown, Leaves, LiveFile, Mode, Table, TableInfo, View, ViewOptions};
use ruvector_core::types::DbOptions;

use super::interval::Stretch;
use super::{Description, OPTIONS_ROW, Record, SnapshotSource, SourceLeaves};
use crate::error::{ErrorKind, Result, SnapshotError};

/// The records of a database file as of one commit.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    view: View,
    description: Description,
    vectors: Rows,
    metadata: Rows,
    /// Whether the metadata row under the cursor was handed out with the last record.
    metadata_used: bool,
    /// The stretches that are left, the current one first, where not all records are wanted.
    wanted: Option<VecDeque<Stretch>>,
    /// Whether the cursors stand in the current stretch, on the last record.
    is_placed: bool,
    records_expected: u64,
    file_bytes: u64,
    orphans: u64,
    other_tables: Vec<String>,
}

/// How a database file is read.
#[derive(Debug, Clone, Default)]
pub struct FileOptions {
    /// Where the mirror of a database that is being written goes; the system's temporary directory by default.
    pub scratch_dir: Option<PathBuf>,
    /// When the mirror is made.
    pub mirror: Mirror,
}

/// When a database file that is read is copied, so that no writer can disturb the reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mirror {
    /// Never: where a page that is needed has been written over, the reading ends in `Busy`.
    Never,
    /// Once something is committed while it is read.
    #[default]
    WhenWritten,
    /// Before anything is read.
    AtOnce,
}

impl FileSource {
    /// Takes the newest commit of the database file at `path`.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Invalid` (not redb, or not Ruvector), `Unsupported` (a version of redb's format that is not known),
    /// `Damaged`, `NoSpace` (for the mirror), `Busy` (no moment of it could be had).
    pub fn open(path: &Path, options: &FileOptions) -> Result<Self> {
        let live = LiveFile::open(path).map_err(live_error)?;
        let view_options = ViewOptions {
            scratch_dir: options.scratch_dir.clone(),
            mode: if options.mirror == Mirror::AtOnce { Mode::Mirror } else { Mode::Direct },
            mirror_commits: options.mirror == Mirror::WhenWritten,
            ..ViewOptions::default()
        };
        let view = live.view(&view_options).map_err(live_error)?;
        let tables = view.tables().map_err(live_error)?;
        let vectors = open_table(&view, path, &tables, "vectors", "&[u8]")?;
        let metadata = open_table(&view, path, &tables, "metadata", "&str")?;
        let other_tables: Vec<String> = tables
            .iter()
            .map(|table| table.name.clone())
            .filter(|name| !matches!(name.as_str(), "vectors" | "metadata" | "config"))
            .collect();
        if options.mirror != Mirror::AtOnce && !other_tables.is_empty() {
            // A direct view vouches for the tables that are read to their end, and a commit has to hold in all of them.
            return Err(live_error(redb_live::Error::Moved));
        }
        let description = describe(path, &vectors, config_rows(&view, path, &tables)?)?;
        let mut source = Self {
            path: path.to_owned(),
            description,
            records_expected: vectors.info().rows,
            vectors: Rows::new(&vectors),
            metadata: Rows::new(&metadata),
            metadata_used: false,
            wanted: None,
            is_placed: false,
            file_bytes: std::fs::metadata(path)
                .map_err(|error| SnapshotError::io(path, "look at the database", error))?
                .len(),
            orphans: 0,
            other_tables,
            view,
        };
        source.metadata.step().map_err(live_error)?;
        Ok(source)
    }

    /// Goes through the leaves of a table in key order and tells them all, without reading those that `rows_of_known` knows
    /// by their checksums.
    ///
    /// # Errors
    ///
    /// As [`next_record`](SnapshotSource::next_record).
    pub fn walk_leaves(
        &self,
        table: DatabaseTable,
        rows_of_known: impl Fn(u128) -> Option<u64>,
        mut visit: impl FnMut(LeafSeen<'_>),
    ) -> Result<()> {
        let rows = match table {
            DatabaseTable::Vectors => &self.vectors,
            DatabaseTable::Metadata => &self.metadata,
        };
        let mut leaves = rows.table.leaves();
        while let Some(next) = leaves.next_or_known(&rows_of_known).map_err(live_error)? {
            let leaf = match next {
                LeafOrKnown::Known(checksum) => {
                    visit(LeafSeen::Known { checksum });
                    continue;
                }
                LeafOrKnown::Leaf(leaf) => leaf,
            };
            let key = |row| {
                std::str::from_utf8(leaf.key(row))
                    .map_err(|error| damaged(&self.path, "an id is not UTF-8".into()).because(error))
            };
            let (first_key, last_key) = (key(0)?, key(leaf.len().saturating_sub(1))?);
            visit(LeafSeen::New { checksum: leaf.checksum(), rows: leaf.len() as u32, first_key, last_key });
        }
        Ok(())
    }

    /// Gives from now on only the records of these stretches, which are in order and apart; what lies between them is not
    /// read. In those of metadata alone every metadata row comes as a record without its vector, and nothing else.
    pub fn restrict_to(&mut self, stretches: Vec<Stretch>) {
        self.wanted = Some(stretches.into());
        self.is_placed = false;
        self.vectors.leaf = None;
        (self.vectors.seen, self.metadata.seen) = (None, None);
    }

    /// Finds the vectors of single records of the same commit.
    pub fn vectors(&self) -> Vectors {
        let rows = Rows { seen: None, ..Rows::new(&self.vectors.table) };
        Vectors { path: self.path.clone(), dimensions: self.description.dimensions, rows }
    }

    /// Moves the cursors to the next record that is wanted.
    fn advance(&mut self) -> Result<(), redb_live::Error> {
        let Some(mut wanted) = self.wanted.take() else { return self.step() };
        let advanced = self.advance_in(&mut wanted);
        self.wanted = Some(wanted);
        advanced
    }

    fn advance_in(&mut self, wanted: &mut VecDeque<Stretch>) -> Result<(), redb_live::Error> {
        while let Some(stretch) = wanted.front() {
            // Behind the last id of a stretch nothing is read.
            if !self.is_placed || !self.row_in(stretch).is_some_and(|(id, _)| stretch.interval.is_last(id)) {
                match (std::mem::replace(&mut self.is_placed, true), stretch.is_metadata_only) {
                    (false, true) => self.metadata.seek(&stretch.interval.start)?,
                    (false, false) => self.place(&stretch.interval.start)?,
                    (true, true) => self.metadata.step()?,
                    (true, false) => self.step()?,
                }
                // An id that is no text is for the caller to refuse, wherever it lies.
                let is_here = |id| std::str::from_utf8(id).map_or(true, |id| stretch.interval.contains(id));
                if self.row_in(stretch).is_some_and(|(id, _)| is_here(id)) {
                    break;
                }
            }
            self.is_placed = false;
            self.metadata_used = false;
            wanted.pop_front();
        }
        Ok(())
    }

    /// The row under the cursor that goes through such a stretch.
    fn row_in(&self, stretch: &Stretch) -> Option<(&[u8], &[u8])> {
        if stretch.is_metadata_only { self.metadata.row() } else { self.vectors.row() }
    }

    /// Whether the current record is one of metadata alone; `None` where there is no record any more.
    fn is_metadata_only(&self) -> Option<bool> {
        match &self.wanted {
            None => Some(false),
            Some(wanted) => wanted.front().map(|stretch| stretch.is_metadata_only),
        }
    }

    /// Places both cursors on their first row from `id` on.
    fn place(&mut self, id: &str) -> Result<(), redb_live::Error> {
        self.vectors.seek(id)?;
        self.metadata.seek(id)?;
        self.metadata_used = false;
        self.pair()
    }

    /// Moves both cursors to the next record. Both tables are in key order, so metadata that lies before the id belongs to
    /// no vector.
    fn step(&mut self) -> Result<(), redb_live::Error> {
        self.vectors.step()?;
        if std::mem::take(&mut self.metadata_used) {
            self.metadata.step()?;
        }
        self.pair()
    }

    /// Moves the cursor of the metadata to that of the record, or past where it would be.
    fn pair(&mut self) -> Result<(), redb_live::Error> {
        while let Some((key, _)) = self.metadata.row() {
            match self.vectors.row() {
                Some((id, _)) if key > id => break,
                Some((id, _)) if key == id => {
                    self.metadata_used = true;
                    break;
                }
                _ => self.orphans += 1,
            }
            self.metadata.step()?;
        }
        Ok(())
    }
}

impl SnapshotSource for FileSource {
    fn description(&self) -> &Description {
        &self.description
    }

    fn records_expected(&self) -> u64 {
        self.records_expected
    }

    fn size_bounds_bytes(&self) -> Option<[u64; 3]> {
        const SLACK_BYTES: u64 = 1 << 20;
        let values_bytes = (self.description.dimensions as u64).saturating_mul(4);
        let vectors = self.records_expected.saturating_mul(values_bytes.saturating_add(1));
        // Ids stand in two files and may be escaped there; each record has a digest and some punctuation.
        let rest = self.file_bytes.saturating_sub(vectors).saturating_mul(2);
        let rest = rest.saturating_add(self.records_expected.saturating_mul(64)).saturating_add(SLACK_BYTES);
        // Stored bytes grow by five in 65,535, and by the headers of the members.
        Some([vectors.saturating_add(vectors / 64).saturating_add(SLACK_BYTES), rest, rest])
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        self.advance().map_err(live_error)?;
        let row = match self.is_metadata_only() {
            None => None,
            Some(true) => self.metadata.row().map(|(key, _)| (key, None)),
            Some(false) => self.vectors.row().map(|(key, value)| (key, Some(value))),
        };
        let Some((key, value)) = row else {
            return Ok(None);
        };
        let damaged = |what: String| damaged(&self.path, what);
        let id = std::str::from_utf8(key).map_err(|error| damaged("an id is not UTF-8".into()).because(error))?;
        let vector = match value {
            Some(value) => vector_of(&self.path, id, value, self.description.dimensions)?,
            None => &[],
        };
        let metadata = match self.metadata.row() {
            Some((_, text)) if self.metadata_used || value.is_none() => Some(
                std::str::from_utf8(text)
                    .map_err(|error| damaged(format!("the metadata of id {id:?} is not UTF-8")).because(error))?,
            ),
            _ => None,
        };
        Ok(Some(Record { id, vector, metadata, is_metadata_only: value.is_none() }))
    }

    fn transaction_id(&self) -> Option<u64> {
        Some(self.view.transaction_id())
    }

    fn take_leaves(&mut self) -> Option<[SourceLeaves; 2]> {
        Some([self.vectors.seen.take()?, self.metadata.seen.take()?])
    }

    fn not_captured(&self) -> Vec<String> {
        let mut what: Vec<String> = self.other_tables.iter().map(|name| format!("table {name:?}")).collect();
        // Of a part of the records nobody knows which metadata has none.
        if self.orphans > 0 && self.wanted.is_none() {
            what.push(format!("{} metadata rows of ids that have no vector", self.orphans));
        }
        what
    }
}

/// A table with one row for each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseTable {
    /// `vectors`.
    Vectors,
    /// `metadata`, of the records that have some.
    Metadata,
}

/// A leaf that [`FileSource::walk_leaves`] meets.
#[derive(Debug, Clone, Copy)]
pub enum LeafSeen<'a> {
    /// One that is known, and was not read.
    Known {
        /// Its checksum.
        checksum: u128,
    },
    /// One that is not.
    New {
        /// Its checksum.
        checksum: u128,
        /// Its rows.
        rows: u32,
        /// The key of its first row.
        first_key: &'a str,
        /// The key of its last.
        last_key: &'a str,
    },
}

/// A cursor over the rows of a table; before the first `step` it stands on none.
#[derive(Debug)]
struct Rows {
    table: Table,
    leaves: Leaves,
    leaf: Option<Leaf>,
    at: usize,
    /// The leaves so far; `None` where not all of them are passed.
    seen: Option<SourceLeaves>,
}

impl Rows {
    fn new(table: &Table) -> Self {
        Self { table: table.clone(), leaves: table.leaves(), leaf: None, at: 0, seen: Some(SourceLeaves::default()) }
    }

    /// Stands on the first row whose key is not below `id`, which is not below one that was sought before.
    fn seek(&mut self, id: &str) -> Result<(), redb_live::Error> {
        let id = id.as_bytes();
        let is_here = |leaf: &Leaf| leaf.len().checked_sub(1).is_some_and(|last| leaf.key(last) >= id);
        if !self.leaf.as_ref().is_some_and(is_here) {
            self.leaves.skip_to(id)?;
            self.leaf = None;
            self.step()?;
        }
        while self.row().is_some_and(|(key, _)| key < id) {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), redb_live::Error> {
        self.at += 1;
        while self.leaf.as_ref().is_none_or(|leaf| self.at >= leaf.len()) {
            self.at = 0;
            self.leaf = self.leaves.next_leaf()?;
            let Some(leaf) = &self.leaf else { break };
            let Some(seen) = &mut self.seen else { continue };
            seen.checksums.push(leaf.checksum());
            seen.rows.push(leaf.len() as u32);
            seen.keys.push_str(&String::from_utf8_lossy(leaf.key(0)));
            seen.key_ends.push(seen.keys.len());
        }
        Ok(())
    }

    fn row(&self) -> Option<(&[u8], &[u8])> {
        self.leaf.as_ref().map(|leaf| (leaf.key(self.at), leaf.value(self.at)))
    }
}

/// Finds vectors by ascending ids.
#[derive(Debug)]
pub struct Vectors {
    path: PathBuf,
    dimensions: usize,
    rows: Rows,
}

impl Vectors {
    /// The vector of a record, f32 little-endian; no id may come before one that was asked for earlier.
    ///
    /// # Errors
    ///
    /// As [`next_record`](SnapshotSource::next_record), and `Damaged` where there is no such record.
    pub fn get(&mut self, id: &str) -> Result<&[u8]> {
        self.rows.seek(id).map_err(live_error)?;
        match self.rows.row() {
            Some((key, value)) if key == id.as_bytes() => vector_of(&self.path, id, value, self.dimensions),
            _ => Err(damaged(&self.path, format!("the record {id:?} has no vector"))),
        }
    }
}

fn open_table(view: &View, path: &Path, tables: &[TableInfo], name: &str, value_type: &str) -> Result<Table> {
    let known = tables.iter().find(|table| table.name == name);
    if !known.is_some_and(|table| table.key_type == "&str" && table.value_type == value_type) {
        return Err(not_ruvector(path, name));
    }
    let table = view.table(name).map_err(|error| match error {
        redb_live::Error::UnsupportedTable { .. } => not_ruvector(path, name).because(error),
        error => live_error(error),
    });
    table?.ok_or_else(|| not_ruvector(path, name))
}

/// Databases from before the options were stored have no `config` table.
fn config_rows(view: &View, path: &Path, tables: &[TableInfo]) -> Result<BTreeMap<String, String>> {
    let mut config = BTreeMap::new();
    if !tables.iter().any(|table| table.name == "config") {
        return Ok(config);
    }
    let mut rows = Rows::new(&open_table(view, path, tables, "config", "&str")?);
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|error| damaged(path, "a config row is not UTF-8".into()).because(error))
    };
    rows.step().map_err(live_error)?;
    while let Some((key, value)) = rows.row() {
        config.insert(text(key)?, text(value)?);
        rows.step().map_err(live_error)?;
    }
    Ok(config)
}

/// An older database has no options row; then the first vector tells the dimensions, and nothing the metric.
fn describe(path: &Path, vectors: &Table, rows: BTreeMap<String, String>) -> Result<Description> {
    if let Some(text) = rows.get(OPTIONS_ROW) {
        let options: DbOptions = serde_json::from_str(text).map_err(|error| {
            SnapshotError::new(
                ErrorKind::Unsupported,
                "the database's options cannot be read; a newer Ruvector may have written them",
            )
            .at(path.display().to_string())
            .because(error)
        })?;
        return Description::from_options(&options, rows);
    }
    let mut first = Rows::new(vectors);
    first.step().map_err(live_error)?;
    let dimensions = match first.row() {
        Some((_, value)) => {
            vector_bytes(value).ok_or_else(|| damaged(path, "the first vector cannot be read".into()))?.len() / 4
        }
        None => 0,
    };
    Ok(Description { dimensions, rows, ..Description::default() })
}

/// The values of a row of `vectors`, checked.
fn vector_of<'a>(path: &Path, id: &str, value: &'a [u8], dimensions: usize) -> Result<&'a [u8]> {
    let vector = vector_bytes(value).ok_or_else(|| damaged(path, format!("the vector of id {id:?} cannot be read")))?;
    if vector.len() / 4 == dimensions {
        return Ok(vector);
    }
    let found = vector.len() / 4;
    Err(damaged(path, format!("the vector of id {id:?} has {found} dimensions, the database {dimensions}")))
}

/// The f32 values, little-endian, of a bincode `Vec<f32>`: a length as bincode's varint, then the values.
fn vector_bytes(value: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = value.split_first()?;
    let (length, values) = match tag {
        0..=250 => (u64::from(*tag), rest),
        251 => rest.split_first_chunk::<2>().map(|(bytes, rest)| (u64::from(u16::from_le_bytes(*bytes)), rest))?,
        252 => rest.split_first_chunk::<4>().map(|(bytes, rest)| (u64::from(u32::from_le_bytes(*bytes)), rest))?,
        253 => rest.split_first_chunk::<8>().map(|(bytes, rest)| (u64::from_le_bytes(*bytes), rest))?,
        _ => return None,
    };
    (length.checked_mul(4)? == values.len() as u64).then_some(values)
}

/// The inverse of [`vector_bytes`], appended to `out`.
pub(super) fn append_vector(values: &[u8], out: &mut Vec<u8>) {
    let length = values.len() / 4;
    if length <= 250 {
        out.push(length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(251);
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        // The format bounds a vector to 64 MiB.
        out.push(252);
        out.extend_from_slice(&(length as u32).to_le_bytes());
    }
    out.extend_from_slice(values);
}

fn damaged(path: &Path, what: String) -> SnapshotError {
    SnapshotError::new(ErrorKind::Damaged, format!("the database is damaged: {what}")).at(path.display().to_string())
}

fn not_ruvector(path: &Path, table: &str) -> SnapshotError {
    SnapshotError::new(
        ErrorKind::Invalid,
        format!("not a Ruvector database: it is a redb file, but its table {table:?} is missing or of another type"),
    )
    .at(path.display().to_string())
}

fn live_error(error: redb_live::Error) -> SnapshotError {
    use redb_live::Error as Live;
    let kind = match &error {
        Live::NotFound { .. } => ErrorKind::NotFound,
        Live::NotRedb { .. } | Live::UnsupportedTable { .. } => ErrorKind::Invalid,
        Live::UnsupportedVersion { .. } => ErrorKind::Unsupported,
        Live::Damaged { .. } => ErrorKind::Damaged,
        Live::Moved | Live::Busy { .. } => ErrorKind::Busy,
        Live::NoSpace { .. } => ErrorKind::NoSpace,
        Live::Io { source, .. } | Live::Scratch { source, .. } => source.kind().into(),
        _ => ErrorKind::Unavailable,
    };
    let what = if kind == ErrorKind::Damaged { "the database cannot be captured" } else { "cannot read the database" };
    SnapshotError::new(kind, format!("{what}: {error}")).because(error)
}
