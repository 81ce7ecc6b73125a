//! The irregular rows of a state, read from the newest snapshot of its chain that stores them, and those of a source,
//! encoded for a new snapshot (FORMAT.md, section 4).

use std::collections::VecDeque;

use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::irregular::{
    Decoder, Encoder, IrregularCounts, IrregularInfo, IrregularItem, IrregularTally,
};
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::metadata::SectionInfo;

use super::chain::Chain;
use super::context::run_blocking;
use super::reader::StoredSnapshot;
use crate::error::{Result, SnapshotError, corrupt};
use crate::source::raw_table::check_restorable;
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
    decoder: Decoder,
}

/// The entries of one section, to be decoded where that may block.
pub(crate) struct IrregularSection {
    /// The content of the section.
    pub(crate) raw: Vec<u8>,
    name: String,
    decoder: Decoder,
}

impl Chain {
    /// Opens the irregular rows of the state. `None` if it has none.
    pub(crate) fn irregular(&self) -> Result<Option<IrregularSections>> {
        let stores_them = |snapshot: &&StoredSnapshot| snapshot.metadata.irregular_sections().next().is_some();
        let Some(info) = self.newest()?.metadata.irregular.clone() else { return Ok(None) };
        // Opening the chain has checked that the snapshots that store none have the rows of their base.
        let snapshot = self.snapshots().iter().find(stores_them);
        let snapshot = snapshot.ok_or_else(|| corrupt("no snapshot of the chain stores its irregular rows"))?;
        Ok(Some(IrregularSections::of(snapshot, info)))
    }
}

impl IrregularSections {
    /// Opens those that a snapshot stores itself. They must fit this description.
    pub(crate) fn of(snapshot: &StoredSnapshot, info: IrregularInfo) -> Self {
        let left = snapshot.metadata.irregular_sections().cloned().collect();
        Self { snapshot: snapshot.clone(), info, left, decoder: Decoder::default() }
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
        Ok(Some(IrregularSection { raw, name: section.name, decoder: std::mem::take(&mut self.decoder) }))
    }

    /// Takes a section back whose entries have been decoded.
    pub(crate) fn decoded(&mut self, section: IrregularSection) {
        self.decoder = section.decoder;
    }

    /// Compares all that was decoded with its description. Returns the part of the content checksum.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if it does not fit.
    pub(crate) fn finish(self) -> Result<ContentSum> {
        let Self { snapshot, info, decoder, .. } = self;
        let key = snapshot.key(DataFile::Index);
        let counts = decoder.finish().map_err(|error| SnapshotError::from(error).with_key(key.clone()))?;
        if info.fits(&counts) {
            return Ok(counts.checksum);
        }
        let message = "the irregular rows do not match the counts and the checksum in metadata.json";
        Err(corrupt(message).with_key(key))
    }

    /// Reads and checks all sections, for their checks alone.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if they are corrupt, and `Unsupported` if a restore to a file cannot create a table.
    pub(crate) async fn check(mut self) -> Result<ContentSum> {
        while let Some(section) = self.next().await? {
            let section = self.visited(section, check_item).await?;
            self.decoded(section);
        }
        self.finish()
    }

    /// Decodes the entries of a section, for their checks alone.
    pub(crate) async fn checked(&self, section: IrregularSection) -> Result<IrregularSection> {
        self.visited(section, |_| Ok(())).await
    }

    async fn visited(
        &self,
        mut section: IrregularSection,
        mut visit: impl FnMut(IrregularItem<'_>) -> Result<()> + Send + 'static,
    ) -> Result<IrregularSection> {
        let key = self.snapshot.key(DataFile::Index);
        let decode = move || section.each(&mut visit).map(|()| section);
        run_blocking(decode).await.map_err(|error| error.with_key(key))
    }
}

/// Checks that a restore to a file can store an entry.
fn check_item(item: IrregularItem<'_>) -> Result<()> {
    match item {
        IrregularItem::Table(table) => check_restorable(table),
        IrregularItem::Row { .. } => Ok(()),
    }
}

impl IrregularSection {
    /// Decodes the entries that end in this section.
    pub(crate) fn each(&mut self, visit: &mut dyn FnMut(IrregularItem<'_>) -> Result<()>) -> Result<()> {
        self.decoder.feed(&self.raw);
        let in_section = |error: ruvector_snapshot_format::FormatError| {
            SnapshotError::from(error.with_context(format!("section {:?}", self.name)))
        };
        while let Some(item) = self.decoder.next_item().map_err(in_section)? {
            visit(item)?;
        }
        Ok(())
    }
}

/// The irregular rows of a source, for a new snapshot.
#[derive(Debug, Default)]
pub(crate) struct SourceIrregular {
    encoder: Option<Encoder>,
    tables: TableNames,
    /// What all of them are, once that is known.
    summary: Option<Option<IrregularInfo>>,
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
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => {
                if let Some(known) = known
                    && reader.rewind_irregular()
                    && self.is_known(reader, known)?
                {
                    return Ok(None);
                }
                Encoder::default()
            }
        };
        loop {
            if let Some(section) = encoder.take_section() {
                self.encoder = Some(encoder);
                return Ok(Some(section));
            }
            let Some(item) = reader.next_irregular()? else { break };
            check_item(item)?;
            self.tables.add(item);
            encoder.push(item)?;
        }
        let (section, counts) = encoder.finish()?;
        self.summarize(&counts, reader.irregular_records());
        Ok((!counts.is_empty()).then_some(section))
    }

    /// Returns what the irregular rows are, after the last section. `None` if there are none.
    pub(crate) fn summary(&self) -> Option<IrregularInfo> {
        self.summary.clone().flatten()
    }

    /// Sums all rows, and returns whether they are known. If not, the reader starts again.
    fn is_known(&mut self, reader: &mut impl SourceReader, known: &IrregularInfo) -> Result<bool> {
        let mut tally = IrregularTally::default();
        while let Some(item) = reader.next_irregular()? {
            tally.add(item)?;
        }
        let is_known = known.fits(&tally.finish()?);
        if is_known {
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
