//! Ids of snapshots as a person sees them. On a terminal they are as short as they can be: a person types them soon. A
//! script may keep them until another snapshot starts with the same characters, so in a pipe they are whole.

use std::sync::{Arc, Mutex, PoisonError};

use ruvector_snapshot::ShortIds;

/// How short ids are printed, as far as it is known. A clone shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    /// `None` until a store was read. Then ids are whole.
    known: Arc<Mutex<Option<ShortIds>>>,
}

impl Ids {
    /// Learns how short ids can be from those of a store.
    pub(crate) fn learn(&self, ids: ShortIds) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(known.map_or(ids, |known| known.or_longer(ids)));
    }

    /// Returns an id as it is printed.
    pub(crate) fn shorten<'a>(&self, id: &'a str) -> &'a str {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_default().shorten(id)
    }
}
