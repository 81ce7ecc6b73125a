//! Ids of snapshots as a person sees them. On a terminal they are as short as they can be: a person types them soon. A
//! script may keep them until another snapshot starts with the same characters, so in a pipe they are whole.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruvector_snapshot::ShortIds;

/// The ids of the stores of a run, as far as they are known. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    ids: BTreeSet<String>,
    /// The default until a store was read, and if one could not be read: then ids are whole.
    short: ShortIds,
    is_incomplete: bool,
}

impl Ids {
    /// Learns all ids of a store.
    pub(crate) fn learn(&self, ids: impl IntoIterator<Item = String>) {
        let mut known = self.known();
        known.ids.extend(ids);
        if !known.is_incomplete {
            known.short = ShortIds::of(known.ids.iter().map(String::as_str));
        }
    }

    /// Learns that the ids of a store cannot be read.
    pub(crate) fn learn_none(&self) {
        let mut known = self.known();
        (known.short, known.is_incomplete) = (ShortIds::default(), true);
    }

    /// Adds the id of a snapshot that this run has created, if the others are known.
    pub(crate) fn add(&self, id: &str) {
        if self.are_known() {
            self.learn([id.to_owned()]);
        }
    }

    /// Returns whether a store was read.
    pub(crate) fn are_known(&self) -> bool {
        let known = self.known();
        known.is_incomplete || known.short != ShortIds::default()
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.known().ids.contains(id)
    }

    /// Returns an id as it is printed.
    pub(crate) fn shorten<'a>(&self, id: &'a str) -> &'a str {
        self.known().short.shorten(id)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
