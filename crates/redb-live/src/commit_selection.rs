//! Selects the commit that a view reads: picks a commit slot, checks the trees of that commit, and decides whether a
//! page that does not match its checksum is corrupt or was changed by the writer.
//!
//! # What a writer does to the file (redb 2.6)
//!
//! The pages of a new commit are written only to space that neither the newest commit nor the one before it uses. The
//! order of these writes is not defined. In a one-phase commit, that includes the header: it can name a commit whose
//! pages are not written yet. This gives three rules:
//!
//! 1. Once all pages of the newest commit are written, they stay unchanged at least until the header changes again.
//! 2. While the newest commit is being written, the commit before it is complete.
//! 3. Therefore the file is corrupt if the newest commit is not valid, then the one before it is not valid, then the
//!    newest is still not valid, and the header did not change in the meantime. No concurrent write can explain that.
//!
//! # Passes
//!
//! A pass checks the commits that one reading of the header names. If a page does not match its checksum and the header
//! has changed, a new pass starts. Pages that are already in the mirror stay there, so a later pass copies only what
//! has changed.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    error::Error,
    file::{self, DatabaseFile, PageRead},
    header::{Header, Slot},
    mirror::Mirror,
    page::{Child, Node, PageNumber, Root, Widths},
    table::{self, Definition},
    verified_pages::VerifiedPages,
    walk::{PageSource, Walk, WalkError},
};

/// The tree of table definitions: keys and values of any length.
const TABLE_TREE: Widths = Widths { key: None, value: None };
/// The tree of freed pages: the key is a transaction id and a counter (both u64), the value is a list of pages.
const FREED_TREE: Widths = Widths { key: Some(16), value: None };

/// The commit that was selected.
#[derive(Debug)]
pub(crate) struct SelectedCommit {
    pub header: Header,
    pub transaction_id: u64,
    pub rolled_back: bool,
    pub tables: Vec<Definition>,
    pub passes: u32,
    pub pages_max: u64,
}

/// The part of a commit that is checked before it is selected.
pub(crate) enum Scope<'a> {
    /// The table definitions. Rows are checked when they are streamed.
    Definitions,
    /// All trees. Their pages are copied to the mirror.
    AllTrees(&'a Mirror),
}

impl Scope<'_> {
    fn mirror_len(&self) -> u64 {
        match self {
            Scope::AllTrees(mirror) => mirror.database_len,
            Scope::Definitions => 0,
        }
    }
}

/// Selects the newest valid commit.
///
/// Returns [`Error::Busy`] if the writer overwrote a page that was needed in each of `passes_max` passes.
pub(crate) fn select_commit(
    live: &DatabaseFile,
    scope: &Scope<'_>,
    passes_max: u32,
    pages_read: &AtomicU64,
) -> Result<SelectedCommit, Error> {
    let mut verified = VerifiedPages::default();
    for pass in 1..=passes_max.max(1) {
        let len_before = live.len_bytes()?;
        let header = live.header()?;
        #[cfg(test)]
        tests::run_writer(tests::Step::ReadLength);
        let file_len = live.len_bytes()?;
        // The file may have shrunk after the header was read, and the mirror may still contain all pages of the header.
        let longest_len = file_len.max(len_before).max(scope.mirror_len());
        let pages_max = longest_len / u64::from(header.geometry.page_size) + 1;
        let mut pass_state = Pass {
            live,
            scope,
            verified: &mut verified,
            header: &header,
            number: pass,
            must_read_leaves: true,
            skip_verified: false,
            pages_max,
            pages_left: pages_max,
            pages_read,
        };
        if let Some((slot, rolled_back, tables)) = pass_state.newest_valid_commit(file_len)? {
            let transaction_id = slot.transaction_id;
            return Ok(SelectedCommit { header, transaction_id, rolled_back, tables, passes: pass, pages_max });
        }
    }
    Err(Error::Busy { passes: passes_max.max(1) })
}

/// One pass, under one reading of the header.
struct Pass<'a> {
    live: &'a DatabaseFile,
    scope: &'a Scope<'a>,
    verified: &'a mut VerifiedPages,
    header: &'a Header,
    /// Counted from 1.
    number: u32,
    /// Whether leaves that are already verified are read again, because their contents are needed.
    must_read_leaves: bool,
    /// Whether verified pages are skipped together with everything below them.
    skip_verified: bool,
    pages_max: u64,
    pages_left: u64,
    pages_read: &'a AtomicU64,
}

impl Pass<'_> {
    /// Returns the newest valid commit, or `None` if the header has changed and names a newer one.
    fn newest_valid_commit(&mut self, file_len: u64) -> Result<Option<(Slot, bool, Vec<Definition>)>, Error> {
        let candidates = match self.header.candidates(file_len) {
            Ok(candidates) => candidates,
            Err(_) if !self.live.is_unchanged(self.header)? => return Ok(None),
            Err(error) => return Err(self.live.header_error(error)),
        };
        let first = (candidates.first, candidates.first_is_rollback);
        let second = candidates.second.map(|slot| (slot, candidates.second_is_rollback));
        let mut first_mismatch = None;
        // Rule 3: the newest commit, the one before it, and the newest again.
        for (slot, rolled_back) in [Some(first), second, second.map(|_| first)].into_iter().flatten() {
            match self.check_commit(&slot) {
                Ok(tables) => return Ok(Some((slot, rolled_back, tables))),
                // If the header has changed, the writer can explain anything, even a change of the file's length.
                Err(WalkError::ChecksumMismatch { .. } | WalkError::Failed(Error::Corrupt { .. }))
                    if !self.live.is_unchanged(self.header)? =>
                {
                    return Ok(None);
                }
                Err(WalkError::Failed(error)) => return Err(error),
                Err(WalkError::ChecksumMismatch { page, table }) => {
                    first_mismatch = first_mismatch.or(Some((page, table)));
                }
            }
        }
        let (page, table) = first_mismatch.unzip();
        let error = self.live.corrupt(page, "its checksum does not match");
        Err(match table.flatten() {
            Some(table) => error.in_table(&table),
            None => error,
        })
    }

    /// Checks the trees of one commit and returns its tables.
    fn check_commit(&mut self, slot: &Slot) -> Result<Vec<Definition>, WalkError> {
        self.pages_left = self.pages_max;
        let tables = self.read_definitions(slot.user)?;
        if matches!(self.scope, Scope::AllTrees(_)) {
            self.check_tables(&tables)?;
        }
        // redb's repair also checks its internal trees before it accepts a commit that may be incomplete.
        if self.header.may_be_incomplete()
            && let Err(error) = self.check_internal_trees(slot)
        {
            // A newer commit exists, so this one was complete. Its internal trees may have been overwritten since.
            let was_complete = matches!(error, WalkError::ChecksumMismatch { .. })
                && self.live.newest_transaction_id()? > slot.transaction_id;
            if !was_complete {
                return Err(error);
            }
        }
        Ok(tables)
    }

    /// Checks redb's internal trees. Views do not expose them.
    fn check_internal_trees(&mut self, slot: &Slot) -> Result<(), WalkError> {
        let tables = self.read_definitions(slot.system)?;
        self.check_tables(&tables)?;
        self.deepen(|pass, levels| Ok(pass.check_tree(slot.freed, FREED_TREE, levels)?.then_some(())))
    }

    /// Walks with one more level each time (iterative deepening), until the walk returns a result.
    ///
    /// Every commit replaces some of the upper pages of a tree, so they are overwritten soonest. There are few of them.
    /// Reading them first copies them to the mirror in time, and the long walk through the lower levels no longer needs
    /// them from the live file. A plain walk in key order reaches some upper pages only after many commits, in every
    /// pass again.
    fn deepen<T>(
        &mut self,
        mut walk: impl FnMut(&mut Self, usize) -> Result<Option<T>, WalkError>,
    ) -> Result<T, WalkError> {
        let mut levels = match self.scope {
            Scope::AllTrees(_) => 1,
            // Without a mirror, pages that are read early have to be read again later.
            Scope::Definitions => usize::MAX,
        };
        let pages_left = self.pages_left;
        loop {
            self.pages_left = pages_left;
            if let Some(result) = walk(self, levels)? {
                return Ok(result);
            }
            levels = levels.saturating_add(1);
        }
    }

    fn read_definitions(&mut self, root: Option<Root>) -> Result<Vec<Definition>, WalkError> {
        let tables = self.deepen(|pass, levels| pass.read_definitions_to(root, levels))?;
        if root.map_or(0, |root| root.entries) != tables.len() as u64 {
            return Err(self.corrupt(None, "the number of tables differs from the header").into());
        }
        Ok(tables)
    }

    /// Returns `None` if the tree has more levels.
    fn read_definitions_to(&mut self, root: Option<Root>, levels: usize) -> Result<Option<Vec<Definition>>, WalkError> {
        self.must_read_leaves = true;
        let mut walk = Walk::new(root, TABLE_TREE).limited_to(levels);
        let mut tables: Vec<Definition> = Vec::new();
        let tables_max = root.map_or(0, |root| root.entries);
        while let Some((number, leaf)) = walk.next_leaf(self)? {
            let corrupt = |reason| self.live.corrupt(Some(number), reason);
            for i in 0..leaf.len() {
                // A hostile branch can reference one leaf many times. Requiring ascending names limits the memory that
                // definitions take to what is stored in the file.
                if tables.last().is_some_and(|last| last.info.name.as_bytes() >= leaf.key(i)) {
                    return Err(corrupt("its tables are not in order").into());
                }
                if tables.len() as u64 >= tables_max {
                    return Err(corrupt("there are more tables than the header says").into());
                }
                tables.push(Definition::parse(leaf.key(i), leaf.value(i)).map_err(corrupt)?);
            }
        }
        Ok((!walk.is_truncated()).then_some(tables))
    }

    /// Checks all tables level by level, together: one commit can replace the upper pages of several tables.
    fn check_tables(&mut self, tables: &[Definition]) -> Result<(), WalkError> {
        if self.number > 1 {
            self.fetch_changes(tables)?;
        }
        let mut unfinished: Vec<&Definition> = tables.iter().collect();
        self.deepen(|pass, levels| {
            for table in std::mem::take(&mut unfinished) {
                let is_finished = pass.check_table(table, levels).map_err(|error| error.in_table(&table.info.name))?;
                if !is_finished {
                    unfinished.push(table);
                }
            }
            Ok(unfinished.is_empty().then_some(()))
        })
    }

    /// Fetches what has changed since the last pass, before anything else, and visits changed branches only.
    ///
    /// If a writer changes the same rows in every commit, it soon overwrites the pages on the path to them. A walk
    /// through all branches would reach that path too late, in every pass.
    fn fetch_changes(&mut self, tables: &[Definition]) -> Result<(), WalkError> {
        let pages_left = self.pages_left;
        self.skip_verified = true;
        let fetched = tables.iter().filter(|table| !table.info.multimap).try_for_each(|table| {
            let walked = self.check_tree(table.root, table.tree_widths(), usize::MAX);
            walked.map(drop).map_err(|error| error.in_table(&table.info.name))
        });
        self.skip_verified = false;
        self.pages_left = pages_left;
        fetched
    }

    /// Checks so many levels of a table. Returns whether it has no more.
    fn check_table(&mut self, table: &Definition, levels: usize) -> Result<bool, WalkError> {
        if table.info.multimap {
            self.check_multimap(table, levels)
        } else {
            self.check_tree(table.root, table.tree_widths(), levels)
        }
    }

    fn check_tree(&mut self, root: Option<Root>, widths: Widths, levels: usize) -> Result<bool, WalkError> {
        self.must_read_leaves = false;
        let mut walk = Walk::new(root, widths).limited_to(levels);
        while walk.next_leaf(self)?.is_some() {}
        Ok(!walk.is_truncated())
    }

    /// Checks a multimap. The values of a key are stored in the leaf, or as the keys of a subtree if there are many.
    fn check_multimap(&mut self, table: &Definition, levels: usize) -> Result<bool, WalkError> {
        let subtree_widths = Widths { key: table.widths.value, value: Some(0) };
        let mut walk = Walk::new(table.root, table.tree_widths()).limited_to(levels);
        let mut is_finished = true;
        loop {
            self.must_read_leaves = true;
            let Some((_, leaf)) = walk.next_leaf(self)? else { return Ok(is_finished && !walk.is_truncated()) };
            for i in 0..leaf.len() {
                is_finished &= self.check_tree(table::subtree(leaf.value(i)), subtree_widths, walk.levels_left())?;
            }
        }
    }

    /// Returns a page from the mirror, or copies it from the live file to the mirror first.
    fn fetch_mirrored(&mut self, mirror: &Mirror, child: Child, widths: Widths) -> Result<Node, WalkError> {
        let geometry = &self.header.geometry;
        let read = file::read_page(&mirror.file, geometry, child, widths);
        if let PageRead::Node(node) = read.map_err(|source| mirror.scratch_error(source))? {
            self.verified.insert(geometry, child, &node);
            return Ok(node);
        }
        let node = self.fetch_live(child, widths)?;
        self.verified.invalidate(geometry, child.number);
        mirror.store(geometry, child.number, &node)?;
        self.verified.insert(geometry, child, &node);
        Ok(node)
    }

    fn fetch_live(&mut self, child: Child, widths: Widths) -> Result<Node, WalkError> {
        let read = file::read_page(&self.live.file, &self.header.geometry, child, widths);
        match read.map_err(|source| self.live.io_error(source))? {
            PageRead::Node(node) => Ok(node),
            PageRead::ChecksumMismatch => Err(WalkError::ChecksumMismatch { page: child.number, table: None }),
            PageRead::Malformed(reason) => Err(self.corrupt(Some(child.number), reason).into()),
        }
    }
}

impl PageSource for Pass<'_> {
    fn fetch(&mut self, child: Child, widths: Widths) -> Result<Node, WalkError> {
        #[cfg(test)]
        tests::run_writer(tests::Step::ReadPage);
        self.pages_read.fetch_add(1, Ordering::Relaxed);
        match self.scope {
            Scope::AllTrees(mirror) => self.fetch_mirrored(mirror, child, widths),
            Scope::Definitions => self.fetch_live(child, widths),
        }
    }

    fn can_skip(&self, child: Child) -> bool {
        if self.skip_verified {
            return self.verified.contains(&self.header.geometry, child);
        }
        !self.must_read_leaves && self.verified.contains_leaf(&self.header.geometry, child)
    }

    fn pages_left(&mut self) -> &mut u64 {
        &mut self.pages_left
    }

    fn corrupt(&self, page: Option<PageNumber>, reason: &'static str) -> Error {
        self.live.corrupt(page, reason)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use redb::{Database, TableDefinition};

    use super::*;

    /// The next system call of a pass.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Step {
        ReadLength,
        ReadPage,
    }

    type Writer = Box<dyn FnMut(Step)>;

    thread_local! {
        /// A writer that runs between two system calls of a pass. It runs on the same thread, so every run is the same.
        static WRITER: RefCell<Option<Writer>> = const { RefCell::new(None) };
    }

    pub(super) fn run_writer(step: Step) {
        WRITER.with_borrow_mut(|writer| {
            if let Some(writer) = writer {
                writer(step);
            }
        });
    }

    const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("table");
    const ROWS: u64 = 12_000;
    const READS_PER_COMMIT: u64 = 30;

    /// Writes rows with long keys: about twenty fit in a branch and three in a leaf, so a small file has four levels.
    fn commit(database: &Database, rows: impl Iterator<Item = u64>, byte: u8) {
        let txn = database.begin_write().unwrap();
        let mut table = txn.open_table(TABLE).unwrap();
        rows.for_each(|i| drop(table.insert(format!("{i:0200}").as_str(), [byte; 1_000].as_slice()).unwrap()));
        drop(table);
        txn.commit().unwrap();
    }

    /// Returns the number of passes that a view takes while one row is changed every 30 pages. `row` maps the number of
    /// the commit to the row that it changes.
    fn passes_with_writer(row: impl Fn(u64) -> u64 + 'static) -> u32 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let database = Database::create(&path).unwrap();
        commit(&database, 0..ROWS, 0);
        let live = DatabaseFile::open(&path).unwrap();
        let mirror = Mirror::copy_of(&live, dir.path()).unwrap();
        let mut commits = 0u64;
        let mut commit_one = move || {
            commits += 1;
            commit(&database, std::iter::once(row(commits)), commits as u8);
        };
        // This simulates a writer that is active while a large file is copied: almost no branch of the copy is current.
        (0..1_000).for_each(|_| commit_one());

        let mut reads = 0u64;
        let writer = move |step| {
            reads += u64::from(step == Step::ReadPage);
            if step == Step::ReadPage && reads.is_multiple_of(READS_PER_COMMIT) {
                commit_one();
            }
        };
        let pages_read = AtomicU64::new(0);
        WRITER.set(Some(Box::new(writer)));
        let selected = select_commit(&live, &Scope::AllTrees(&mirror), 100, &pages_read);
        WRITER.set(None);
        selected.unwrap().passes
    }

    #[test]
    fn many_commits_per_pass_do_not_starve_a_view() {
        assert!(passes_with_writer(|commits| commits * 7919 % ROWS) < 50);
    }

    /// The pages on the path to this row are overwritten after two commits, and a walk in key order reaches them last.
    #[test]
    fn repeated_changes_of_one_row_do_not_starve_a_view() {
        assert!(passes_with_writer(|_| ROWS - 1) < 50);
    }

    #[test]
    fn a_file_that_shrinks_after_its_header_was_read_is_not_corrupt() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut database = Database::create(&path).unwrap();
        commit(&database, 0..ROWS, 1);
        let live = DatabaseFile::open(&path).unwrap();
        let mirror = Mirror::copy_of(&live, dir.path()).unwrap();
        let len_before = live.len_bytes().unwrap();
        let mut is_done = false;
        let writer = move |step| {
            if step == Step::ReadLength && !std::mem::replace(&mut is_done, true) {
                let txn = database.begin_write().unwrap();
                txn.delete_table(TABLE).unwrap();
                txn.commit().unwrap();
                while database.compact().unwrap() {}
            }
        };
        WRITER.set(Some(Box::new(writer)));
        let selected = select_commit(&live, &Scope::AllTrees(&mirror), 1, &AtomicU64::new(0));
        WRITER.set(None);
        assert!(live.len_bytes().unwrap() < len_before / 4);
        selected.unwrap();
    }
}
