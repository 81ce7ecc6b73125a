//! From what a user calls a snapshot to its id, in the words of the command line. Which one is meant is decided by the library.

use std::error::Error as _;
use std::sync::PoisonError;

use ruvector_snapshot::{ErrorKind, NamedSnapshot, ResolvedId, SnapshotError, SnapshotId, SnapshotManager, SourceId};

use super::{Session, checked};
use crate::failure::Failure;
use crate::output::{plain, quoted};
use crate::values::DIRECTORY_PREFIX;
use crate::warnings::Warnings;

/// The text that means the newest snapshot of the store.
const LATEST: &str = "latest";
/// Number of other databases that a warning names.
const DATABASES_SHOWN: usize = 3;

/// What a name means that several snapshots have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Several {
    /// The newest of them.
    Newest,
    /// The newest of them, which a message names.
    NewestNamed,
    /// The newest of them, if all are of the same database.
    NewestOfOneSource,
    /// None: a wrong choice could not be undone.
    Refused,
}

impl Session {
    /// Resolves an id, an id prefix, a name or `latest`. An ambiguous one is wrong usage.
    pub(crate) async fn resolve(&self, manager: &SnapshotManager, text: &str) -> Result<String, Failure> {
        self.resolve_of_several(manager, text, Several::Newest).await
    }

    /// As [`resolve`](Self::resolve). `several` says what a name means that several snapshots have.
    pub(crate) async fn resolve_of_several(
        &self,
        manager: &SnapshotManager,
        text: &str,
        several: Several,
    ) -> Result<String, Failure> {
        self.resolve_with(manager, text, (None, several), &self.store, &self.store_flag()).await
    }

    /// As [`resolve`](Self::resolve), in the store at this location, which was typed after `flag`.
    pub(crate) async fn resolve_in(
        &self,
        manager: &SnapshotManager,
        text: &str,
        store: &str,
        flag: &str,
    ) -> Result<String, Failure> {
        self.resolve_with(manager, text, (None, Several::Newest), store, flag).await
    }

    /// As [`resolve`](Self::resolve), for the base of an increment of this source.
    pub(crate) async fn resolve_base(
        &self,
        manager: &SnapshotManager,
        text: &str,
        source: &SourceId,
    ) -> Result<String, Failure> {
        self.resolve_with(manager, text, (Some(source), Several::Newest), &self.store, &self.store_flag()).await
    }

    /// Returns what to check if the store is the wrong one.
    fn store_flag(&self) -> String {
        self.chosen.as_ref().map_or("--store", |chosen| checked(&chosen.origin)).to_owned()
    }

    async fn resolve_with(
        &self,
        manager: &SnapshotManager,
        text: &str,
        (source, several): (Option<&SourceId>, Several),
        store: &str,
        flag: &str,
    ) -> Result<String, Failure> {
        let resolved = async {
            let resolved = resolve_one(manager, text, source, several, &self.warnings).await;
            // The name of the directory of a snapshot, unless it is the name of one.
            let id = text.strip_prefix(DIRECTORY_PREFIX).map(|id| id.trim_end_matches('/'));
            match (id.filter(|id| id.parse::<SnapshotId>().is_ok()), &resolved) {
                (Some(id), Err(error)) if error.kind() == ErrorKind::NotFound => {
                    Ok(resolve_one(manager, id, source, several, &self.warnings).await)
                }
                _ => Ok(resolved),
            }
        };
        let inside = if store == self.store { self.store_inside() } else { String::new() };
        let resolved = self.read(manager, resolved).await?.map_err(|error| unresolved(error, store, flag, &inside));
        let known = resolved.as_ref().ok().map(|resolved| resolved.id.clone());
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).push(known);
        let resolved = resolved?;
        tracing::info!(given = %plain(text), id = resolved.id, "found the snapshot");
        if !resolved.databases.is_empty() {
            self.name_databases(text, &resolved);
        } else if several == Several::NewestNamed {
            self.name_newest(text, &resolved);
        }
        let id = resolved.id;
        match resolved.listed {
            Some(listed) => self.learn_listed(listed),
            None if self.ids.contains(&id) => {}
            None => self.read_ids(manager).await,
        }
        Ok(id)
    }

    /// Prints which snapshot is meant by a name that several have. The result has its id, but not that there are others.
    fn name_newest(&self, text: &str, ResolvedId { id, same_name, .. }: &ResolvedId) {
        let Some(newest) = same_name.first().filter(|_| !self.output.quiet) else { return };
        let taken = newest.created_at.map(|time| format!(", taken at {}", self.output.time(time))).unwrap_or_default();
        let (count, source) =
            (same_name.len(), newest.source.as_ref().map(|source| format!(", of {source}")).unwrap_or_default());
        self.output.notice(format_args!(
            "{text:?} is the name of {count} snapshots; the newest is meant: {id}{taken}{source}"
        ));
    }

    /// Says which database is meant. `latest` is the newest of the store by its definition. Of a name that several databases have it
    /// may not be known that there are others.
    fn name_databases(&self, text: &str, ResolvedId { id, databases, .. }: &ResolvedId) {
        let of =
            |named: &NamedSnapshot| named.source.as_ref().map(|source| format!(" of {source}")).unwrap_or_default();
        let (count, source) = (databases.len(), databases.first().map(of).unwrap_or_default());
        if text == LATEST {
            if !self.output.quiet {
                let message = format_args!("latest means {id}{source}; the store has snapshots of {count} databases");
                self.output.notice(message);
            }
            return;
        }
        let others = databases.iter().skip(1).take(DATABASES_SHOWN).map(|other| format!("{}{}", other.id, of(other)));
        self.warnings.add(&format!(
            "{text:?} is a name of snapshots of {count} databases; the newest is meant: {id}{source}. If that is not it, give an ID, \
             such as {}",
            others.collect::<Vec<_>>().join(", ")
        ));
    }

    /// Returns the id of the snapshot that the arguments mean, if it is only one.
    pub(crate) fn only_id(&self) -> Option<String> {
        match self.resolved.lock().unwrap_or_else(PoisonError::into_inner).as_slice() {
            [id] => id.clone(),
            _ => None,
        }
    }

    /// Resolves several arguments, each snapshot once.
    pub(crate) async fn resolve_all(
        &self,
        manager: &SnapshotManager,
        texts: &[String],
        several: Several,
    ) -> Result<Vec<String>, Failure> {
        let mut ids: Vec<String> = Vec::new();
        for text in texts {
            let id = self.resolve_of_several(manager, text, several).await?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Resolves several arguments of a command that changes nothing, each snapshot once. If one of several is not there, says
    /// that nothing was done to the others.
    pub(crate) async fn resolve_each(
        &self,
        manager: &SnapshotManager,
        texts: &[String],
        nothing_was_done: &str,
    ) -> Result<Vec<String>, Failure> {
        self.resolve_to_change(manager, texts, Several::Newest, nothing_was_done).await
    }

    /// As [`resolve_each`](Self::resolve_each), of a command that changes or removes what it is given.
    pub(crate) async fn resolve_to_change(
        &self,
        manager: &SnapshotManager,
        texts: &[String],
        several: Several,
        nothing_was_done: &str,
    ) -> Result<Vec<String>, Failure> {
        self.resolve_all(manager, texts, several).await.map_err(|failure| match texts.len() {
            0 | 1 => failure,
            _ => failure.with_hint(format!("{nothing_was_done}, not even the others")),
        })
    }
}

async fn resolve_one(
    manager: &SnapshotManager,
    text: &str,
    source: Option<&SourceId>,
    several: Several,
    warnings: &Warnings,
) -> Result<ResolvedId, SnapshotError> {
    match several {
        Several::Refused => manager.resolve_only(text, warnings).await,
        Several::NewestOfOneSource => manager.resolve_of_one_source(text, warnings).await,
        Several::Newest | Several::NewestNamed => manager.resolve_with(text, source, warnings).await,
    }
}

/// Returns the failure for something that was not found. The wrong store is the usual reason.
fn unresolved(error: SnapshotError, store: &str, flag: &str, inside: &str) -> Failure {
    let is_missing = error.kind() == ErrorKind::NotFound;
    match error.source() {
        // An error of the store, for example a missing bucket, is not wrong usage.
        Some(_) => Failure::from(error),
        None if is_missing => Failure::of_search(error)
            .with_hint(format!("the store is {}{inside}; check {flag}, and that its disk is mounted", quoted(store))),
        None => Failure::usage(error),
    }
}
