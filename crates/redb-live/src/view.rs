//! The public face: a live file, a view of one committed state of it, and the rows of its tables, leaf by leaf.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    error::Error,
    file::{self, DatabaseFile, Read},
    header::Header,
    mirror::Mirror,
    page::{Child, Leaf, Node, PageNumber, Widths},
    settle::{self, Depth},
    table::{Definition, TableInfo},
    walk::{Found, Source, Trouble, Walk},
};

/// So many pages are streamed from the live file before its header is looked at again.
const PAGES_PER_LOOK: u64 = 64;

/// How a view reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Straight from the live file, page by page as they are streamed. No scratch space is needed while nothing is
    /// committed. Where something is, streaming may end in [`Error::Moved`].
    ///
    /// Such a view vouches for the tables that were streamed to their end, and for no other: of a commit that a crash
    /// cut off, one table may be whole and another not, and then redb rolls both back. A caller that needs the commit to
    /// hold in tables that it does not stream takes [`Mode::Mirror`].
    Direct,
    /// From a private copy that is completed and checked, in all tables, before the view is given out. No writer can
    /// disturb it then.
    #[default]
    Mirror,
}

/// How to take a view. Start from `default()`.
#[derive(Debug, Clone)]
pub struct ViewOptions {
    /// The directory for the mirror; by default that of [`std::env::temp_dir`].
    pub scratch_dir: Option<PathBuf>,
    /// How to read; by default [`Mode::Mirror`].
    pub mode: Mode,
    /// Whether a view in [`Mode::Direct`] that notices a commit copies the file, so that no later one can disturb it; by default
    /// it does. Whoever reads little, and would rather begin again than copy, does without: then a page that the writer has
    /// reused ends the view.
    pub mirror_commits: bool,
    /// How often to start from a newer commit before giving up; by default 100, and at least 1.
    pub passes_max: u32,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { scratch_dir: None, mode: Mode::default(), mirror_commits: true, passes_max: 100 }
    }
}

/// A redb file that somebody may be writing. Holds no lock, and writes nothing to it.
///
/// It stays with the file that was at the path when it was opened, also after another is renamed over that.
#[derive(Debug, Clone)]
pub struct LiveFile {
    live: Arc<DatabaseFile>,
}

impl LiveFile {
    /// Opens a file for reading and looks at its header.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Io`], [`Error::NotRedb`], [`Error::UnsupportedVersion`], and [`Error::Damaged`]
    /// where the header cannot be.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let live = DatabaseFile::open(path.as_ref())?;
        live.header()?;
        Ok(Self { live: Arc::new(live) })
    }

    /// The id of the newest commit in the file at this moment.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn transaction_id(&self) -> Result<u64, Error> {
        self.live.newest_id()
    }

    /// Takes a view of the newest committed state.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where no state holds and no writer explains it. [`Error::Busy`] in [`Mode::Mirror`] and
    /// [`Error::Moved`] in [`Mode::Direct`] where the writer was faster in every pass. [`Error::NoSpace`] and
    /// [`Error::Scratch`] where the mirror cannot be made. Beside these, what [`open`](Self::open) gives.
    pub fn view(&self, options: &ViewOptions) -> Result<View, Error> {
        let scratch_dir = options.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
        let pages_read = AtomicU64::new(0);
        let (mirror, settled) = match options.mode {
            Mode::Mirror => {
                let mirror = Mirror::copy_of(&self.live, &scratch_dir)?;
                let settled = settle::settle(&self.live, &Depth::Everything(&mirror), options.passes_max, &pages_read)?;
                (Some(mirror), settled)
            }
            Mode::Direct => {
                let settled = settle::settle(&self.live, &Depth::Definitions, options.passes_max, &pages_read);
                (None, settled.map_err(|error| if let Error::Busy { .. } = error { Error::Moved } else { error })?)
            }
        };
        let pages = Pages {
            live: Arc::clone(&self.live),
            mirror_commits: options.mirror_commits,
            is_complete: mirror.is_some(),
            mirror: mirror.map_or_else(OnceLock::new, |mirror| OnceLock::from(Ok(mirror))),
            scratch_dir,
            header: settled.header,
            pages_max: settled.pages_max,
            pages_read,
        };
        Ok(View {
            state: Arc::new(State {
                pages: Arc::new(pages),
                tables: settled.tables.into_iter().map(Arc::new).collect(),
                transaction_id: settled.transaction_id,
                rolled_back: settled.rolled_back,
                passes: settled.passes,
            }),
        })
    }
}

/// One committed state of a database. A clone is cheap and shares the mirror.
#[derive(Debug, Clone)]
pub struct View {
    state: Arc<State>,
}

impl View {
    /// The id of the commit that is viewed. It is no identity: after a roll-back redb gives the same ids to other
    /// commits. And it is no promise: a commit whose fsync has not ended can be viewed, and then be lost in a power cut.
    pub fn transaction_id(&self) -> u64 {
        self.state.transaction_id
    }

    /// Whether the commit before the one that the header names as the newest is viewed, because that does not hold: a
    /// crash cut it off, or it was being written, so that a healthy and busy file gives true as well. redb would take
    /// the same state in repairing the file.
    ///
    /// It is false where the header named the viewed commit, although a later one was in the other slot and incomplete.
    pub fn rolled_back(&self) -> bool {
        self.state.rolled_back
    }

    /// Whether pages are read from a private copy. In [`Mode::Direct`] that begins when a commit is noticed.
    pub fn is_mirrored(&self) -> bool {
        self.state.pages.mirror.get().is_some_and(Result::is_ok)
    }

    /// How many passes it took to settle on this state; at least 1.
    pub fn passes(&self) -> u32 {
        self.state.passes
    }

    /// How many pages have been read and checked for this view so far.
    pub fn pages_read(&self) -> u64 {
        self.state.pages.pages_read.load(Ordering::Relaxed)
    }

    /// The user's tables, in the order of their names.
    ///
    /// # Errors
    ///
    /// None today: the definitions were read when the view was taken.
    pub fn tables(&self) -> Result<Vec<TableInfo>, Error> {
        Ok(self.state.tables.iter().map(|table| table.info.clone()).collect())
    }

    /// A table by its name; nothing where there is none. In [`Mode::Direct`] only the definition has been checked: that
    /// the commit holds in this table is known when the table has been streamed to its end, and says nothing of others.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedTable`] for a multimap table.
    pub fn table(&self, name: &str) -> Result<Option<Table>, Error> {
        let Some(definition) = self.state.tables.iter().find(|table| table.info.name == name) else {
            return Ok(None);
        };
        if let Some(reason) = definition.unsupported() {
            return Err(Error::UnsupportedTable { table: name.to_owned(), reason });
        }
        Ok(Some(Table { pages: Arc::clone(&self.state.pages), definition: Arc::clone(definition) }))
    }
}

/// A table of a view. Keeps the view's state alive.
#[derive(Debug, Clone)]
pub struct Table {
    pages: Arc<Pages>,
    definition: Arc<Definition>,
}

impl Table {
    /// What the database says of the table.
    pub fn info(&self) -> &TableInfo {
        &self.definition.info
    }

    /// The rows from the first on, in key order, leaf by leaf.
    pub fn leaves(&self) -> Leaves {
        let definition = &self.definition;
        Leaves {
            walk: Walk::new(definition.root, definition.tree_widths()),
            pages_left: self.pages.pages_max,
            pages: Arc::clone(&self.pages),
            definition: Arc::clone(definition),
            rows: 0,
            is_partial: false,
            last_key: None,
            is_done: false,
        }
    }
}

/// What a cursor comes to next that leaves out the leaves it is told are known.
#[derive(Debug)]
pub enum LeafOrKnown {
    /// A leaf, read and checked.
    Leaf(Leaf),
    /// The checksum of a leaf that is known, and was not read.
    Known(u128),
}

/// A cursor over a table's leaves. Holds the branches above the next leaf in memory and no more.
#[derive(Debug)]
pub struct Leaves {
    pages: Arc<Pages>,
    definition: Arc<Definition>,
    walk: Walk,
    /// A tree has no more pages than its file.
    pages_left: u64,
    rows: u64,
    /// Whether rows were skipped.
    is_partial: bool,
    last_key: Option<Vec<u8>>,
    is_done: bool,
}

impl Leaves {
    /// The next leaf; nothing after the last one and after an error.
    ///
    /// # Errors
    ///
    /// [`Error::Moved`] where the writer has reused a page, which cannot be in [`Mode::Mirror`]; instead of it
    /// [`Error::NoSpace`], [`Error::Scratch`] or [`Error::Io`] where a mirror would have kept the page and could not be
    /// made. [`Error::Damaged`] where a page does not hold and no writer explains it, where keys are out of order, or
    /// where the rows are not as many as the table says, which the last call tells. [`Error::Io`] and
    /// [`Error::Scratch`] where reading fails.
    pub fn next_leaf(&mut self) -> Result<Option<Leaf>, Error> {
        match self.next_or_known(|_| None)? {
            Some(LeafOrKnown::Leaf(leaf)) => Ok(Some(leaf)),
            _ => Ok(None),
        }
    }

    /// Goes on to the leaf that holds `key`, or would; its first rows may come before the key. Stays where that leaf has been
    /// passed. What lies between is not read, so that such a cursor cannot know that no row is missing, and counts none.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedTable`] where the keys are not in the order of their bytes: only `&str` and `&[u8]` are.
    pub fn skip_to(&mut self, key: &[u8]) -> Result<(), Error> {
        if !self.definition.orders_by_bytes() {
            let reason = "its keys are not in the order of their bytes";
            return Err(Error::UnsupportedTable { table: self.definition.info.name.clone(), reason });
        }
        self.walk.skip_to(key);
        self.is_partial = true;
        Ok(())
    }

    /// The next leaf, or, where `rows_of_known` gives the count of rows for its checksum, that checksum: such a leaf is not
    /// read. Its parent, which was, vouches for the checksum, and so for the rows that had it when they were read; not for that
    /// the page still is what it was.
    ///
    /// # Errors
    ///
    /// As [`next_leaf`](Self::next_leaf).
    pub fn next_or_known(&mut self, rows_of_known: impl Fn(u128) -> Option<u64>) -> Result<Option<LeafOrKnown>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let next = self.checked_next(rows_of_known);
        self.is_done = !matches!(next, Ok(Some(_)));
        next.map_err(|error| error.in_table(&self.definition.info.name))
    }

    fn checked_next(&mut self, rows_of_known: impl Fn(u128) -> Option<u64>) -> Result<Option<LeafOrKnown>, Error> {
        let mut stream = Stream { pages: &self.pages, pages_left: &mut self.pages_left };
        let next = self.walk.next(&mut stream, |checksum| rows_of_known(checksum).is_some());
        let next = next.map_err(|trouble| match trouble {
            Trouble::Failed(error) => stream.explained(error),
            Trouble::Torn(page, _) => stream.damaged(Some(page), "its checksum does not hold"),
        })?;
        let damaged = |page, reason| Err(self.pages.live.damaged(page, reason));
        let rows_max = self.definition.info.rows;
        let (number, rows) = match &next {
            None if self.rows == rows_max || self.is_partial => return Ok(None),
            None => return damaged(None, "rows are missing"),
            Some(Found::Leaf(number, leaf)) => (Some(*number), leaf.len() as u64),
            Some(Found::Known(checksum)) => (None, rows_of_known(*checksum).unwrap_or_default()),
        };
        self.rows = self.rows.saturating_add(rows);
        if self.rows > rows_max {
            return damaged(number, "there are more rows than the table says");
        }
        match next {
            Some(Found::Leaf(..)) if !self.definition.orders_by_bytes() => {}
            Some(Found::Leaf(number, ref leaf)) if !self.is_ascending(leaf) => {
                return Err(self.pages.live.damaged(Some(number), "its keys are out of order"));
            }
            _ => {}
        }
        Ok(next.map(|found| match found {
            Found::Leaf(_, leaf) => LeafOrKnown::Leaf(leaf),
            Found::Known(checksum) => LeafOrKnown::Known(checksum),
        }))
    }

    fn is_ascending(&mut self, leaf: &Leaf) -> bool {
        let mut last = self.last_key.as_deref();
        for key in (0..leaf.len()).map(|i| leaf.key(i)) {
            if last.is_some_and(|last| last >= key) {
                return false;
            }
            last = Some(key);
        }
        let kept = self.last_key.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(leaf.key(leaf.len().saturating_sub(1)));
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

#[derive(Debug)]
struct State {
    pages: Arc<Pages>,
    tables: Vec<Arc<Definition>>,
    transaction_id: u64,
    rolled_back: bool,
    passes: u32,
}

/// Where all cursors of a view get their pages.
#[derive(Debug)]
struct Pages {
    live: Arc<DatabaseFile>,
    /// Made when the view is taken, or when the first cursor notices a commit. Where it could not be made, the live
    /// file is read on as long as that goes well; when it no longer does, the error here is why.
    mirror: OnceLock<Result<Mirror, Error>>,
    /// Whether a mirror is made when a commit is noticed.
    mirror_commits: bool,
    /// Whether the mirror holds everything, so that the live file is of no interest any more.
    is_complete: bool,
    scratch_dir: PathBuf,
    /// The header under which the view was taken.
    header: Header,
    pages_max: u64,
    pages_read: AtomicU64,
}

impl Pages {
    fn fetch(&self, child: Child, widths: Widths) -> Result<Node, Error> {
        let read_before = self.pages_read.fetch_add(1, Ordering::Relaxed);
        if self.mirror_commits && read_before.is_multiple_of(PAGES_PER_LOOK) && self.mirror.get().is_none() {
            self.mirror_if_moved()?;
        }
        if let Some(Ok(mirror)) = self.mirror.get() {
            let read = file::read_page(&mirror.file, &self.header.geometry, child, widths);
            match read.map_err(|source| mirror.scratch_error(source))? {
                Read::Node(node) => return Ok(node),
                Read::Malformed(reason) => return Err(self.live.damaged(Some(child.number), reason)),
                Read::Torn if self.is_complete => {
                    return Err(mirror.scratch_error(std::io::Error::other("the scratch file has changed")));
                }
                Read::Torn => {}
            }
        }
        self.fetch_live(child, widths)
    }

    /// Reads from the live file. A page that fails twice under the same header is damage, unless the commit may never
    /// have been complete: then taking a view in mirror mode decides.
    fn fetch_live(&self, child: Child, widths: Widths) -> Result<Node, Error> {
        for _ in 0..2 {
            let read = file::read_page(&self.live.file, &self.header.geometry, child, widths);
            match read.map_err(|source| self.live.io_error(source))? {
                Read::Node(node) => return Ok(node),
                Read::Malformed(reason) => return Err(self.live.damaged(Some(child.number), reason)),
                Read::Torn if self.header.may_be_incomplete() || !self.live.is_unchanged(&self.header)? => {
                    return Err(self.moved());
                }
                Read::Torn => {}
            }
        }
        Err(self.live.damaged(Some(child.number), "its checksum does not hold"))
    }

    /// A mirror would have kept the page. Where none could be made, that is what the caller can do something about.
    fn moved(&self) -> Error {
        let failure = self.mirror.get().and_then(|mirror| mirror.as_ref().err());
        failure.and_then(Error::again).unwrap_or(Error::Moved)
    }

    /// The pages of the state outlive one more commit, mostly: enough time to copy them all.
    fn mirror_if_moved(&self) -> Result<(), Error> {
        if !self.live.is_unchanged(&self.header)? {
            self.mirror.get_or_init(|| Mirror::copy_of(&self.live, &self.scratch_dir));
        }
        Ok(())
    }
}

/// A cursor's access to the pages.
struct Stream<'a> {
    pages: &'a Pages,
    pages_left: &'a mut u64,
}

impl Stream<'_> {
    /// The length of a live file bounds the pages of a tree, and a writer may have shrunk it when it was taken.
    fn explained(&self, error: Error) -> Error {
        let may_have_moved = matches!(error, Error::Damaged { .. }) && !self.pages.is_complete;
        match may_have_moved.then(|| self.pages.live.is_unchanged(&self.pages.header)) {
            Some(Ok(false)) => self.pages.moved(),
            _ => error,
        }
    }
}

impl Source for Stream<'_> {
    fn fetch(&mut self, child: Child, widths: Widths) -> Result<Node, Trouble> {
        Ok(self.pages.fetch(child, widths)?)
    }

    fn pages_left(&mut self) -> &mut u64 {
        self.pages_left
    }

    fn damaged(&self, page: Option<PageNumber>, reason: &'static str) -> Error {
        self.pages.live.damaged(page, reason)
    }
}
