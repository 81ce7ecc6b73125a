//! What the work on a store has found out that a person should know, although the work went on. Nothing is printed here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A longer list is not read by anyone, and a program that never takes it must not fill its memory.
const KEPT_MAX: usize = 100;

/// Notices that were not taken yet. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    sentences: Vec<String>,
    /// What clean-ups have left: a key, and how errors call it.
    left: Vec<(String, String)>,
}

impl Notices {
    /// Adds a sentence, once, and traces it for those who take none.
    pub(crate) fn add(&self, notice: &str) {
        let sentences = &mut self.lock().sentences;
        if sentences.len() < KEPT_MAX && !sentences.iter().any(|other| other == notice) {
            tracing::warn!("{notice}");
            sentences.push(notice.to_owned());
        }
    }

    /// Adds a sentence about something with this key that a clean-up has left, and how errors call it.
    pub(crate) fn add_left(&self, key: &str, called: &str, notice: &str) {
        self.add(notice);
        let left = &mut self.lock().left;
        if left.len() < KEPT_MAX {
            left.push((key.to_owned(), called.to_owned()));
        }
    }

    /// Returns the notices, and forgets them.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().sentences)
    }

    /// Returns how errors call what clean-ups have left below a prefix, and forgets it.
    pub(crate) fn take_left(&self, prefix: &str) -> Vec<String> {
        let is_below =
            |(key, _): &mut (String, String)| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        self.lock().left.extract_if(.., is_below).map(|(_, called)| called).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
