//! What is searched for, and the options of a search.

use std::sync::Arc;

use ruvector_core::DistanceMetric;

use crate::progress::Progress;
use crate::repo::filter::Condition;

/// One vector whose nearest records are searched for.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::Query;
///
/// let queries = [Query::vector([0.25, -1.5]).named("question 1"), Query::like("doc-17")];
/// assert_eq!(queries[0].name(), Some("question 1"));
/// assert_eq!(queries[1].name(), Some("doc-17"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    name: Option<String>,
    pub(super) vector: QueryVector,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum QueryVector {
    Values(Vec<f32>),
    /// That of the record with this id.
    Like(String),
}

impl Query {
    /// Searches for the records nearest to a vector.
    ///
    /// # Examples
    ///
    /// ```
    /// let query = ruvector_snapshot::Query::vector(vec![0.25, -1.5]);
    /// assert_eq!(query.name(), None);
    /// ```
    pub fn vector(values: impl Into<Vec<f32>>) -> Self {
        Self { name: None, vector: QueryVector::Values(values.into()) }
    }

    /// Searches for the records nearest to the vector that this record has in the snapshot. The record itself is not among
    /// its own results.
    ///
    /// # Examples
    ///
    /// ```
    /// let query = ruvector_snapshot::Query::like("doc-17");
    /// assert_eq!(query.like_id(), Some("doc-17"));
    /// ```
    pub fn like(record_id: impl Into<String>) -> Self {
        let record_id = record_id.into();
        Self { name: Some(record_id.clone()), vector: QueryVector::Like(record_id) }
    }

    /// Gives the query a name, which the report repeats.
    ///
    /// # Examples
    ///
    /// ```
    /// let query = ruvector_snapshot::Query::vector([1.0]).named("question 1");
    /// assert_eq!(query.name(), Some("question 1"));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Returns the name, if it has one. That of a query for a record is the id of the record.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::Query::like("doc-17").name(), Some("doc-17"));
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the id of the record whose vector is searched for, if it is one.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::Query::vector([1.0]).like_id(), None);
    /// ```
    pub fn like_id(&self) -> Option<&str> {
        match &self.vector {
            QueryVector::Values(_) => None,
            QueryVector::Like(id) => Some(id),
        }
    }
}

/// Options of a search. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::SearchOptions;
///
/// let options = SearchOptions::default().k(3).condition("lang=de".parse()?).with_metadata(true);
/// assert_eq!(options.k, 3);
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SearchOptions {
    /// Number of neighbors of each query, at least 1. Default: 10.
    pub k: usize,
    /// Conditions on the metadata of a neighbor, all of which must hold. Default: none.
    pub conditions: Vec<Condition>,
    /// Whether the report has the metadata of the neighbors. Default: false.
    pub with_metadata: bool,
    /// The metric of a snapshot that records none. Default: none, so that such a snapshot is not searched.
    pub metric: Option<DistanceMetric>,
    /// A listener for progress and warnings.
    pub progress: Option<Arc<dyn Progress>>,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { k: 10, conditions: Vec::new(), with_metadata: false, metric: None, progress: None }
    }
}

impl SearchOptions {
    /// Returns so many neighbors of each query, if the snapshot has as many records.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::SearchOptions::default().k(3).k, 3);
    /// ```
    #[must_use]
    pub fn k(self, k: usize) -> Self {
        Self { k, ..self }
    }

    /// Accepts only neighbors for which this condition holds, besides those that were given before.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::SearchOptions::default().condition("lang=de".parse()?);
    /// assert_eq!(options.conditions.len(), 1);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Decides whether the report has the metadata of the neighbors.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::SearchOptions::default().with_metadata(true).with_metadata);
    /// ```
    #[must_use]
    pub fn with_metadata(self, with_metadata: bool) -> Self {
        Self { with_metadata, ..self }
    }

    /// Sets the metric for a snapshot that records none, because its database was written by an old version of Ruvector.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_core::DistanceMetric;
    ///
    /// let options = ruvector_snapshot::SearchOptions::default().metric(DistanceMetric::Cosine);
    /// assert_eq!(options.metric, Some(DistanceMetric::Cosine));
    /// ```
    #[must_use]
    pub fn metric(self, metric: DistanceMetric) -> Self {
        Self { metric: Some(metric), ..self }
    }

    /// Reports progress and warnings to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{Progress, ProgressUpdate, SearchOptions};
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
    /// let options = SearchOptions::default().progress(Arc::new(Printer));
    /// assert!(options.progress.is_some());
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }
}
