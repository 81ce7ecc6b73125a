//! Ids of snapshots as a person sees them. On a terminal they are as short as they can be: a person types them soon. A
//! script may keep them until another snapshot starts with the same characters, so in a pipe they are whole.

use std::sync::{Arc, Mutex, PoisonError};

use ruvector_snapshot::{ShortIds, SnapshotManager};

use crate::session::Session;

/// How short ids are printed, as far as it is known. A clone shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    /// `None` until a store was read. Then ids are whole.
    known: Arc<Mutex<Option<ShortIds>>>,
}

impl Ids {
    fn learn(&self, ids: ShortIds) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(known.map_or(ids, |known| known.or_longer(ids)));
    }

    fn shorten<'a>(&self, id: &'a str) -> &'a str {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_default().shorten(id)
    }
}

impl Session {
    /// Returns an id as it is printed: whole, unless results go to a terminal and the ids of the store are known.
    pub(crate) fn short<'a>(&self, id: &'a str) -> &'a str {
        self.ids.shorten(id)
    }

    /// Learns how short ids can be from those of a store. If they cannot be read, ids stay whole.
    pub(crate) async fn learn_ids(&self, manager: &SnapshotManager) {
        if !self.output.has_short_ids {
            return;
        }
        let ids = self.until_interrupted(manager.short_ids(), String::new).await;
        self.ids.learn(ids.ok().and_then(Result::ok).unwrap_or_default());
    }

    /// As [`learn_ids`](Self::learn_ids), of ids that were read already.
    pub(crate) fn learn_short_ids(&self, ids: ShortIds) {
        if self.output.has_short_ids {
            self.ids.learn(ids);
        }
    }
}
