//! From the sections of a stream of irregular rows to its entries.

use super::{
    ColumnType, END, IrregularCounts, IrregularItem, IrregularTable, IrregularTally, ROW, TABLE, TypeOrigin, malformed,
};
use crate::error::Result;
use crate::limits;

/// Decodes the sections of a stream of irregular rows. See [`Encoder`](super::Encoder).
#[derive(Debug)]
pub struct Decoder {
    entry_limit_bytes: u64,
    raw: Vec<u8>,
    /// The start in `raw` of what was not decoded yet.
    start: usize,
    /// What the next entry has in the sections to come, as far as that is known.
    missing_bytes: usize,
    table: Option<IrregularTable>,
    tally: IrregularTally,
    has_ended: bool,
}

/// The position and the length of an entry, once all of it is there.
enum Entry {
    Table(IrregularTable, usize),
    Row { key: std::ops::Range<usize>, value: std::ops::Range<usize> },
    End,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_entry_limit(limits::IRREGULAR_ENTRY_BYTES)
    }
}

impl Decoder {
    /// Creates a decoder of a stream. A table or a row is refused that has more than `bytes`, as soon as its lengths are
    /// read. [`SnapshotMetadata::irregular_decoder`](crate::metadata::SnapshotMetadata::irregular_decoder) knows how large
    /// they can be in a snapshot.
    ///
    /// ```
    /// use ruvector_snapshot_format::irregular::Decoder;
    ///
    /// let mut decoder = Decoder::with_entry_limit(1000);
    /// // A table whose name has 4,096 bytes.
    /// decoder.feed(&[1, 0, 16, 0, 0]);
    /// assert!(decoder.next_item().is_err());
    /// ```
    pub fn with_entry_limit(bytes: u64) -> Self {
        Self {
            entry_limit_bytes: bytes.min(limits::IRREGULAR_ENTRY_BYTES),
            raw: Vec::new(),
            start: 0,
            missing_bytes: 0,
            table: None,
            tally: IrregularTally::default(),
            has_ended: false,
        }
    }

    /// Adds the content of the next section.
    pub fn feed(&mut self, section: &[u8]) {
        self.raw.drain(..std::mem::take(&mut self.start));
        // The vector would double its capacity, and a row can be large.
        self.raw.reserve_exact(section.len().max(std::mem::take(&mut self.missing_bytes)));
        self.raw.extend_from_slice(section);
    }

    /// Returns the next entry. `None` if it needs the next section, and at the end of the stream.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the stream is malformed.
    pub fn next_item(&mut self) -> Result<Option<IrregularItem<'_>>> {
        if self.has_ended {
            return Ok(None);
        }
        let Some(entry) = self.entry()? else { return Ok(None) };
        match entry {
            Entry::End => {
                self.has_ended = true;
                self.start += 1;
                Ok(None)
            }
            Entry::Table(table, end) => {
                self.start = end;
                self.tally.add(IrregularItem::Table(&table))?;
                Ok(Some(IrregularItem::Table(self.table.insert(table))))
            }
            Entry::Row { key, value } => {
                self.start = value.end;
                let row = |range| self.raw.get(range).unwrap_or_default();
                let table = self.table.as_ref().ok_or_else(|| malformed("a row is not in a table"))?;
                let item = IrregularItem::Row { table, key: row(key), value: row(value) };
                self.tally.add(item)?;
                Ok(Some(item))
            }
        }
    }

    /// Returns what the stream adds up to.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the stream has not ended, or if bytes follow its end.
    pub fn finish(self) -> Result<IrregularCounts> {
        if !self.has_ended || self.start != self.raw.len() {
            return Err(malformed("the stream does not end with its last section"));
        }
        self.tally.finish()
    }

    fn entry(&mut self) -> Result<Option<Entry>> {
        let (start, limit_bytes) = (self.start, self.entry_limit_bytes);
        let mut fields = Fields { raw: &self.raw, start, at: start, limit_bytes, end: start };
        let tag = fields.u8();
        let entry = match tag {
            None => None,
            Some(END) => Some(Entry::End),
            Some(TABLE) => fields.table()?.map(|table| Entry::Table(table, fields.at)),
            Some(ROW) => fields.row()?,
            Some(_) => return Err(malformed("an entry is neither a table nor a row")),
        };
        self.missing_bytes = fields.end.saturating_sub(self.raw.len());
        Ok(entry)
    }
}

/// Reads the fields of an entry. `None` means that more bytes are needed.
struct Fields<'a> {
    raw: &'a [u8],
    start: usize,
    at: usize,
    limit_bytes: u64,
    /// The end of the fields so far, with those that are not there yet.
    end: usize,
}

impl<'a> Fields<'a> {
    /// Checks that the entry can have so many bytes more.
    fn expect(&mut self, bytes: u64) -> Result<()> {
        let entry_bytes = bytes.saturating_add((self.at - self.start) as u64);
        if entry_bytes > self.limit_bytes {
            return Err(malformed(&format!(
                "an entry of {entry_bytes} bytes is larger than an entry of this snapshot can be ({} bytes)",
                self.limit_bytes
            )));
        }
        self.end = self.start.saturating_add(usize::try_from(entry_bytes).unwrap_or(usize::MAX));
        Ok(())
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.raw.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn row(&mut self) -> Result<Option<Entry>> {
        let (Some(key_bytes), Some(value_bytes)) = (self.u32(), self.u32()) else { return Ok(None) };
        self.expect(u64::from(key_bytes) + u64::from(value_bytes))?;
        let key = self.at..self.at.saturating_add(key_bytes as usize);
        let value = key.end..key.end.saturating_add(value_bytes as usize);
        Ok((value.end <= self.raw.len()).then_some(Entry::Row { key, value }))
    }

    fn table(&mut self) -> Result<Option<IrregularTable>> {
        let Some(name) = self.text()? else { return Ok(None) };
        let Some(key) = self.column()? else { return Ok(None) };
        let Some(value) = self.column()? else { return Ok(None) };
        Ok(Some(IrregularTable { name, key, value }))
    }

    fn column(&mut self) -> Result<Option<ColumnType>> {
        let (Some(origin), Some(has_width), Some(width)) = (self.u8(), self.u8(), self.u32()) else { return Ok(None) };
        let origin = match origin {
            1 => TypeOrigin::Redb,
            2 => TypeOrigin::Application,
            _ => return Err(malformed("a type is defined neither by redb nor by an application")),
        };
        let width = match (has_width, width) {
            (0, 0) => None,
            (1, width) => Some(width),
            _ => return Err(malformed("the width of a type is not valid")),
        };
        Ok(self.text()?.map(|name| ColumnType { origin, name, width }))
    }

    fn text(&mut self) -> Result<Option<String>> {
        let Some(length) = self.u32() else { return Ok(None) };
        self.expect(u64::from(length))?;
        let Some(bytes) = self.bytes(length as usize) else { return Ok(None) };
        let text = std::str::from_utf8(bytes);
        text.map(|text| Some(text.to_owned())).map_err(|error| malformed("a name is not UTF-8").with_source(error))
    }
}
