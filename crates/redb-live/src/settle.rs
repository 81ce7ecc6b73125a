//! Settling on one committed state: which slot to take, whether its trees hold, and whether a page that fails means
//! damage or a writer at work.
//!
//! What a writer does to the file, in redb 2.6: pages of a commit are written to places that neither the newest commit
//! nor the one before it uses, in any order and, in a one-phase commit, in any order with the header too; so the header
//! may name a commit whose pages are still on their way. Three rules follow, and everything here stands on them:
//!
//! 1. The newest commit, once all of it is written, stays whole at least until the header changes again.
//! 2. While the newest commit is still being written, the one before it is whole.
//! 3. So where the newest fails, then the one before fails, then the newest fails again, and the header has not changed
//!    in all that time, no writer explains it: the file is damaged.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    error::Error,
    file::{self, DatabaseFile, Read},
    header::{Header, Slot},
    mirror::{Marks, Mirror},
    page::{Child, Node, PageNumber, Root, Widths},
    table::{self, Definition},
    walk::{Source, Trouble, Walk},
};

/// Names of tables to their definitions: both of any length.
const TABLE_TREE: Widths = Widths { key: None, value: None };
/// Transaction and page of a list, both u64, to a list of pages.
const FREED_TREE: Widths = Widths { key: Some(16), value: None };

/// The state that was settled on.
#[derive(Debug)]
pub(crate) struct Settled {
    pub header: Header,
    pub transaction_id: u64,
    pub rolled_back: bool,
    pub tables: Vec<Definition>,
    pub passes: u32,
    pub pages_max: u64,
}

/// How deep a state is checked before it is given out.
pub(crate) enum Depth<'a> {
    /// The tables' definitions only; rows are checked as they are streamed.
    Definitions,
    /// All of it, and the mirror made to hold it.
    Everything(&'a Mirror),
}

impl Depth<'_> {
    fn mirror_len(&self) -> u64 {
        match self {
            Depth::Everything(mirror) => mirror.database_len,
            Depth::Definitions => 0,
        }
    }
}

/// Finds the newest state that holds. `Busy` when in each pass the writer was faster.
pub(crate) fn settle(
    live: &DatabaseFile,
    depth: &Depth<'_>,
    passes_max: u32,
    pages_read: &AtomicU64,
) -> Result<Settled, Error> {
    let mut marks = Marks::default();
    for pass in 1..=passes_max.max(1) {
        let len_before = live.len_bytes()?;
        let header = live.header()?;
        #[cfg(test)]
        tests::reached(tests::Moment::Length);
        let file_len = live.len_bytes()?;
        // The file may have shrunk since the header was read, and the mirror still have all that the header names.
        let longest_len = file_len.max(len_before).max(depth.mirror_len());
        let pages_max = longest_len / u64::from(header.geometry.page_size) + 1;
        let mut check = Check {
            live,
            depth,
            marks: &mut marks,
            header: &header,
            pass,
            see_leaves: true,
            see_news_only: false,
            pages_max,
            pages_left: pages_max,
            pages_read,
        };
        if let Some((slot, rolled_back, tables)) = check.newest_that_holds(file_len)? {
            let transaction_id = slot.transaction_id;
            return Ok(Settled { header, transaction_id, rolled_back, tables, passes: pass, pages_max });
        }
    }
    Err(Error::Busy { passes: passes_max.max(1) })
}

/// One pass, under one reading of the header.
struct Check<'a> {
    live: &'a DatabaseFile,
    depth: &'a Depth<'a>,
    marks: &'a mut Marks,
    header: &'a Header,
    /// Counted from 1.
    pass: u32,
    /// Whether leaves that are known to be right must be read all the same, for what stands in them.
    see_leaves: bool,
    /// Whether to look only for pages that the mirror is not known to hold, and below such pages only.
    see_news_only: bool,
    pages_max: u64,
    pages_left: u64,
    pages_read: &'a AtomicU64,
}

impl Check<'_> {
    /// Nothing where the header has changed: there is a newer state to try.
    fn newest_that_holds(&mut self, file_len: u64) -> Result<Option<(Slot, bool, Vec<Definition>)>, Error> {
        let candidates = match self.header.candidates(file_len) {
            Ok(candidates) => candidates,
            Err(_) if !self.live.is_unchanged(self.header)? => return Ok(None),
            Err(error) => return Err(self.live.header_error(error)),
        };
        let first = (candidates.first, candidates.first_is_rollback);
        let second = candidates.second.map(|slot| (slot, candidates.second_is_rollback));
        let mut torn = None;
        for (slot, rolled_back) in [Some(first), second, second.map(|_| first)].into_iter().flatten() {
            match self.state(&slot) {
                Ok(tables) => return Ok(Some((slot, rolled_back, tables))),
                // Damage is only what no writer explains, and one at work may have changed even the file's length.
                Err(Trouble::Torn(..) | Trouble::Failed(Error::Damaged { .. }))
                    if !self.live.is_unchanged(self.header)? =>
                {
                    return Ok(None);
                }
                Err(Trouble::Failed(error)) => return Err(error),
                Err(Trouble::Torn(page, table)) => torn = torn.or(Some((page, table))),
            }
        }
        let (page, table) = torn.unzip();
        let error = self.live.damaged(page, "its checksum does not hold");
        Err(match table.flatten() {
            Some(table) => error.in_table(&table),
            None => error,
        })
    }

    /// Checks one commit. redb's own repair looks at all of its trees before it takes a commit that may be incomplete.
    fn state(&mut self, slot: &Slot) -> Result<Vec<Definition>, Trouble> {
        self.pages_left = self.pages_max;
        let tables = self.tables(slot.user)?;
        if matches!(self.depth, Depth::Everything(_)) {
            self.rows(&tables)?;
        }
        if self.header.may_be_incomplete()
            && let Err(trouble) = self.bookkeeping(slot)
        {
            // A commit that others have followed was complete, whatever has become of its bookkeeping since.
            let followed = matches!(trouble, Trouble::Torn(..)) && self.live.newest_id()? > slot.transaction_id;
            if !followed {
                return Err(trouble);
            }
        }
        Ok(tables)
    }

    /// redb's own trees, none of which is given out.
    fn bookkeeping(&mut self, slot: &Slot) -> Result<(), Trouble> {
        let system = self.tables(slot.system)?;
        self.rows(&system)?;
        self.level_by_level(|check, levels| Ok(check.tree(slot.freed, FREED_TREE, levels)?.then_some(())))
    }

    /// Walks with one level more each time until nothing is left out. The upper pages are those that live shortest, as
    /// every commit replaces some of them, and they are few: so they come into the mirror before the writer reuses
    /// them, and the long walk through the lower ones needs them no more from the live file. In key order they would
    /// be reached after the commits of a whole walk, in every pass again.
    fn level_by_level<T>(
        &mut self,
        mut walk: impl FnMut(&mut Self, usize) -> Result<Option<T>, Trouble>,
    ) -> Result<T, Trouble> {
        let mut levels = match self.depth {
            Depth::Everything(_) => 1,
            // Without a mirror to keep them in, pages read early are read again late.
            Depth::Definitions => usize::MAX,
        };
        let pages_left = self.pages_left;
        loop {
            self.pages_left = pages_left;
            if let Some(whole) = walk(self, levels)? {
                return Ok(whole);
            }
            levels = levels.saturating_add(1);
        }
    }

    fn tables(&mut self, root: Option<Root>) -> Result<Vec<Definition>, Trouble> {
        let tables = self.level_by_level(|check, levels| check.tables_above(root, levels))?;
        if root.map_or(0, |root| root.entries) != tables.len() as u64 {
            return Err(self.damaged(None, "the count of tables is not what the header says").into());
        }
        Ok(tables)
    }

    /// Nothing where the tree has more levels.
    fn tables_above(&mut self, root: Option<Root>, levels: usize) -> Result<Option<Vec<Definition>>, Trouble> {
        self.see_leaves = true;
        let mut walk = Walk::new(root, TABLE_TREE).above(levels);
        let mut tables: Vec<Definition> = Vec::new();
        let tables_max = root.map_or(0, |root| root.entries);
        while let Some((number, leaf)) = walk.next_leaf(self)? {
            let damaged = |reason| self.live.damaged(Some(number), reason);
            for i in 0..leaf.len() {
                // Branches may name one leaf as often as they like. The order bounds what is kept by what is stored.
                if tables.last().is_some_and(|last| last.info.name.as_bytes() >= leaf.key(i)) {
                    return Err(damaged("its tables are out of order").into());
                }
                if tables.len() as u64 >= tables_max {
                    return Err(damaged("there are more tables than the header says").into());
                }
                tables.push(Definition::parse(leaf.key(i), leaf.value(i)).map_err(damaged)?);
            }
        }
        Ok((!walk.is_cut()).then_some(tables))
    }

    /// All tables level by level together: one commit may replace the upper pages of several.
    fn rows(&mut self, tables: &[Definition]) -> Result<(), Trouble> {
        if self.pass > 1 {
            self.news(tables)?;
        }
        let mut unfinished: Vec<&Definition> = tables.iter().collect();
        self.level_by_level(|check, levels| {
            for table in std::mem::take(&mut unfinished) {
                let is_whole = check.table(table, levels).map_err(|trouble| trouble.in_table(&table.info.name))?;
                if !is_whole {
                    unfinished.push(table);
                }
            }
            Ok(unfinished.is_empty().then_some(()))
        })
    }

    /// Fetches what has changed since the last pass before all else, along the changed branches alone: a writer that changes
    /// the same rows in every commit soon reuses the pages on the way to them, and the walk through all branches would come
    /// there too late in every pass.
    fn news(&mut self, tables: &[Definition]) -> Result<(), Trouble> {
        let pages_left = self.pages_left;
        self.see_news_only = true;
        let fetched = tables.iter().filter(|table| !table.info.multimap).try_for_each(|table| {
            let walked = self.tree(table.root, table.tree_widths(), usize::MAX);
            walked.map(drop).map_err(|trouble| trouble.in_table(&table.info.name))
        });
        self.see_news_only = false;
        self.pages_left = pages_left;
        fetched
    }

    /// Whether the table has no more levels, as of [`tree`](Self::tree) and [`multimap`](Self::multimap).
    fn table(&mut self, table: &Definition, levels: usize) -> Result<bool, Trouble> {
        if table.info.multimap {
            self.multimap(table, levels)
        } else {
            self.tree(table.root, table.tree_widths(), levels)
        }
    }

    fn tree(&mut self, root: Option<Root>, widths: Widths, levels: usize) -> Result<bool, Trouble> {
        self.see_leaves = false;
        let mut walk = Walk::new(root, widths).above(levels);
        while walk.next_leaf(self)?.is_some() {}
        Ok(!walk.is_cut())
    }

    /// A multimap's values stand in its leaves, or, where they are many, in a tree of their own as its keys.
    fn multimap(&mut self, table: &Definition, levels: usize) -> Result<bool, Trouble> {
        let subtree_widths = Widths { key: table.widths.value, value: Some(0) };
        let mut walk = Walk::new(table.root, table.tree_widths()).above(levels);
        let mut is_whole = true;
        loop {
            self.see_leaves = true;
            let Some((_, leaf)) = walk.next_leaf(self)? else { return Ok(is_whole && !walk.is_cut()) };
            for i in 0..leaf.len() {
                is_whole &= self.tree(table::subtree(leaf.value(i)), subtree_widths, walk.levels_below())?;
            }
        }
    }

    fn fetch_mirror(&mut self, mirror: &Mirror, child: Child, widths: Widths) -> Result<Node, Trouble> {
        let geometry = &self.header.geometry;
        let read = file::read_page(&mirror.file, geometry, child, widths);
        if let Read::Node(node) = read.map_err(|source| mirror.scratch_error(source))? {
            self.marks.mark(geometry, child, &node);
            return Ok(node);
        }
        let node = self.fetch_live(child, widths)?;
        self.marks.unmark(geometry, child.number);
        mirror.store(geometry, child.number, &node)?;
        self.marks.mark(geometry, child, &node);
        Ok(node)
    }

    fn fetch_live(&mut self, child: Child, widths: Widths) -> Result<Node, Trouble> {
        let read = file::read_page(&self.live.file, &self.header.geometry, child, widths);
        match read.map_err(|source| self.live.io_error(source))? {
            Read::Node(node) => Ok(node),
            Read::Torn => Err(Trouble::Torn(child.number, None)),
            Read::Malformed(reason) => Err(self.damaged(Some(child.number), reason).into()),
        }
    }
}

impl Source for Check<'_> {
    fn fetch(&mut self, child: Child, widths: Widths) -> Result<Node, Trouble> {
        #[cfg(test)]
        tests::reached(tests::Moment::Page);
        self.pages_read.fetch_add(1, Ordering::Relaxed);
        match self.depth {
            Depth::Everything(mirror) => self.fetch_mirror(mirror, child, widths),
            Depth::Definitions => self.fetch_live(child, widths),
        }
    }

    fn is_settled(&self, child: Child) -> bool {
        if self.see_news_only {
            return self.marks.holds(&self.header.geometry, child);
        }
        !self.see_leaves && self.marks.is_leaf(&self.header.geometry, child)
    }

    fn pages_left(&mut self) -> &mut u64 {
        &mut self.pages_left
    }

    fn damaged(&self, page: Option<PageNumber>, reason: &'static str) -> Error {
        self.live.damaged(page, reason)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use redb::{Database, TableDefinition};

    use super::*;

    /// What a pass is about to read.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Moment {
        Length,
        Page,
    }

    type Writer = Box<dyn FnMut(Moment)>;

    thread_local! {
        /// A writer whose turn comes between two system calls of a pass: the same turns in every run of a test.
        static WRITER: RefCell<Option<Writer>> = const { RefCell::new(None) };
    }

    pub(super) fn reached(moment: Moment) {
        WRITER.with_borrow_mut(|writer| {
            if let Some(writer) = writer {
                writer(moment);
            }
        });
    }

    const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("table");
    const ROWS: u64 = 12_000;
    const READS_PER_COMMIT: u64 = 30;

    /// Some twenty such keys fit into a branch and three rows into a leaf: four levels in a small file.
    fn commit(database: &Database, rows: impl Iterator<Item = u64>, byte: u8) {
        let txn = database.begin_write().unwrap();
        let mut table = txn.open_table(TABLE).unwrap();
        rows.for_each(|i| drop(table.insert(format!("{i:0200}").as_str(), [byte; 1_000].as_slice()).unwrap()));
        drop(table);
        txn.commit().unwrap();
    }

    /// The passes that a view takes while every 30 pages that it reads a row is changed, `row` of the number of the commit.
    fn passes_beside_a_writer(row: impl Fn(u64) -> u64 + 'static) -> u32 {
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
        // What a writer does while a large file is copied: hardly a branch of the copy is of use.
        (0..1_000).for_each(|_| commit_one());

        let mut reads = 0u64;
        let writer = move |moment| {
            reads += u64::from(moment == Moment::Page);
            if moment == Moment::Page && reads.is_multiple_of(READS_PER_COMMIT) {
                commit_one();
            }
        };
        let pages_read = AtomicU64::new(0);
        WRITER.set(Some(Box::new(writer)));
        let settled = settle(&live, &Depth::Everything(&mirror), 100, &pages_read);
        WRITER.set(None);
        settled.unwrap().passes
    }

    #[test]
    fn a_writer_that_commits_many_times_in_a_pass_does_not_starve_a_view() {
        assert!(passes_beside_a_writer(|commits| commits * 7919 % ROWS) < 50);
    }

    /// The pages on the way to this row live for two commits only, and it is the last that a walk in key order comes to.
    #[test]
    fn a_writer_that_changes_one_row_again_and_again_does_not_starve_a_view() {
        assert!(passes_beside_a_writer(|_| ROWS - 1) < 50);
    }

    #[test]
    fn a_file_that_shrinks_while_its_header_is_read_is_not_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut database = Database::create(&path).unwrap();
        commit(&database, 0..ROWS, 1);
        let live = DatabaseFile::open(&path).unwrap();
        let mirror = Mirror::copy_of(&live, dir.path()).unwrap();
        let long_len = live.len_bytes().unwrap();
        let mut is_done = false;
        let writer = move |moment| {
            if moment == Moment::Length && !std::mem::replace(&mut is_done, true) {
                let txn = database.begin_write().unwrap();
                txn.delete_table(TABLE).unwrap();
                txn.commit().unwrap();
                while database.compact().unwrap() {}
            }
        };
        WRITER.set(Some(Box::new(writer)));
        let settled = settle(&live, &Depth::Everything(&mirror), 1, &AtomicU64::new(0));
        WRITER.set(None);
        assert!(live.len_bytes().unwrap() < long_len / 4);
        settled.unwrap();
    }
}
