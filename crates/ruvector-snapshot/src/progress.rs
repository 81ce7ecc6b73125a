//! Reports progress to a listener. Knows no terminal.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::metered::Meter;
use crate::store::{Sent, SentCounter};

/// A phase of a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Reads the database, compresses it and sends it to the store. The phase [`Store`](Phase::Store) follows: what was
    /// read last is not in the store yet.
    Create,
    /// Stores the rest of a snapshot, up to its commit. Counts bytes of objects, from the first of the snapshot on.
    Store,
    /// Downloads the snapshot, expands it and writes the database.
    Restore,
    /// Reads the restored database back and verifies its content checksum.
    VerifyRestored,
    /// Downloads the snapshot and verifies every byte.
    Verify,
    /// Downloads the snapshot and passes its records to a stream.
    Stream,
    /// Downloads the snapshot and compares its records with vectors.
    Search,
    /// Opens the restored database and searches it. Counts searches.
    Drill,
    /// Copies snapshots to another store. Counts snapshots and bytes of objects.
    Copy,
    /// Downloads the snapshot, expands it and writes the files of an export.
    Export,
    /// Compares the indexes of two snapshots. Counts rows of both.
    Compare,
    /// Reads a file of a snapshot a second time, because what was read of it was corrupt. Counts bytes of the object. The phase
    /// [`Verify`](Phase::Verify) follows, if the file is intact and may not fit the others: of the snapshot, and of each that
    /// depends on it.
    ReadAgain,
    /// Reads a file of another program, and sorts its records. The phase [`Create`](Phase::Create) follows.
    Import,
}

/// How far a phase has come. Totals are expectations: a database that is being written may have more or fewer records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgressUpdate {
    /// The phase.
    pub phase: Phase,
    /// Number of records done. In the phase [`Copy`](Phase::Copy): number of snapshots. In the phase
    /// [`Store`](Phase::Store): 0.
    pub records: u64,
    /// Number of records in total, if it is known; 0 if it is not, for example of the changes of an increment. In the phase
    /// [`Copy`](Phase::Copy): number of snapshots.
    pub records_total: u64,
    /// Bytes of vectors and metadata done, uncompressed. Not what was read from or written to a store or a file: see
    /// [`Transferred`]. In the phases [`Copy`](Phase::Copy) and [`Store`](Phase::Store): bytes of objects that the store
    /// has received. In the phase [`ReadAgain`](Phase::ReadAgain): bytes of an object that were read.
    pub bytes: u64,
    /// Number of bytes in total, if it is known; 0 if it is not. Known in the phases
    /// [`Store`](Phase::Store), [`Copy`](Phase::Copy) and [`ReadAgain`](Phase::ReadAgain) only.
    pub bytes_total: u64,
    /// Bytes of objects that the upload limit has allowed, and that the store has not received yet: they are sent, or wait
    /// until the limit has allowed the rest of their part. 0 without a limit. Counted in the phases [`Copy`](Phase::Copy) and
    /// [`Store`](Phase::Store) only.
    pub allowed_bytes: u64,
}

impl ProgressUpdate {
    /// Returns an update in which nothing is done.
    pub(crate) fn start(phase: Phase, records_total: u64) -> Self {
        Self { phase, records: 0, records_total, bytes: 0, bytes_total: 0, allowed_bytes: 0 }
    }
}

/// How many bytes a create, a compact, a restore, an export or a search has read and written in all.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::{Progress, ProgressUpdate, Transferred};
///
/// #[derive(Debug)]
/// struct Print;
///
/// impl Progress for Print {
///     fn update(&self, _update: ProgressUpdate) {}
///
///     fn transferred(&self, transferred: Transferred) {
///         println!("{} bytes read from the store", transferred.store_read_bytes);
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Transferred {
    /// Bytes of objects that were read from the store, of all snapshots of the chain. A request that was repeated counts
    /// once.
    pub store_read_bytes: u64,
    /// Bytes of objects that were written to the store.
    pub store_written_bytes: u64,
    /// Bytes that were written to the restored database file, or to the files of an export.
    pub file_written_bytes: u64,
}

/// A listener for progress. Called about once every 2 MiB, on the thread that does the work, so it must not block.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::{Progress, ProgressUpdate};
///
/// #[derive(Debug)]
/// struct Print;
///
/// impl Progress for Print {
///     fn update(&self, update: ProgressUpdate) {
///         println!("{:?}: {} of {} records", update.phase, update.records, update.records_total);
///     }
/// }
/// ```
pub trait Progress: Debug + Send + Sync {
    /// Receives an update. A phase of which less is done than before was started again.
    fn update(&self, update: ProgressUpdate);

    /// Receives the id under which an attempt to create a snapshot stores its objects.
    ///
    /// Called before the first object is written, and again with another id for each further attempt. If the create is
    /// interrupted, [`SnapshotManager::attempt_outcome`](crate::SnapshotManager::attempt_outcome) returns what is left of
    /// it.
    fn started(&self, id: &str) {
        let _not_needed = id;
    }

    /// Receives the path of a restored database file, or of the directory of an export, right after it was renamed to this
    /// path. A symbolic link was followed.
    ///
    /// Until this call the destination has not changed, and after it what was written is there, even if the
    /// work is cancelled or fails after that. What happens to the file before or after is the work of others.
    fn restored(&self, path: &std::path::Path) {
        let _not_needed = path;
    }

    /// Receives how many bytes a create, a compact, a restore, an export or a search has read and written. Called once, when
    /// it has succeeded.
    fn transferred(&self, transferred: Transferred) {
        let _not_needed = transferred;
    }

    /// Receives a sentence about something that the user should know, although the work goes on.
    ///
    /// The same warning can come again if the work is attempted again.
    fn warning(&self, message: &str) {
        let _not_needed = message;
    }
}

/// Reports a warning to the listener, and traces it for those without one.
pub(crate) fn warn(listener: Option<&dyn Progress>, warning: &str) {
    tracing::warn!("{warning}");
    if let Some(listener) = listener {
        listener.warning(warning);
    }
}

/// Reports to the listener, if there is one, what was read and written.
pub(crate) fn report_transferred(listener: Option<&dyn Progress>, meter: &Meter, file_written_bytes: u64) {
    if let Some(listener) = listener {
        listener.transferred(Transferred {
            store_read_bytes: meter.read_bytes(),
            store_written_bytes: meter.written_bytes(),
            file_written_bytes,
        });
    }
}

/// Counts for a listener, if there is one.
#[derive(Debug)]
pub(crate) struct ProgressCounter<'a> {
    listener: Option<&'a dyn Progress>,
    update: ProgressUpdate,
}

impl<'a> ProgressCounter<'a> {
    pub(crate) fn start(listener: Option<&'a dyn Progress>, phase: Phase, records_total: u64) -> Self {
        Self::start_at(listener, ProgressUpdate::start(phase, records_total))
    }

    /// Counts bytes of objects, and no records.
    pub(crate) fn start_bytes(listener: Option<&'a dyn Progress>, phase: Phase, bytes_total: u64) -> Self {
        Self::start_at(listener, ProgressUpdate { bytes_total, ..ProgressUpdate::start(phase, 0) })
    }

    fn start_at(listener: Option<&'a dyn Progress>, update: ProgressUpdate) -> Self {
        let counter = Self { listener, update };
        counter.report();
        counter
    }

    pub(crate) fn add(&mut self, records: u64, bytes: u64) {
        self.update.records += records;
        self.update.bytes += bytes;
        self.report();
    }

    fn report(&self) {
        if let Some(listener) = self.listener {
            listener.update(self.update);
        }
    }
}

/// Counts bytes of objects for a listener, if there is one. A clone counts for the same listener.
#[derive(Debug, Clone)]
pub(crate) struct StoredCounter(Arc<Stored>);

#[derive(Debug)]
struct Stored {
    listener: Option<Arc<dyn Progress>>,
    state: Mutex<StoredState>,
}

#[derive(Debug)]
struct StoredState {
    update: ProgressUpdate,
    is_reported: bool,
}

impl StoredCounter {
    /// Starts to count, and reports nothing before [`report_from_now`](Self::report_from_now).
    pub(crate) fn silent(listener: Option<Arc<dyn Progress>>, phase: Phase) -> Self {
        let update = ProgressUpdate::start(phase, 0);
        Self(Arc::new(Stored { listener, state: Mutex::new(StoredState { update, is_reported: false }) }))
    }

    /// Reports what was counted, and all that is counted from now on.
    pub(crate) fn report_from_now(&self, records_total: u64, bytes_total: u64) {
        self.change(|state| {
            (state.update.records_total, state.update.bytes_total) = (records_total, bytes_total);
            state.is_reported = true;
        });
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.change(|state| state.update.bytes = state.update.bytes.saturating_add(bytes));
    }

    pub(crate) fn add_record(&self) {
        self.change(|state| state.update.records += 1);
    }

    /// Returns what an upload counts its parts with.
    pub(crate) fn of_upload(&self) -> SentCounter {
        let counter = self.clone();
        Arc::new(move |sent| counter.change(|state| add_sent(&mut state.update, sent)))
    }

    fn change(&self, change: impl FnOnce(&mut StoredState)) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if state.is_reported
            && let Some(listener) = &self.0.listener
        {
            // Under the lock, so that the updates are in order.
            listener.update(state.update);
        }
    }
}

fn add_sent(ProgressUpdate { bytes, allowed_bytes, .. }: &mut ProgressUpdate, sent: Sent) {
    match sent {
        Sent::Allowed(more) => *allowed_bytes = allowed_bytes.saturating_add(more),
        Sent::Withdrawn(less) => *allowed_bytes = allowed_bytes.saturating_sub(less),
        Sent::Received(received) => {
            *allowed_bytes = allowed_bytes.saturating_sub(received);
            *bytes = bytes.saturating_add(received);
        }
    }
}
