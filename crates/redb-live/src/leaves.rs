//! The cursor over the rows of a table: streams its leaves in key order and checks what page checksums cannot, the
//! order of the keys and the number of rows.

use std::sync::Arc;

use crate::{
    error::Error,
    page::Leaf,
    page_reader::{CursorPages, PageReader},
    table::Definition,
    walk::{PageSource, Walk, WalkError, WalkItem},
};

/// The result of [`Leaves::next_skipping`].
#[derive(Debug)]
pub enum NextLeaf {
    /// A leaf that was read and checked.
    Read(Leaf),
    /// The checksum of a leaf that the caller knows. It was not read.
    Skipped(u128),
}

/// A cursor over the leaves of a table, in key order.
///
/// Also an iterator over `Result<Leaf, Error>`. It keeps only the branches above the next leaf in memory. After an
/// error, it returns no more leaves.
#[derive(Debug)]
pub struct Leaves {
    pages: Arc<PageReader>,
    definition: Arc<Definition>,
    walk: Walk,
    pages_left: u64,
    /// The number of rows so far.
    rows: u64,
    /// Whether [`Leaves::seek`] was called. If so, rows may have been left out.
    is_partial: bool,
    last_key: Option<Vec<u8>>,
    is_done: bool,
}

impl Leaves {
    pub(crate) fn new(pages: Arc<PageReader>, definition: Arc<Definition>) -> Self {
        Self {
            walk: Walk::new(definition.root, definition.tree_widths()),
            pages_left: pages.pages_max,
            pages,
            definition,
            rows: 0,
            is_partial: false,
            last_key: None,
            is_done: false,
        }
    }

    /// Returns the next leaf, or `None` after the last one.
    ///
    /// # Errors
    ///
    /// - [`Error::Changed`] if the writer has overwritten a page. Not in [`Mode::Mirror`](crate::Mode::Mirror).
    /// - [`Error::StorageFull`], [`Error::Scratch`] or [`Error::Io`] if the writer has overwritten a page, and the
    ///   mirror that would have kept it could not be made.
    /// - [`Error::Corrupt`] if a page does not match its checksum and no writer can be the reason, if keys are not in
    ///   order, or if the number of rows differs from the table definition. Missing rows are reported by the last call.
    /// - [`Error::Io`] if the database file cannot be read, and [`Error::Scratch`] if the mirror cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # let database = redb::Database::create(&path)?;
    /// # let txn = database.begin_write()?;
    /// # txn.open_table(redb::TableDefinition::<&str, u64>::new("users"))?.insert("ada", 36)?;
    /// # txn.commit()?;
    /// # let view = redb_live::LiveFile::open(&path)?.view(&Default::default())?;
    /// # let users = view.table("users")?.ok_or("no such table")?;
    /// let mut leaves = users.leaves();
    /// let mut rows = 0;
    /// while let Some(leaf) = leaves.next_leaf()? {
    ///     rows += leaf.len();
    /// }
    /// assert_eq!(rows, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_leaf(&mut self) -> Result<Option<Leaf>, Error> {
        match self.next_skipping(|_| None)? {
            Some(NextLeaf::Read(leaf)) => Ok(Some(leaf)),
            _ => Ok(None),
        }
    }

    /// Moves forward to the leaf that contains `key`, or would contain it. The first rows of that leaf can be before
    /// `key`.
    ///
    /// The cursor never moves backward: if it is already past that leaf, it stays where it is. Leaves between are not
    /// read. After a seek, the cursor does not check the number of rows.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnsupportedTable`] if the keys are not sorted by their bytes. Only `&str` and `&[u8]` keys are.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # let database = redb::Database::create(&path)?;
    /// # let txn = database.begin_write()?;
    /// # let mut table = txn.open_table(redb::TableDefinition::<&str, u64>::new("users"))?;
    /// # for i in 0..1000 { table.insert(format!("user {i:04}").as_str(), i)?; }
    /// # drop(table);
    /// # txn.commit()?;
    /// # let view = redb_live::LiveFile::open(&path)?.view(&Default::default())?;
    /// # let users = view.table("users")?.ok_or("no such table")?;
    /// let mut leaves = users.leaves();
    /// leaves.seek(b"user 0700")?;
    /// let leaf = leaves.next_leaf()?.ok_or("no such leaf")?;
    /// assert!((0..leaf.len()).any(|i| leaf.key(i) == b"user 0700"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        if !self.definition.is_sorted_by_bytes() {
            let reason = "its keys are not sorted by their bytes, so it cannot be searched";
            return Err(Error::UnsupportedTable { table: self.definition.info.name.clone(), reason });
        }
        self.walk.seek(key);
        self.is_partial = true;
        Ok(())
    }

    /// Returns the next leaf, but does not read leaves whose checksum the caller knows.
    ///
    /// `rows_of_known` maps the checksum of a known leaf to its number of rows, and any other checksum to `None`.
    ///
    /// The parent page of a skipped leaf was read and checked. It proves that the table contains the rows that had this
    /// checksum when the caller read them. It does not prove that the leaf can still be read.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next_leaf`](Self::next_leaf).
    ///
    /// # Examples
    ///
    /// Read only the leaves that have changed:
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use redb_live::{LiveFile, NextLeaf};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # let database = redb::Database::create(&path)?;
    /// # let definition = redb::TableDefinition::<&str, u64>::new("users");
    /// # let txn = database.begin_write()?;
    /// # let mut table = txn.open_table(definition)?;
    /// # for i in 0..1000 { table.insert(format!("user {i:04}").as_str(), i)?; }
    /// # drop(table);
    /// # txn.commit()?;
    /// let file = LiveFile::open(&path)?;
    /// let users = file.view(&Default::default())?.table("users")?.ok_or("no such table")?;
    /// let mut known = HashMap::new();
    /// for leaf in users.leaves() {
    ///     let leaf = leaf?;
    ///     known.insert(leaf.checksum(), leaf.len() as u64);
    /// }
    ///
    /// // The writer changes one row.
    /// # let txn = database.begin_write()?;
    /// # txn.open_table(definition)?.insert("user 0700", 0)?;
    /// # txn.commit()?;
    ///
    /// let users = file.view(&Default::default())?.table("users")?.ok_or("no such table")?;
    /// let mut leaves = users.leaves();
    /// let (mut read, mut skipped) = (0, 0);
    /// while let Some(next) = leaves.next_skipping(|checksum| known.get(&checksum).copied())? {
    ///     match next {
    ///         NextLeaf::Read(_) => read += 1,
    ///         NextLeaf::Skipped(_) => skipped += 1,
    ///     }
    /// }
    /// assert!(read == 1 && skipped > 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_skipping(&mut self, rows_of_known: impl Fn(u128) -> Option<u64>) -> Result<Option<NextLeaf>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let next = self.checked_next(rows_of_known);
        self.is_done = !matches!(next, Ok(Some(_)));
        next.map_err(|error| error.in_table(&self.definition.info.name))
    }

    fn checked_next(&mut self, rows_of_known: impl Fn(u128) -> Option<u64>) -> Result<Option<NextLeaf>, Error> {
        let mut pages = CursorPages { reader: &self.pages, pages_left: &mut self.pages_left };
        let next = self.walk.next(&mut pages, |checksum| rows_of_known(checksum).is_some());
        let next = next.map_err(|error| match error {
            WalkError::Failed(error) => pages.explain(error),
            WalkError::ChecksumMismatch { page, .. } => pages.corrupt(Some(page), "its checksum does not match"),
        })?;
        let corrupt = |page, reason| Err(self.pages.live.corrupt(page, reason));
        let rows_max = self.definition.info.rows;
        let (number, rows) = match &next {
            None if self.rows == rows_max || self.is_partial => return Ok(None),
            None => return corrupt(None, "rows are missing"),
            Some(WalkItem::Leaf(number, leaf)) => (Some(*number), leaf.len() as u64),
            Some(WalkItem::Skipped(checksum)) => (None, rows_of_known(*checksum).unwrap_or_default()),
        };
        self.rows = self.rows.saturating_add(rows);
        if self.rows > rows_max {
            return corrupt(number, "there are more rows than the table definition says");
        }
        match next {
            Some(WalkItem::Leaf(..)) if !self.definition.is_sorted_by_bytes() => {}
            Some(WalkItem::Leaf(number, ref leaf)) if !self.is_ascending(leaf) => {
                return Err(self.pages.live.corrupt(Some(number), "its keys are not in order"));
            }
            _ => {}
        }
        Ok(next.map(|item| match item {
            WalkItem::Leaf(_, leaf) => NextLeaf::Read(leaf),
            WalkItem::Skipped(checksum) => NextLeaf::Skipped(checksum),
        }))
    }

    /// Returns whether the keys of the leaf are in order and after those of the leaves before it.
    fn is_ascending(&mut self, leaf: &Leaf) -> bool {
        let mut last = self.last_key.as_deref();
        for key in (0..leaf.len()).map(|i| leaf.key(i)) {
            if last.is_some_and(|last| last >= key) {
                return false;
            }
            last = Some(key);
        }
        let last_key = self.last_key.get_or_insert_default();
        last_key.clear();
        last_key.extend_from_slice(leaf.key(leaf.len().saturating_sub(1)));
        true
    }
}

impl Iterator for Leaves {
    type Item = Result<Leaf, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_leaf().transpose()
    }
}

impl std::iter::FusedIterator for Leaves {}
