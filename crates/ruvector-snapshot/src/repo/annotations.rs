//! Annotations: what was changed of the labels and the note of a snapshot after it was taken, beside it. They are created
//! and never rewritten (`docs/FORMAT.md`, section 9; steps A1 to A3 of `docs/CONCURRENCY.md`).
//!
//! No step of a create or a delete, and no reader of data, depends on them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ruvector_snapshot_format::annotation::{Annotation, AnnotationName, Change, NUMBER_MAX};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::{Labels, layout, limits};

use super::context::Context;
use super::ledger::PROGRAM;
use super::presence::{ObjectsByName, exists, gone, objects_of};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::snapshot::{Snapshot, annotation_warning};
use crate::store::SnapshotStore;
use crate::text::composed;

/// What the annotations of a snapshot say together.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    labels: BTreeMap<String, Change>,
    note: Option<Change>,
    /// The greatest number of a name or a change.
    number: u64,
    names: BTreeSet<AnnotationName>,
    /// Those that another one includes, which was read.
    included: BTreeSet<AnnotationName>,
    /// Why some could not be read.
    problems: BTreeMap<AnnotationName, SnapshotError>,
    /// How many are too many to be read.
    unread: usize,
}

impl Annotations {
    /// Reads the annotations among the objects of a snapshot, the newest first. Those that are included in one that was
    /// read are not read. A limit of the process says nothing of an annotation, and is an error.
    pub(crate) async fn read(store: &dyn SnapshotStore, id: &SnapshotId, objects: &ObjectsByName) -> Result<Self> {
        let mut all = Self { names: names(objects).collect(), ..Self::default() };
        let mut read = 0;
        for name in all.names.clone().into_iter().rev() {
            all.number = all.number.max(name.number);
            if all.included.contains(&name) {
                continue;
            }
            if read == limits::ANNOTATIONS {
                all.unread += 1;
                continue;
            }
            read += 1;
            match read_one(store, id, &name).await {
                Ok(annotation) => all.add(annotation),
                // Collected since the listing, because a newer one includes it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.is_of_process() => return Err(error),
                Err(error) => drop(all.problems.insert(name, error)),
            }
        }
        // A newer one may include one that is corrupt, whatever the order of their names.
        all.problems.retain(|name, _| !all.included.contains(name));
        Ok(all)
    }

    fn add(&mut self, annotation: Annotation) {
        let Annotation { labels, note, includes, .. } = annotation;
        for (key, change) in labels {
            self.number = self.number.max(change.number);
            let known = self.labels.entry(key).or_insert_with(|| change.clone());
            *known = change.max(known.clone());
        }
        self.note = note.max(self.note.take());
        self.number = self.number.max(self.note.as_ref().map_or(0, |note| note.number));
        self.included.extend(includes.iter().filter_map(|name| layout::parse_annotation(name)));
    }

    /// Returns the names of those that a newer one includes.
    pub(crate) fn included(&self) -> impl Iterator<Item = String> {
        self.names.intersection(&self.included).map(layout::annotation)
    }

    /// Returns the names of those that have changes that no other one includes.
    pub(crate) fn needed(&self) -> impl Iterator<Item = String> {
        let is_needed = |name: &&AnnotationName| !self.included.contains(*name) && !self.problems.contains_key(*name);
        self.names.iter().filter(is_needed).map(layout::annotation)
    }

    /// Returns sentences about those that could not be read.
    pub(crate) fn problems(&self, id: &SnapshotId) -> Vec<String> {
        let sentence = |(name, error): (&AnnotationName, &SnapshotError)| {
            format!("{}: {}", layout::key(id, &layout::annotation(name)), error.problem())
        };
        let unread = (self.unread > 0).then(|| {
            let (prefix, unread) = (layout::prefix(id), self.unread);
            format!("{prefix}: {unread} annotations were not read, because there are too many")
        });
        self.problems.iter().map(sentence).chain(unread).collect()
    }

    /// Fails if one could not be read: what is made of the labels and the note stays.
    pub(crate) fn check_all_read(&self, id: &SnapshotId) -> Result<()> {
        let problems = self.problems(id);
        let Some(problem) = problems.first() else { return Ok(()) };
        let kind = self.problems.values().next().map_or(ErrorKind::Unsupported, SnapshotError::kind);
        let message = format!(
            "the labels of snapshot {id} cannot be known, because an annotation cannot be read: {problem}; annotate the \
             snapshot again, or delete this object"
        );
        Err(SnapshotError::new(if kind == ErrorKind::Corrupt { ErrorKind::InvalidInput } else { kind }, message))
    }

    /// Returns whether one is corrupt, and no other one includes it. The next annotation does.
    pub(crate) fn has_corrupt(&self) -> bool {
        self.problems.values().any(|error| error.kind() == ErrorKind::Corrupt)
    }

    /// Returns the labels and the note with these changes.
    pub(crate) fn changed(&self, labels: &Labels, note: Option<&str>) -> (Labels, Option<String>) {
        let note = match &self.note {
            Some(change) => change.value.clone(),
            None => note.map(str::to_owned),
        };
        if self.labels.is_empty() {
            return (labels.clone(), note);
        }
        let is_unchanged = |key: &str| !self.labels.contains_key(composed(key).as_ref());
        let mut all: BTreeMap<String, String> = labels
            .iter()
            .filter(|(key, _)| is_unchanged(key))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let set = self.labels.iter().filter_map(|(key, change)| Some((key.clone(), change.value.clone()?)));
        all.extend(set);
        (all.into(), note)
    }

    /// Returns what others have changed to another value with a change that counts more: the keys of labels, and the note.
    pub(crate) fn overruled_by(&self, others: &Self) -> Vec<String> {
        let is_overruled =
            |own: &Change, other: Option<&Change>| other.is_some_and(|other| other > own && other.value != own.value);
        let labels = self.labels.iter().filter(|(key, own)| is_overruled(own, others.labels.get(*key)));
        let labels = labels.map(|(key, _)| format!("the label {key}"));
        let note = self.note.as_ref().filter(|own| is_overruled(own, others.note.as_ref()));
        labels.chain(note.map(|_| "the note".to_owned())).collect()
    }

    /// Applies the changes to what `metadata.json` says.
    pub(crate) fn apply(&self, snapshot: &mut Snapshot, id: &SnapshotId) {
        (snapshot.labels, snapshot.note) = self.changed(&snapshot.labels, snapshot.note.as_deref());
        snapshot.unreadable_annotations = self.problems(id);
    }
}

/// Returns a warning for each annotation of a snapshot that cannot be read. It says nothing of the data.
pub(crate) async fn warnings(store: &dyn SnapshotStore, id: &SnapshotId) -> Vec<String> {
    match objects_of(store, id).await {
        Ok(objects) => warnings_among(store, id, &objects).await,
        Err(error) => vec![annotation_warning(id.as_str(), &format!("annotations could not be listed: {error}"))],
    }
}

/// As [`warnings`], of a snapshot that was listed.
pub(crate) async fn warnings_among(store: &dyn SnapshotStore, id: &SnapshotId, objects: &ObjectsByName) -> Vec<String> {
    let problems = match Annotations::read(store, id, objects).await {
        Ok(annotations) => annotations.problems(id),
        Err(error) => vec![error.to_string()],
    };
    problems.iter().map(|problem| annotation_warning(id.as_str(), problem)).collect()
}

/// Returns the labels and the note of a snapshot as they are now. An annotation that cannot be read is an error: what is
/// made of them stays.
pub(crate) async fn current(
    store: &dyn SnapshotStore,
    metadata: &SnapshotMetadata,
) -> Result<(Labels, Option<String>)> {
    let id = &metadata.id;
    let annotations = Annotations::read(store, id, &objects_of(store, id).await?).await?;
    annotations.check_all_read(id)?;
    Ok(annotations.changed(&metadata.labels, metadata.note.as_deref()))
}

/// What is to be changed: keys to texts, `None` removes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) labels: BTreeMap<String, Option<String>>,
    pub(crate) note: Option<Option<String>>,
}

/// Makes the annotation with everything that was known, and these changes.
///
/// # Errors
///
/// Returns the error of an annotation that may be readable later, and `InvalidInput` if there are too many.
pub(crate) fn with_changes(
    context: &Context,
    id: &SnapshotId,
    known: &Annotations,
    changes: &Changes,
) -> Result<(AnnotationName, Bytes)> {
    if let Some((name, error)) = known.problems.iter().find(|(_, error)| error.kind() != ErrorKind::Corrupt) {
        let message =
            format!("an annotation of snapshot {id} could not be read, so none was added: {}", error.message());
        let key = layout::key(id, &layout::annotation(name));
        return Err(SnapshotError::new(error.kind(), message).with_key(key));
    }
    if known.names.len() >= limits::ANNOTATIONS {
        let message = format!(
            "snapshot {id} has {} annotations, and none was added; a prune removes those that newer ones include after its grace \
             period",
            known.names.len()
        );
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    }
    if let Some(last) = known.names.last().filter(|last| last.number == NUMBER_MAX) {
        let message = "the annotation has the last number that there is, so none was added; delete this object, which no command \
                       has written";
        let key = layout::key(id, &layout::annotation(last));
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(key));
    }
    let number = known.number + 1;
    let change = |value: &Option<String>| Change { number, value: value.clone() };
    let mut labels = known.labels.clone();
    labels.extend(changes.labels.iter().map(|(key, value)| (key.clone(), change(value))));
    let annotation = Annotation {
        snapshot: id.clone(),
        time: context.clock.now(),
        program: PROGRAM.to_owned(),
        labels,
        note: changes.note.as_ref().map(change).or_else(|| known.note.clone()),
        includes: known.names.iter().map(layout::annotation).collect(),
    };
    let (name, json) = annotation.encode(number)?;
    Ok((name, json.into()))
}

/// Stores an annotation (steps A2 and A3). The snapshot was there before.
pub(crate) async fn store(context: &Context, id: &SnapshotId, name: &AnnotationName, json: Bytes) -> Result<()> {
    let store = context.store.as_ref();
    let key = layout::key(id, &layout::annotation(name));
    // A2
    match store.create(&key, json).await {
        // The name is that of the content.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        answer => answer?,
    }
    // A3
    let is_there = exists(store, id).await.map_err(|error| {
        let message = "the annotation was written, but it could not be checked that the snapshot is still there";
        SnapshotError::new(error.kind(), message).with_key(key.as_str()).with_source(error)
    })?;
    if is_there {
        return Ok(());
    }
    store.delete(&key).await?;
    Err(gone(store, id).await)
}

/// Copies the annotations that one store has of a snapshot, and the other does not, and returns their number. Those that are
/// corrupt are left out.
pub(crate) async fn copy(from: &Context, to: &Context, id: &SnapshotId) -> Result<u64> {
    let known = Annotations::read(from.store.as_ref(), id, &objects_of(from.store.as_ref(), id).await?).await?;
    let there = objects_of(to.store.as_ref(), id).await?;
    let mut copied = 0;
    for file in known.needed().filter(|file| !there.contains_key(file)) {
        let Some(name) = layout::parse_annotation(&file) else { continue };
        let key = layout::key(id, &file);
        let json = from.store.get(&key, limits::ANNOTATION_BYTES).await?;
        // It has the name of these bytes in the target, too.
        Annotation::decode(&json, id, &name).map_err(|error| SnapshotError::from(error).with_key(key))?;
        store(to, id, &name, json).await?;
        copied += 1;
    }
    Ok(copied)
}

fn names(objects: &ObjectsByName) -> impl Iterator<Item = AnnotationName> {
    objects.keys().filter_map(|file| layout::parse_annotation(file))
}

async fn read_one(store: &dyn SnapshotStore, id: &SnapshotId, name: &AnnotationName) -> Result<Annotation> {
    let key = layout::key(id, &layout::annotation(name));
    let json = store.get(&key, limits::ANNOTATION_BYTES).await?;
    Annotation::decode(&json, id, name).map_err(|error| SnapshotError::from(error).with_key(key))
}
