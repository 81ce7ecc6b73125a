//! How far a verb has come. A trait and its data; what a terminal shows is the caller's matter.

use std::fmt::Debug;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Reading the database, packing and storing.
    Create,
    /// Reading the snapshot, expanding and writing the database.
    Restore,
    /// Reading the restored database back.
    Prove,
    /// Reading the snapshot and proving every byte.
    Verify,
}

/// How far a phase has come. Totals are what is expected; a database that is being written may turn out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgressUpdate {
    /// What is being done.
    pub phase: Phase,
    /// Records done.
    pub records: u64,
    /// Records in all.
    pub records_total: u64,
    /// Bytes of vectors and metadata done, not compressed.
    pub bytes: u64,
}

/// Hears how far a verb has come, about once every 2 MiB, on whatever thread is at work; must not block.
pub trait Progress: Debug + Send + Sync {
    /// Something was done. A phase that starts again at 0 has been started again.
    fn update(&self, update: ProgressUpdate);
}

/// Counts for a listener that may not be there.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    listener: Option<&'a dyn Progress>,
    update: ProgressUpdate,
}

impl<'a> Meter<'a> {
    pub(super) fn start(listener: Option<&'a dyn Progress>, phase: Phase, records_total: u64) -> Self {
        let meter = Self { listener, update: ProgressUpdate { phase, records: 0, records_total, bytes: 0 } };
        meter.tell();
        meter
    }

    pub(super) fn add(&mut self, records: u64, bytes: u64) {
        self.update.records += records;
        self.update.bytes += bytes;
        self.tell();
    }

    fn tell(&self) {
        if let Some(listener) = self.listener {
            listener.update(self.update);
        }
    }
}
