//! What the work on a store has found out that a person should know, although the work went on. Nothing is printed here.

use std::sync::{Arc, Mutex, PoisonError};

/// A longer list is not read by anyone, and a program that never takes it must not fill its memory.
const KEPT_MAX: usize = 100;

/// Notices that nobody has taken yet. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<String>>>);

impl Notices {
    /// Adds a sentence, once, and traces it for those who take none.
    pub(crate) fn add(&self, notice: &str) {
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() < KEPT_MAX && !notices.iter().any(|other| other == notice) {
            tracing::warn!("{notice}");
            notices.push(notice.to_owned());
        }
    }

    /// Returns the notices, and forgets them.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
