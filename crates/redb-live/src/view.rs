//! The public entry points: a live file, a view of one of its commits, and the tables of a view.
//!
//! How a commit is selected belongs to `commit_selection`, and how rows are read to `leaves` and `page_reader`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use crate::{
    commit_selection::{self, Scope},
    error::Error,
    file::DatabaseFile,
    leaves::Leaves,
    mirror::Mirror,
    page_reader::PageReader,
    table::{Definition, TableInfo},
};

/// Where a view reads its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Reads pages from the live file while rows are streamed. Needs no scratch space as long as nothing is committed.
    ///
    /// If something is committed, streaming can end in [`Error::Changed`].
    ///
    /// Only the tables that were streamed to their end are known to be valid. After a crash of the writer, one table of
    /// the newest commit can be complete and another incomplete. redb rolls back both, and a direct view that streams
    /// only the complete table does not notice. If the commit must be valid in all tables, use [`Mode::Mirror`].
    Direct,
    /// Makes a private copy of the file, and checks all tables in it before the view is returned. After that, no writer
    /// can affect the view.
    #[default]
    Mirror,
}

/// The options of [`LiveFile::view`].
///
/// # Examples
///
/// ```
/// use redb_live::{Mode, ViewOptions};
///
/// let options = ViewOptions { mode: Mode::Direct, scratch_dir: Some("/var/tmp".into()), ..ViewOptions::default() };
/// assert_eq!(options.max_passes, 100);
/// ```
#[derive(Debug, Clone)]
pub struct ViewOptions {
    /// The directory for the mirror. The default is [`std::env::temp_dir`].
    pub scratch_dir: Option<PathBuf>,
    /// Where pages are read. The default is [`Mode::Mirror`].
    pub mode: Mode,
    /// Whether a view in [`Mode::Direct`] makes a mirror when it notices a new commit. The default is `true`.
    ///
    /// With `false`, nothing is ever copied, and streaming ends in [`Error::Changed`] at the first page that the writer
    /// has overwritten. Use it for short reads that are cheaper to repeat than a copy of the file.
    pub mirror_on_commit: bool,
    /// The maximum number of passes, at least 1. The default is 100. Each pass starts from the newest commit at that
    /// time.
    pub max_passes: u32,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { scratch_dir: None, mode: Mode::default(), mirror_on_commit: true, max_passes: 100 }
    }
}

/// A redb file that another process may be writing. It is opened read-only and without a lock.
///
/// A `LiveFile` refers to the file that was at the path when it was opened. If another file is renamed to that path
/// later, open it again.
///
/// # Examples
///
/// ```
/// use redb_live::{LiveFile, ViewOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("app.redb");
/// # let database = redb::Database::create(&path)?;
/// # let txn = database.begin_write()?;
/// # txn.open_table(redb::TableDefinition::<&str, u64>::new("users"))?.insert("a", 1)?;
/// # txn.commit()?;
/// let view = LiveFile::open(&path)?.view(&ViewOptions::default())?;
/// for table in view.tables()? {
///     println!("{}: {} rows", table.name, table.rows);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LiveFile {
    live: Arc<DatabaseFile>,
}

impl LiveFile {
    /// Opens a file for reading and checks its header.
    ///
    /// # Errors
    ///
    /// - [`Error::NotFound`] if the file does not exist.
    /// - [`Error::Io`] if it cannot be read.
    /// - [`Error::NotRedb`] if it is not a redb file.
    /// - [`Error::UnsupportedVersion`] if its format version is neither 2 nor 3.
    /// - [`Error::Corrupt`] if the header is not valid.
    ///
    /// # Examples
    ///
    /// ```
    /// use redb_live::{Error, LiveFile};
    ///
    /// assert!(matches!(LiveFile::open("/no/such/file"), Err(Error::NotFound { .. })));
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let live = DatabaseFile::open(path.as_ref())?;
        live.header()?;
        Ok(Self { live: Arc::new(live) })
    }

    /// Returns the id of the newest commit in the file. Reads only the header.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`open`](Self::open), other than [`Error::NotFound`].
    ///
    /// # Examples
    ///
    /// Each commit has a greater id than the commit before it:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// let database = redb::Database::create(&path)?;
    /// let file = redb_live::LiveFile::open(&path)?;
    /// let before = file.transaction_id()?;
    /// database.begin_write()?.commit()?;
    /// assert!(file.transaction_id()? > before);
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction_id(&self) -> Result<u64, Error> {
        self.live.newest_transaction_id()
    }

    /// Returns what the operating system records of the open file, for example its length and its inode. If another file
    /// was renamed to the path since, this is still the file that is read.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if the operating system refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # drop(redb::Database::create(&path)?);
    /// let file = redb_live::LiveFile::open(&path)?;
    /// assert_eq!(file.metadata()?.len(), std::fs::metadata(&path)?.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn metadata(&self) -> Result<std::fs::Metadata, Error> {
        self.live.file.metadata().map_err(|source| self.live.io_error(source))
    }

    /// Returns a view of the newest valid commit.
    ///
    /// In [`Mode::Mirror`], this copies the file and checks all tables. In [`Mode::Direct`], it reads only the table
    /// definitions and, if the newest commit may be incomplete, redb's internal trees.
    ///
    /// # Errors
    ///
    /// - [`Error::Corrupt`] if no commit in the file is valid and no writer can be the reason.
    /// - [`Error::Busy`] in [`Mode::Mirror`], and [`Error::Changed`] in [`Mode::Direct`], if the writer overwrote a
    ///   needed page in every pass.
    /// - [`Error::StorageFull`] if the mirror does not fit in the scratch directory.
    /// - [`Error::Scratch`] if the scratch directory cannot be used.
    /// - The errors of [`open`](Self::open), other than [`Error::NotFound`].
    ///
    /// # Examples
    ///
    /// ```
    /// use redb_live::{LiveFile, Mode, ViewOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # let database = redb::Database::create(&path)?;
    /// let file = LiveFile::open(&path)?;
    /// let view = file.view(&ViewOptions { mode: Mode::Mirror, ..ViewOptions::default() })?;
    /// assert!(view.is_mirrored());
    /// # Ok(())
    /// # }
    /// ```
    pub fn view(&self, options: &ViewOptions) -> Result<View, Error> {
        let scratch_dir = options.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
        let pages_read = AtomicU64::new(0);
        let (mirror, selected) = match options.mode {
            Mode::Mirror => {
                let mirror = Mirror::copy_of(&self.live, &scratch_dir)?;
                let scope = Scope::AllTrees(&mirror);
                let selected = commit_selection::select_commit(&self.live, &scope, options.max_passes, &pages_read)?;
                (Some(mirror), selected)
            }
            Mode::Direct => {
                let scope = Scope::Definitions;
                let selected = commit_selection::select_commit(&self.live, &scope, options.max_passes, &pages_read);
                (None, selected.map_err(|error| if let Error::Busy { .. } = error { Error::Changed } else { error })?)
            }
        };
        let pages = PageReader {
            live: Arc::clone(&self.live),
            mirror_on_commit: options.mirror_on_commit,
            is_complete: mirror.is_some(),
            mirror: mirror.map_or_else(OnceLock::new, |mirror| OnceLock::from(Ok(mirror))),
            scratch_dir,
            header: selected.header,
            pages_max: selected.pages_max,
            pages_read,
        };
        Ok(View {
            state: Arc::new(ViewState {
                pages: Arc::new(pages),
                tables: selected.tables.into_iter().map(Arc::new).collect(),
                transaction_id: selected.transaction_id,
                rolled_back: selected.rolled_back,
                passes: selected.passes,
            }),
        })
    }
}

/// One committed state of a database.
///
/// A clone is cheap: it shares the mirror. A view can be used from several threads at once.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("app.redb");
/// # let database = redb::Database::create(&path)?;
/// let view = redb_live::LiveFile::open(&path)?.view(&Default::default())?;
/// println!("commit {}, {} passes, {} pages read", view.transaction_id(), view.passes(), view.pages_read());
/// if view.rolled_back() {
///     println!("the newest commit is incomplete; this is the one before it");
/// }
/// # assert!(view.is_mirrored() && view.passes() == 1 && !view.rolled_back());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct View {
    state: Arc<ViewState>,
}

#[derive(Debug)]
struct ViewState {
    pages: Arc<PageReader>,
    tables: Vec<Arc<Definition>>,
    transaction_id: u64,
    rolled_back: bool,
    passes: u32,
}

impl View {
    /// Returns the id of the commit.
    ///
    /// The id does not identify the contents: after a rollback, redb assigns the same id to another commit. Nor does it
    /// mean that the commit is durable: a view can read a commit before its `fsync` ends, and a power failure can then
    /// undo it.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # let database = redb::Database::create(&path)?;
    /// let file = redb_live::LiveFile::open(&path)?;
    /// let view = file.view(&Default::default())?;
    /// assert_eq!(view.transaction_id(), file.transaction_id()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction_id(&self) -> u64 {
        self.state.transaction_id
    }

    /// Returns whether the view shows the commit before the one that the header names, because that one is not valid.
    ///
    /// The newest commit was cut off by a crash, or it was being written when the view was taken. The result can
    /// therefore be `true` for a healthy file. In both cases, redb's repair would select the same commit.
    ///
    /// The result is `false` if the header names the commit of the view, even if the other commit slot contains a newer
    /// commit that is incomplete.
    pub fn rolled_back(&self) -> bool {
        self.state.rolled_back
    }

    /// Returns whether the view reads from a private copy.
    ///
    /// In [`Mode::Direct`], this becomes `true` when the view has noticed a commit and has copied the file.
    pub fn is_mirrored(&self) -> bool {
        self.state.pages.is_mirrored()
    }

    /// Returns the number of passes that were needed to select the commit, at least 1.
    pub fn passes(&self) -> u32 {
        self.state.passes
    }

    /// Returns the number of pages that were read for this view so far, including those that its cursors have read.
    pub fn pages_read(&self) -> u64 {
        self.state.pages.pages_read()
    }

    /// Returns the tables of the database, sorted by name. redb's internal tables are not included.
    ///
    /// # Errors
    ///
    /// Never fails in this version: the definitions are read when the view is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # let database = redb::Database::create(&path)?;
    /// # let txn = database.begin_write()?;
    /// # txn.open_table(redb::TableDefinition::<&str, u64>::new("users"))?;
    /// # txn.open_table(redb::TableDefinition::<u64, u64>::new("events"))?;
    /// # txn.commit()?;
    /// let view = redb_live::LiveFile::open(&path)?.view(&Default::default())?;
    /// let names: Vec<String> = view.tables()?.into_iter().map(|table| table.name).collect();
    /// assert_eq!(names, ["events", "users"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tables(&self) -> Result<Vec<TableInfo>, Error> {
        Ok(self.state.tables.iter().map(|table| table.info.clone()).collect())
    }

    /// Returns a table by its name, or `None` if it does not exist.
    ///
    /// In [`Mode::Direct`], only the definition of the table is checked at this point. Its rows are checked while they
    /// are streamed.
    ///
    /// # Errors
    ///
    /// Returns [`Error::UnsupportedTable`] if it is a multimap table.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # let database = redb::Database::create(&path)?;
    /// # let txn = database.begin_write()?;
    /// # txn.open_table(redb::TableDefinition::<&str, u64>::new("users"))?.insert("a", 1)?;
    /// # txn.commit()?;
    /// let view = redb_live::LiveFile::open(&path)?.view(&Default::default())?;
    /// let users = view.table("users")?.ok_or("no such table")?;
    /// assert_eq!(users.info().rows, 1);
    /// assert!(view.table("groups")?.is_none());
    /// # Ok(())
    /// # }
    /// ```
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

/// A table of a view. It keeps the mirror of the view alive.
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
/// let users = view.table("users")?.ok_or("no such table")?;
/// drop(view);
/// assert_eq!(users.info().key_type, "&str");
/// assert_eq!(users.leaves().count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    pages: Arc<PageReader>,
    definition: Arc<Definition>,
}

impl Table {
    /// Returns the description of the table.
    pub fn info(&self) -> &TableInfo {
        &self.definition.info
    }

    /// Returns a cursor over the rows of the table, from the first row on.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("app.redb");
    /// # let database = redb::Database::create(&path)?;
    /// # let txn = database.begin_write()?;
    /// # let mut users = txn.open_table(redb::TableDefinition::<&str, u64>::new("users"))?;
    /// # users.insert("ada", 36)?;
    /// # users.insert("bob", 41)?;
    /// # drop(users);
    /// # txn.commit()?;
    /// # let view = redb_live::LiveFile::open(&path)?.view(&Default::default())?;
    /// let users = view.table("users")?.ok_or("no such table")?;
    /// let mut names = Vec::new();
    /// for leaf in users.leaves() {
    ///     let leaf = leaf?;
    ///     for i in 0..leaf.len() {
    ///         names.push(String::from_utf8(leaf.key(i).to_vec())?);
    ///     }
    /// }
    /// assert_eq!(names, ["ada", "bob"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn leaves(&self) -> Leaves {
        Leaves::new(Arc::clone(&self.pages), Arc::clone(&self.definition))
    }
}
