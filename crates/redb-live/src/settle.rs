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

/// Finds the newest state that holds. `Busy` when in each pass the writer was faster.
pub(crate) fn settle(
    live: &DatabaseFile,
    depth: &Depth<'_>,
    passes_max: u32,
    pages_read: &AtomicU64,
) -> Result<Settled, Error> {
    let mut marks = Marks::default();
    for pass in 1..=passes_max.max(1) {
        let header = live.header()?;
        let file_len = live.len_bytes()?;
        let pages_max = file_len / u64::from(header.geometry.page_size) + 1;
        let mut check = Check {
            live,
            depth,
            marks: &mut marks,
            header: &header,
            see_leaves: true,
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
    /// Whether leaves that are known to be right must be read all the same, for what stands in them.
    see_leaves: bool,
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
                Err(Trouble::Failed(error)) => return Err(error),
                Err(Trouble::Torn(..)) if !self.live.is_unchanged(self.header)? => return Ok(None),
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
        self.tree(slot.freed, FREED_TREE)
    }

    fn tables(&mut self, root: Option<Root>) -> Result<Vec<Definition>, Trouble> {
        self.see_leaves = true;
        let mut walk = Walk::new(root, TABLE_TREE);
        let mut tables = Vec::new();
        while let Some((number, leaf)) = walk.next_leaf(self)? {
            for i in 0..leaf.len() {
                let definition = Definition::parse(leaf.key(i), leaf.value(i));
                tables.push(definition.map_err(|reason| self.damaged(Some(number), reason))?);
            }
        }
        if root.map_or(0, |root| root.entries) != tables.len() as u64 {
            return Err(self.damaged(None, "the count of tables is not what the header says").into());
        }
        Ok(tables)
    }

    fn rows(&mut self, tables: &[Definition]) -> Result<(), Trouble> {
        for table in tables {
            let checked =
                if table.info.multimap { self.multimap(table) } else { self.tree(table.root, table.tree_widths()) };
            checked.map_err(|trouble| trouble.in_table(&table.info.name))?;
        }
        Ok(())
    }

    fn tree(&mut self, root: Option<Root>, widths: Widths) -> Result<(), Trouble> {
        self.see_leaves = false;
        let mut walk = Walk::new(root, widths);
        while walk.next_leaf(self)?.is_some() {}
        Ok(())
    }

    /// A multimap's values stand in its leaves, or, where they are many, in a tree of their own as its keys.
    fn multimap(&mut self, table: &Definition) -> Result<(), Trouble> {
        let subtree_widths = Widths { key: table.widths.value, value: Some(0) };
        let mut walk = Walk::new(table.root, table.tree_widths());
        loop {
            self.see_leaves = true;
            let Some((_, leaf)) = walk.next_leaf(self)? else { return Ok(()) };
            for i in 0..leaf.len() {
                self.tree(table::subtree(leaf.value(i)), subtree_widths)?;
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
        self.pages_read.fetch_add(1, Ordering::Relaxed);
        match self.depth {
            Depth::Everything(mirror) => self.fetch_mirror(mirror, child, widths),
            Depth::Definitions => self.fetch_live(child, widths),
        }
    }

    fn is_settled(&self, child: Child) -> bool {
        !self.see_leaves && self.marks.is_leaf(&self.header.geometry, child)
    }

    fn pages_left(&mut self) -> &mut u64 {
        &mut self.pages_left
    }

    fn damaged(&self, page: Option<PageNumber>, reason: &'static str) -> Error {
        self.live.damaged(page, reason)
    }
}
