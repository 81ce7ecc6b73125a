//! Annotate: changes the labels and the note of a snapshot that exists. Nothing that is stored is rewritten: each change is
//! an object of its own.

use std::collections::{BTreeMap, BTreeSet};

use ruvector_snapshot_format::Labels;
use ruvector_snapshot_format::id::SnapshotId;
use serde::Serialize;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::repo::annotations::{self, Annotations, Changes};
use crate::repo::context::Context;
use crate::repo::inventory::read_metadata;
use crate::repo::presence::objects_of;
use crate::repo::user_json;
use crate::text::composed;

/// What an annotation changes. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::AnnotateOptions;
///
/// let options = AnnotateOptions::default().label("keep", "yearly").note("before the upgrade");
/// assert_eq!(options.labels["keep"], "yearly");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnotateOptions {
    /// Labels that the snapshot gets, or that get another value.
    pub labels: BTreeMap<String, String>,
    /// Keys of labels that the snapshot loses. One that it does not have is no error.
    pub remove_labels: BTreeSet<String>,
    /// The note that the snapshot gets, of at most 4,096 bytes.
    pub note: Option<String>,
    /// Whether the snapshot loses its note.
    pub remove_note: bool,
}

impl AnnotateOptions {
    /// Sets a label.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::AnnotateOptions::default().label("host", "db1").labels["host"], "db1");
    /// ```
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Removes a label.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::AnnotateOptions::default().remove_label("host").remove_labels.contains("host"));
    /// ```
    #[must_use]
    pub fn remove_label(mut self, key: impl Into<String>) -> Self {
        self.remove_labels.insert(key.into());
        self
    }

    /// Sets the note.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::AnnotateOptions::default().note("before the upgrade").note.is_some());
    /// ```
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Sets whether the note is removed.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::AnnotateOptions::default().remove_note(true).remove_note);
    /// ```
    #[must_use]
    pub fn remove_note(self, remove_note: bool) -> Self {
        Self { remove_note, ..self }
    }
}

/// What an annotation changes of one snapshot, as of the time of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AnnotatePlan {
    /// The id of the snapshot.
    pub id: String,
    /// The name of the snapshot.
    pub name: String,
    /// The labels after it.
    pub labels: BTreeMap<String, String>,
    /// The note after it.
    pub note: Option<String>,
    /// Whether it changes anything. If not, nothing is written.
    pub changes: bool,
    /// Keys of labels that were to be removed, and that the snapshot does not have.
    pub missing_labels: Vec<String>,
    #[serde(skip)]
    options: AnnotateOptions,
}

/// Plans an annotation. Writes nothing.
pub(crate) async fn plan(context: &Context, id: &SnapshotId, options: &AnnotateOptions) -> Result<AnnotatePlan> {
    let wanted = wanted(options)?;
    State::read(context, id).await?.plan(context, id, options, &wanted)
}

/// Applies a plan to what the annotations say now, and returns what was changed.
pub(crate) async fn apply(context: &Context, plan: &AnnotatePlan) -> Result<AnnotatePlan> {
    let (id, wanted) = (plan.id.parse()?, wanted(&plan.options)?);
    // A1
    let state = State::read(context, &id).await?;
    let plan = state.plan(context, &id, &plan.options, &wanted)?;
    if plan.changes {
        let (name, json) = annotations::with_changes(context, &id, &state.known, &state.effective(&wanted))?;
        annotations::store(context, &id, &name, json).await?;
    }
    Ok(plan)
}

/// What is known of a snapshot.
struct State {
    known: Annotations,
    name: String,
    labels: Labels,
    note: Option<String>,
}

impl State {
    async fn read(context: &Context, id: &SnapshotId) -> Result<Self> {
        let store = context.store.as_ref();
        let read = read_metadata(store, id).await;
        let (metadata, _) =
            read.map_err(|error| error.while_doing(&format!("annotate snapshot {id}"), "nothing was changed"))?;
        let known = Annotations::read(store, id, &objects_of(store, id).await?).await?;
        let (labels, note) = known.changed(&metadata.labels, metadata.note.as_deref());
        Ok(Self { known, name: metadata.name, labels, note })
    }

    fn plan(
        &self,
        context: &Context,
        id: &SnapshotId,
        options: &AnnotateOptions,
        wanted: &Changes,
    ) -> Result<AnnotatePlan> {
        let effective = self.effective(wanted);
        let mut labels = BTreeMap::from(&self.labels);
        labels.retain(|key, _| !wanted.labels.contains_key(composed(key).as_ref()));
        labels.extend(wanted.labels.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))));
        user_json::check(&labels, &serde_json::Value::Null)?;
        let changes = !effective.labels.is_empty() || effective.note.is_some() || self.known.has_corrupt();
        if changes {
            // Whatever the annotation is refused for.
            annotations::with_changes(context, id, &self.known, &effective)?;
        }
        let is_missing = |key: &&String| !self.labels.iter().any(|(other, _)| composed(other) == composed(key));
        let missing_labels = options.remove_labels.iter().filter(is_missing).cloned().collect();
        let note = wanted.note.clone().unwrap_or_else(|| self.note.clone());
        Ok(AnnotatePlan {
            id: id.to_string(),
            name: self.name.clone(),
            labels,
            note,
            changes,
            missing_labels,
            options: options.clone(),
        })
    }

    /// Returns what is not so already.
    fn effective(&self, wanted: &Changes) -> Changes {
        let has = |key: &str| {
            let mut same = self.labels.iter().filter(|(other, _)| composed(other) == key);
            same.next().map(|(_, value)| value.to_owned())
        };
        let labels = wanted.labels.iter().filter(|(key, value)| has(key) != **value);
        Changes {
            labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
            note: wanted.note.clone().filter(|note| *note != self.note),
        }
    }
}

/// Returns what the options ask for, in the composed form, or why they contradict each other.
fn wanted(options: &AnnotateOptions) -> Result<Changes> {
    let invalid = |message: String| Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    user_json::check_labels(&options.labels)?;
    let set = BTreeMap::from(&user_json::composed_labels(&options.labels)?);
    let mut labels: BTreeMap<_, _> = set.into_iter().map(|(key, value)| (key, Some(value))).collect();
    for key in &options.remove_labels {
        if labels.insert(composed(key).into_owned(), None).is_some_and(|value| value.is_some()) {
            return invalid(format!("the label {key:?} cannot be set and removed at the same time"));
        }
    }
    let note = match (&options.note, options.remove_note) {
        (Some(_), true) => return invalid("the note cannot be set and removed at the same time".to_owned()),
        (Some(note), false) => Some(Some(user_json::composed_note(note)?)),
        (None, true) => Some(None),
        (None, false) => None,
    };
    if labels.is_empty() && note.is_none() {
        return invalid("there is nothing to annotate: give a label or a note, or what is to be removed".to_owned());
    }
    Ok(Changes { labels, note })
}
