//! The irregular rows of a state, read from the newest snapshot of its chain that stores them, and those of a source,
//! encoded for a new snapshot (FORMAT.md, section 4).

use std::collections::VecDeque;

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::irregular::{
    Decoder, Encoder, IrregularCounts, IrregularInfo, IrregularItem, IrregularTally,
};
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::metadata::SectionInfo;
use ruvector_snapshot_format::model::DatabaseInfo;

use super::chain::Chain;
use super::context::run_blocking;
use super::reader::StoredSnapshot;
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::source::irregular_rows::{IrregularCheck, IrregularIds, SourceIds, StateCheck};
use crate::source::{IrregularRecords, SourceReader};

/// Tables that are named.
const TABLES_NAMED: usize = 10;
/// Number of characters of the name of a table that are shown.
const NAME_CHARS_SHOWN: usize = 64;

/// Reads the irregular rows of a state, section by section.
pub(crate) struct IrregularSections {
    snapshot: StoredSnapshot,
    info: IrregularInfo,
    left: VecDeque<SectionInfo>,
    state: DecodeState,
}

/// What is carried from section to section.
#[derive(Default)]
struct DecodeState {
    decoder: Decoder,
    /// `None` if the rows are only read, and not restored.
    check: Option<IrregularCheck>,
}

/// The entries of one section, to be decoded where that may block.
pub(crate) struct IrregularSection {
    /// The content of the section.
    pub(crate) raw: Vec<u8>,
    name: String,
    state: DecodeState,
}

impl Chain {
    /// Opens the irregular rows of the state, to be read. `None` if it has none.
    pub(crate) fn irregular(&self) -> Result<Option<IrregularSections>> {
        self.irregular_of(0)
    }

    /// Opens the irregular rows of the state of one of the snapshots, by its number, the newest first. `None` if the
    /// state has none.
    pub(crate) fn irregular_of(&self, number: usize) -> Result<Option<IrregularSections>> {
        let stores_them = |snapshot: &&StoredSnapshot| snapshot.metadata.irregular_sections().next().is_some();
        let newer_first = self.snapshots().get(number..).unwrap_or_default();
        let Some(info) = newer_first.first().and_then(|snapshot| snapshot.metadata.irregular.clone()) else {
            return Ok(None);
        };
        // Opening the chain has checked that the snapshots that store none have the rows of their base.
        let snapshot = newer_first.iter().find(stores_them);
        let snapshot = snapshot.ok_or_else(|| corrupt("no snapshot of the chain stores its irregular rows"))?;
        Ok(Some(IrregularSections::of(snapshot, info)))
    }

    /// Opens the irregular rows of the state, to be restored to a database of this description.
    pub(crate) fn restorable_irregular(&self, database: &DatabaseInfo) -> Result<Option<IrregularSections>> {
        Ok(self.irregular()?.map(|sections| sections.restorable(database)))
    }
}

impl IrregularSections {
    /// Opens those that a snapshot stores itself. They must fit this description.
    pub(crate) fn of(snapshot: &StoredSnapshot, info: IrregularInfo) -> Self {
        let left = snapshot.metadata.irregular_sections().cloned().collect();
        let state = DecodeState { decoder: snapshot.metadata.irregular_decoder(), check: None };
        Self { snapshot: snapshot.clone(), info, left, state }
    }

    /// Returns the id of the snapshot that stores them.
    pub(crate) fn stored_in(&self) -> &SnapshotId {
        self.snapshot.id()
    }

    /// Checks from now on that a database of this description can be restored with the rows.
    pub(crate) fn restorable(mut self, database: &DatabaseInfo) -> Self {
        self.state.check = Some(IrregularCheck::new(database));
        self
    }

    /// Reads the next section. `None` after the last one. Pass its decoder back with [`decoded`](Self::decoded) before
    /// the next call.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt`, with the name of the section, if it is corrupt.
    pub(crate) async fn next(&mut self) -> Result<Option<IrregularSection>> {
        let Some(section) = self.left.pop_front() else { return Ok(None) };
        let raw = self.snapshot.section(&section.name).await?;
        Ok(Some(IrregularSection { raw, name: section.name, state: std::mem::take(&mut self.state) }))
    }

    /// Takes a section back whose entries have been decoded.
    pub(crate) fn decoded(&mut self, section: IrregularSection) {
        self.state = section.state;
    }

    /// Compares all that was decoded with its description. Returns the part of the content checksum, and what the
    /// records of the state must be compared with.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if it does not fit.
    pub(crate) fn finish(self) -> Result<(ContentSum, IrregularIds)> {
        let Self { snapshot, info, state: DecodeState { decoder, check }, .. } = self;
        let key = snapshot.key(DataFile::Index);
        let counts = decoder.finish().map_err(|error| SnapshotError::from(error).with_key(key.clone()))?;
        if !info.fits(&counts) {
            let message = "the irregular rows do not match the counts and the checksum in metadata.json";
            return Err(corrupt(message).with_key(key));
        }
        let ids = check.map_or_else(|| Ok(IrregularIds::default()), IrregularCheck::finish);
        Ok((counts.checksum, ids.map_err(|error| error.with_key(key))?))
    }

    /// Reads and checks all sections, for their checks alone.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if they are corrupt, and `Unsupported` if a restore to a file cannot create a table.
    pub(crate) async fn check(mut self) -> Result<IrregularIds> {
        while let Some(section) = self.next().await? {
            let section = self.checked(section).await?;
            self.decoded(section);
        }
        // Sorts the ids of all rows.
        run_blocking(move || Ok(self.finish()?.1)).await
    }

    /// Decodes the entries of a section, for their checks alone.
    pub(crate) async fn checked(&self, mut section: IrregularSection) -> Result<IrregularSection> {
        let key = self.snapshot.key(DataFile::Index);
        let decode = move || section.each(&mut |_| Ok(())).map(|()| section);
        run_blocking(decode).await.map_err(|error| error.with_key(key))
    }
}

impl IrregularSection {
    /// Decodes the entries that end in this section.
    pub(crate) fn each(&mut self, visit: &mut dyn FnMut(IrregularItem<'_>) -> Result<()>) -> Result<()> {
        let DecodeState { decoder, check } = &mut self.state;
        decoder.feed(&self.raw);
        let in_section = |error: ruvector_snapshot_format::FormatError| {
            SnapshotError::from(error.with_context(format!("section {:?}", self.name)))
        };
        while let Some(item) = decoder.next_item().map_err(in_section)? {
            check.iter_mut().try_for_each(|check| check.add(item))?;
            visit(item)?;
        }
        Ok(())
    }
}

/// Compares the ids of a block of the state with its irregular rows.
///
/// # Errors
///
/// As [`StateCheck::add`].
pub(crate) async fn check_block(block: Block, mut state: StateCheck) -> Result<(Block, StateCheck)> {
    if !state.needs_records() {
        return Ok((block, state));
    }
    run_blocking(move || {
        block.rows().try_for_each(|record| state.add(record.id))?;
        Ok((block, state))
    })
    .await
}

/// The irregular rows of a source, for a new snapshot.
#[derive(Debug)]
pub(crate) struct SourceIrregular {
    started: Option<Started>,
    database: DatabaseInfo,
    rows: RowsFrom,
    tables: TableNames,
    /// What all of them are, once that is known.
    summary: Option<Option<IrregularInfo>>,
}

/// Where the rows of a source are from.
#[derive(Debug)]
pub(crate) enum RowsFrom {
    /// A database: its reader finds the irregular rows, so they fit its records. If they cannot be restored, the
    /// database is corrupt.
    Database,
    /// A source of the application's own, which can yield anything. The ids of its records so far.
    Application(SourceIds),
}

/// The rows so far.
#[derive(Debug)]
struct Started {
    encoder: Encoder,
    check: IrregularCheck,
}

/// The names of the first tables, and their numbers of rows.
#[derive(Debug, Default)]
struct TableNames(Vec<(String, u64)>);

impl TableNames {
    fn add(&mut self, item: IrregularItem<'_>) {
        match item {
            IrregularItem::Table(table) if table.is_of_ruvector() => {}
            // One more than are named, so that the rows of the last one are counted right.
            IrregularItem::Table(table) if self.0.len() <= TABLES_NAMED => self.0.push((table.name.clone(), 0)),
            IrregularItem::Row { table, .. } => {
                if let Some((_, rows)) = self.0.last_mut().filter(|(name, _)| *name == table.name) {
                    *rows += 1;
                }
            }
            IrregularItem::Table(_) => {}
        }
    }

    fn examples(self) -> impl Iterator<Item = String> {
        self.0.into_iter().take(TABLES_NAMED).map(|(name, rows)| {
            let shown: String = name.chars().take(NAME_CHARS_SHOWN).collect();
            let more = if shown.len() < name.len() { "…" } else { "" };
            let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
            format!("table {:?}: {rows}", shown + more)
        })
    }
}

impl SourceIrregular {
    /// Starts before the first record of a source with this description.
    pub(crate) fn new(database: &DatabaseInfo, rows: RowsFrom) -> Self {
        Self { started: None, database: database.clone(), rows, tables: TableNames::default(), summary: None }
    }

    /// Remembers the id of a record, if the irregular rows must be compared with it.
    pub(crate) fn add_record(&mut self, id: &str) {
        if let RowsFrom::Application(ids) = &mut self.rows {
            ids.add(id);
        }
    }

    /// Returns the content of the next section to store. `None` after the last one. `known` are the irregular rows of
    /// the base: if those of the source are the same, none is stored.
    pub(crate) fn next_section(
        &mut self,
        reader: &mut impl SourceReader,
        known: Option<&IrregularInfo>,
    ) -> Result<Option<Vec<u8>>> {
        if self.summary.is_some() {
            return Ok(None);
        }
        let mut started = match self.started.take() {
            Some(started) => started,
            None => {
                if let Some(known) = known
                    && reader.rewind_irregular()
                    && self.is_known(reader, known)?
                {
                    return Ok(None);
                }
                Started { encoder: Encoder::default(), check: IrregularCheck::new(&self.database) }
            }
        };
        loop {
            if let Some(section) = started.encoder.take_section() {
                self.started = Some(started);
                return Ok(Some(section));
            }
            let Some(item) = reader.next_irregular()? else { break };
            self.tables.add(item);
            let Started { encoder, check } = &mut started;
            let pushed = encoder.push(item).map_err(SnapshotError::from).and_then(|()| check.add(item));
            pushed.map_err(|error| self.rows.refused(error))?;
        }
        let (section, counts) = started.encoder.finish().map_err(|error| self.rows.refused(error.into()))?;
        self.rows.check(started.check)?;
        self.summarize(&counts, reader.irregular_records());
        Ok((!counts.is_empty()).then_some(section))
    }

    /// Returns what the irregular rows are, after the last section. `None` if there are none.
    pub(crate) fn summary(&self) -> Option<IrregularInfo> {
        self.summary.clone().flatten()
    }

    /// Sums all rows, and returns whether they are known. If not, the reader starts again.
    fn is_known(&mut self, reader: &mut impl SourceReader, known: &IrregularInfo) -> Result<bool> {
        let (mut tally, mut check) = (IrregularTally::default(), IrregularCheck::new(&self.database));
        while let Some(item) = reader.next_irregular()? {
            let added = tally.add(item).map_err(SnapshotError::from).and_then(|()| check.add(item));
            added.map_err(|error| self.rows.refused(error))?;
        }
        let counts = tally.finish().map_err(|error| self.rows.refused(error.into()))?;
        let is_known = known.fits(&counts);
        if is_known {
            self.rows.check(check)?;
            self.summary = Some(Some(known.clone()));
        } else {
            reader.rewind_irregular();
        }
        Ok(is_known)
    }

    fn summarize(&mut self, counts: &IrregularCounts, records: IrregularRecords) {
        // A source that does not count its records has a row for each in one of the two tables at least.
        let count = if records.count > 0 { records.count } else { counts.vector_rows.max(counts.metadata_rows) };
        let tables = std::mem::take(&mut self.tables);
        let examples = records.examples.into_iter().chain(tables.examples()).collect();
        self.summary = Some((!counts.is_empty()).then(|| IrregularInfo::new(count, counts, examples)));
    }
}

impl RowsFrom {
    /// Checks what can be checked after the last row.
    fn check(&self, check: IrregularCheck) -> Result<()> {
        let checked = check.finish().and_then(|irregular| match self {
            Self::Database => Ok(()),
            Self::Application(ids) => ids.check(irregular),
        });
        checked.map_err(|error| self.refused(error))
    }

    /// Returns the error with which a create refuses rows that no snapshot can be restored with.
    fn refused(&self, error: SnapshotError) -> SnapshotError {
        match self {
            Self::Database => error,
            Self::Application(_) => {
                let message = format!("no snapshot of this database could be restored: {}", error.message());
                SnapshotError::new(ErrorKind::InvalidInput, message).with_source(error)
            }
        }
    }
}
