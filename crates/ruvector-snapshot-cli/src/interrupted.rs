//! What an interrupted create or compact has left, from the ids that the library reported. Asks the library, and puts
//! the answer in words.

use std::sync::{Arc, Mutex, PoisonError};

use ruvector_snapshot::store::Location;
use ruvector_snapshot::{AttemptOutcome, SnapshotManager};

use crate::threads::run_afterwards;

/// The ids under which a verb has stored objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts {
    ids: Arc<Mutex<Vec<String>>>,
}

impl Attempts {
    pub(crate) fn add(&self, id: &str) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_owned());
    }

    /// Returns what to ask after an interrupt, when no runtime is at work any more.
    pub(crate) fn report(
        &self,
        manager: &SnapshotManager,
        location: Location,
    ) -> impl FnOnce() -> String + Send + 'static {
        let (attempts, manager) = (self.clone(), manager.clone());
        move || attempts.outcome(&manager, &location)
    }

    fn outcome(&self, manager: &SnapshotManager, location: &Location) -> String {
        let unknown = || "what is left could not be checked; `list` shows it".to_owned();
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids.iter() {
            match run_afterwards(manager.attempt_outcome(id)) {
                Some(Ok(AttemptOutcome::RolledBack)) => {}
                Some(Ok(AttemptOutcome::Committed)) => {
                    return format!("snapshot {id} was already complete and was kept");
                }
                Some(Ok(_)) => {
                    return format!(
                        "no snapshot was created, but objects of {id} were left at {location}; prune removes them after a day"
                    );
                }
                Some(Err(_)) | None => return unknown(),
            }
        }
        match location {
            Location::Local(_) => "no snapshot was created, and nothing was left behind".to_owned(),
            // Parts of an upload that could not be aborted are in no listing.
            _ => format!("no snapshot was created, and no object was left at {location}"),
        }
    }
}
