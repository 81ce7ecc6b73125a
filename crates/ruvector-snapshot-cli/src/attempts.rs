//! What an interrupted create or compact has left: the ids that it made are remembered and looked for at the end.

use std::fs;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use ruvector_snapshot::clock::{Clock, SystemClock};
use ruvector_snapshot::format::id::SnapshotId;
use ruvector_snapshot::store::Location;
use ruvector_snapshot::{SnapshotError, SnapshotManager};

/// The clock of the system, which remembers the ids that were made with it: after an interrupt these are looked for.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    now: Mutex<Option<DateTime<Utc>>>,
    ids: Mutex<Vec<SnapshotId>>,
}

impl Clock for Attempts {
    fn now(&self) -> DateTime<Utc> {
        let now = SystemClock.now();
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        now
    }

    fn random(&self) -> Result<u64, SnapshotError> {
        let random = SystemClock.random()?;
        if let Some(now) = *self.now.lock().unwrap_or_else(PoisonError::into_inner) {
            self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(SnapshotId::new(now, random));
        }
        Ok(random)
    }
}

impl Attempts {
    /// Of snapshots that bear a moment of the past.
    pub(crate) fn at(moment: DateTime<Utc>) -> Self {
        Self { now: Mutex::new(Some(moment)), ids: Mutex::default() }
    }

    /// What these attempts left in the store.
    pub(crate) fn aftermath(&self, manager: &SnapshotManager, location: &Location) -> String {
        let unknown = || "what is left could not be looked at; list shows it".to_owned();
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return unknown() };
        let Ok(listing) = runtime.block_on(manager.list()) else { return unknown() };
        for id in ids.iter() {
            if listing.snapshots.iter().any(|snapshot| snapshot.id == id.as_str()) {
                return format!("the snapshot {id} had been completed already, and stays");
            }
            if !is_gone(location, id) || listing.unfinished.iter().any(|unfinished| unfinished == id.as_str()) {
                return format!("there is no new snapshot; {}", left_behind(location, id));
            }
        }
        match location {
            Location::Local(_) => "there is no new snapshot, and nothing was left behind".to_owned(),
            // Parts of an upload that could not be aborted are in no listing.
            _ => format!("there is no new snapshot, and no object of one was left at {location}"),
        }
    }
}

fn left_behind(location: &Location, id: &SnapshotId) -> String {
    match location {
        Location::Local(_) => format!("the directory snapshot-{id} was left and can be deleted"),
        _ => {
            format!("objects under {location}/snapshot-{id}/ were left and can be deleted, with the tools of the store")
        }
    }
}

/// Whether nothing is left of the directory of an attempt. An empty one, which holds no object that a store could delete,
/// is removed. A bucket has no directories.
fn is_gone(location: &Location, id: &SnapshotId) -> bool {
    let Location::Local(root) = location else { return true };
    let directory = root.join(format!("snapshot-{id}"));
    let _removed_if_empty = fs::remove_dir(&directory);
    directory.symlink_metadata().is_err()
}
