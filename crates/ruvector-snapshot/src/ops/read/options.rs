//! The options of a stream of records.

use std::sync::Arc;

use crate::progress::Progress;
use crate::repo::filter::RecordFilter;

/// Options of a stream of records. By default it has all records. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::{RecordFilter, StreamOptions};
///
/// let options = StreamOptions::default().after("doc-17").filter(RecordFilter::default().ids(["doc-18", "doc-20"]));
/// assert_eq!(options.after.as_deref(), Some("doc-17"));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StreamOptions {
    /// The stream starts with the first record after this id: with the last id that a consumer has seen, it has exactly
    /// the rest. There need not be a record with this id.
    pub after: Option<String>,
    /// The records that are wanted.
    pub filter: RecordFilter,
    /// A listener for progress and warnings.
    pub progress: Option<Arc<dyn Progress>>,
}

impl StreamOptions {
    /// Starts with the first record after this id.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::StreamOptions::default().after("doc-17");
    /// assert_eq!(options.after.as_deref(), Some("doc-17"));
    /// ```
    #[must_use]
    pub fn after(self, id: impl Into<String>) -> Self {
        Self { after: Some(id.into()), ..self }
    }

    /// Streams only the records that this filter accepts.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{RecordFilter, StreamOptions};
    ///
    /// let options = StreamOptions::default().filter(RecordFilter::default().id("doc-17"));
    /// assert!(!options.filter.accepts_everything());
    /// ```
    #[must_use]
    pub fn filter(self, filter: RecordFilter) -> Self {
        Self { filter, ..self }
    }

    /// Reports progress to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{Progress, ProgressUpdate, StreamOptions};
    ///
    /// #[derive(Debug)]
    /// struct Printer;
    ///
    /// impl Progress for Printer {
    ///     fn update(&self, update: ProgressUpdate) {
    ///         println!("{} records", update.records);
    ///     }
    /// }
    ///
    /// let options = StreamOptions::default().progress(Arc::new(Printer));
    /// assert!(options.progress.is_some());
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Returns whether the stream has every record.
    pub(super) fn selects_everything(&self) -> bool {
        self.after.is_none() && self.filter.accepts_everything()
    }
}
