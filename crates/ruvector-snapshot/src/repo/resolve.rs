//! Resolves what a user calls a snapshot: an id, the start of one, a name, or `latest`.
//!
//! A snapshot that is dated in the future, after a clock was wrong, would be the latest until then. A name and `latest`
//! mean it only if they can mean no other.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::metadata::{SourceId, SourceInfo};

use super::context::Context;
use super::inventory::Inventory;
use super::names::check_name;
use super::presence::exists;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Progress, warn};
use crate::snapshot::{CLOCK_TOLERANCE, Listing, Snapshot, UnusableSnapshot};
use crate::text::{closest, composed_source, is_almost_start_of, is_same, utc_time};

/// The first characters of an id are its time.
const ID_TIME_CHARS: usize = 19;

/// The first characters of the time are its date.
const ID_DATE_CHARS: usize = 8;

/// Number of snapshots with the same name that an error message has.
const SAME_NAME_SHOWN: usize = 5;

/// The id of the snapshot that a user means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvedId {
    /// The id.
    pub id: String,
    /// All [ids](Listing::ids) of the listing that was read for it. `None` if there was none, because the whole id was given.
    pub listed: Option<Vec<String>>,
    /// The snapshots that have the name that was given, if it is the name of several: the one that is meant first, and then
    /// the others, newest first.
    pub same_name: Vec<NamedSnapshot>,
    /// The newest snapshot of each database that the name or `latest` could mean, if there are several: the one that is meant
    /// first, and then the others, newest first.
    pub databases: Vec<NamedSnapshot>,
}

/// One of several snapshots with the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedSnapshot {
    /// The id.
    pub id: String,
    /// When it was taken. `None` if that cannot be known.
    pub created_at: Option<DateTime<Utc>>,
    /// Where its records came from, as text. `None` if that is not recorded, or cannot be read.
    pub source: Option<String>,
}

/// What a name means that several snapshots have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeveralNamed {
    /// The newest of them.
    Newest,
    /// The newest of them, if all are of the same source.
    NewestOfOneSource,
    /// None of them.
    Refused,
}

/// Returns the id of the snapshot that a user means.
///
/// With a source, a name and `latest` mean only snapshots of this source. The same path on another host is another source:
/// many machines have their databases at the same place. `progress` receives a warning if a snapshot is dated in the future and was skipped or used for that reason.
pub(crate) async fn resolve(
    context: &Context,
    text: &str,
    source: Option<&SourceId>,
    several: SeveralNamed,
    progress: Option<&dyn Progress>,
) -> Result<ResolvedId> {
    // A whole id needs no listing, so unreadable snapshots are no obstacle.
    if let Ok(id) = text.parse::<SnapshotId>()
        && exists(context.store.as_ref(), &id).await.unwrap_or(false)
    {
        let (same_name, databases) = (Vec::new(), Vec::new());
        return Ok(ResolvedId { id: id.to_string(), listed: None, same_name, databases });
    }
    let listing = Inventory::read(context).await?.listing;
    let scope = source.map_or(Scope::Everything, Scope::Source);
    match resolve_in(&listing, text, scope) {
        Ok(resolved) => {
            let same_name = resolved.same_name(&listing, text, scope);
            let databases = resolved.databases(&listing, text, scope);
            match several {
                SeveralNamed::Newest => {}
                SeveralNamed::NewestOfOneSource => {
                    resolved.refuse_short(text)?;
                    refuse_several_databases(text, &databases)?;
                }
                SeveralNamed::Refused => {
                    resolved.refuse_short(text)?;
                    refuse_several(text, &same_name)?;
                }
            }
            for warning in resolved.warning(&listing, text).into_iter().chain(resolved.lost(&listing, text)) {
                warn(progress, &warning);
            }
            let listed = listing.ids().map(str::to_owned).collect();
            Ok(ResolvedId { id: resolved.id.to_owned(), listed: Some(listed), same_name, databases })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let error = nameless(&listing, text).unwrap_or(error);
            Err(source.and_then(|source| none_of_source(&listing, text, source)).unwrap_or(error))
        }
        Err(error) => Err(error),
    }
}

/// Returns the error for a name that no snapshot has as far as it is known, if there are some whose names cannot be read.
pub(crate) fn nameless(listing: &Listing, text: &str) -> Option<SnapshotError> {
    check_name(text).ok()?;
    let nameless: Vec<_> = listing.unusable.iter().filter(|unusable| unusable.name.is_none()).collect();
    // One that could not be read may be intact: it is not known that there is no such snapshot.
    let example = nameless.iter().find(|unusable| unusable.is_unread()).or_else(|| nameless.first())?;
    let (which, meant) = match nameless.len() {
        1 => ("metadata.json of 1 snapshot cannot be read".to_owned(), "it may be the one that is meant"),
        number => {
            (format!("metadata.json of {number} snapshots cannot be read"), "one of them may be the one that is meant")
        }
    };
    let kind = if example.is_unread() { example.error.kind() } else { ErrorKind::NotFound };
    let message = format!(
        "no snapshot has the id, id prefix or name {text:?} as far as is known, but {which}, and {meant}: {} ({}); give the \
         whole id, which `list` shows, or make it readable",
        example.id, example.error
    );
    Some(SnapshotError::new(kind, message))
}

/// Refuses a name that several snapshots have.
fn refuse_several(text: &str, same_name: &[NamedSnapshot]) -> Result<()> {
    if same_name.is_empty() {
        return Ok(());
    }
    let shown = same_name.iter().take(SAME_NAME_SHOWN).map(|one| {
        let taken = one.created_at.map(|time| format!(", taken at {}", utc_time(time))).unwrap_or_default();
        let source = one.source.as_ref().map(|source| format!(" of {source}")).unwrap_or_default();
        format!("{}{taken}{source}", one.id)
    });
    let shown = shown.collect::<Vec<_>>().join("; ");
    let more = match same_name.len().saturating_sub(SAME_NAME_SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let count = same_name.len();
    let message =
        format!("{count} snapshots have the name {text:?}: {shown}{more}. Give the id of the one that is meant");
    Err(SnapshotError::new(ErrorKind::Ambiguous, message))
}

/// Refuses a name, or `latest`, that snapshots of several databases could be meant by.
fn refuse_several_databases(text: &str, databases: &[NamedSnapshot]) -> Result<()> {
    if databases.is_empty() {
        return Ok(());
    }
    let shown = databases.iter().take(SAME_NAME_SHOWN);
    let shown: Vec<_> = shown
        .map(|newest| {
            format!("{} of {}", newest.id, newest.source.as_deref().unwrap_or("a source that is not recorded"))
        })
        .collect();
    let message = format!(
        "the store has snapshots of {} databases that {text:?} could mean, and this changes a file that exists. The newest of \
         each: {}. Give the id of the one that is meant",
        databases.len(),
        shown.join("; ")
    );
    Err(SnapshotError::new(ErrorKind::Ambiguous, message))
}

/// The snapshot that is meant.
struct Resolved<'a> {
    id: &'a str,
    /// The newest snapshot that would be meant if it were not dated in the future.
    skipped: Option<&'a str>,
    /// Whether it was chosen as the newest of several.
    is_newest: bool,
}

impl<'a> Resolved<'a> {
    fn by_id(id: &'a str) -> Self {
        Self { id, skipped: None, is_newest: false }
    }

    /// Refuses a start of an id that is not longer than its date: in a store with one snapshot, the first character would do, and a
    /// date can be a name, of a snapshot that was just deleted.
    fn refuse_short(&self, text: &str) -> Result<()> {
        if self.is_newest || text.len() > ID_DATE_CHARS {
            return Ok(());
        }
        let message = format!(
            "{text:?} is only the start of the id {}; give at least {} characters of the id, or a name",
            self.id,
            ID_DATE_CHARS + 1
        );
        Err(SnapshotError::new(ErrorKind::Ambiguous, message))
    }

    /// Returns the snapshots of the name, if there are several, the one that is meant first.
    fn same_name(&self, listing: &Listing, text: &str, scope: Scope<'_>) -> Vec<NamedSnapshot> {
        if text == "latest" {
            return Vec::new();
        }
        several(self.candidates(listing, text, scope).into_iter().map(|(_, snapshot)| snapshot).collect())
    }

    /// Returns the newest snapshot of each database that could be meant, if there are several, the one that is meant first.
    fn databases(&self, listing: &Listing, text: &str, scope: Scope<'_>) -> Vec<NamedSnapshot> {
        let mut newest: Vec<(Option<&SourceInfo>, NamedSnapshot)> = Vec::new();
        for (source, snapshot) in self.candidates(listing, text, scope) {
            // Of what cannot be read it is not known whose it is.
            let may_be_same = |other: Option<&SourceInfo>| {
                other.zip(source).is_none_or(|(other, source)| may_be_same_database(other, source))
            };
            if !newest.iter().any(|(other, _)| may_be_same(*other)) {
                newest.push((source, snapshot));
            }
        }
        several(newest.into_iter().map(|(_, snapshot)| snapshot).collect())
    }

    /// Returns the snapshots that a name, or `latest`, could mean, each with its source: the one that is meant first, and then the
    /// others, newest first. None if it is no name.
    fn candidates<'b>(
        &self,
        listing: &'b Listing,
        text: &str,
        scope: Scope<'_>,
    ) -> Vec<(Option<&'b SourceInfo>, NamedSnapshot)> {
        if !self.is_newest {
            return Vec::new();
        }
        let ids: BTreeSet<&str> = named(listing, text, scope).map(|(id, _)| id).collect();
        let usable = listing.snapshots.iter().map(|snapshot| (Some(&snapshot.source), NamedSnapshot::from(snapshot)));
        let unusable = listing.unusable.iter().map(|one| (one.source.as_ref(), NamedSnapshot::from(one)));
        let mut all: Vec<_> = usable.chain(unusable).filter(|(_, one)| ids.contains(one.id.as_str())).collect();
        all.sort_by(|(_, a), (_, b)| (b.id == self.id, &b.id).cmp(&(a.id == self.id, &a.id)));
        all
    }

    /// Returns that a newer snapshot may have been meant, which may have lost the file with its name.
    fn lost(&self, listing: &Listing, text: &str) -> Option<String> {
        let lost = listing.possibly_lost.iter().filter(|lost| self.is_newest && lost.as_str() > self.id);
        let lost = lost.filter(|lost| !listing.is_dated_in_future(lost)).max()?;
        Some(format!(
            "{text:?} means {}, but {lost} is newer, and may be a snapshot that has lost its metadata.json, so it may be the one that is \
             meant; `list` says more",
            self.id
        ))
    }

    /// Returns what the user should know about a snapshot that is dated in the future.
    fn warning(&self, listing: &Listing, text: &str) -> Option<String> {
        let minutes = CLOCK_TOLERANCE.num_minutes();
        let check = "check the clock of this machine and of the one that took it";
        if let Some(skipped) = self.skipped {
            return Some(format!(
                "{text:?} means {}, because snapshot {skipped} is dated more than {minutes} minutes in the future; {check}",
                self.id
            ));
        }
        (self.is_newest && listing.is_dated_in_future(self.id)).then(|| {
            format!(
                "{text:?} means {}, which is dated more than {minutes} minutes in the future, because it can mean no other; {check}",
                self.id
            )
        })
    }
}

/// Returns the snapshots if there is more than one.
fn several(snapshots: Vec<NamedSnapshot>) -> Vec<NamedSnapshot> {
    if snapshots.len() > 1 { snapshots } else { Vec::new() }
}

impl NamedSnapshot {
    fn new(id: &str, created_at: Option<DateTime<Utc>>, source: Option<&SourceInfo>) -> Self {
        Self { id: id.to_owned(), created_at, source: source.and_then(SourceInfo::id).map(|source| source.to_string()) }
    }
}

impl From<&Snapshot> for NamedSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self::new(&snapshot.id, Some(snapshot.created_at), Some(&snapshot.source))
    }
}

impl From<&UnusableSnapshot> for NamedSnapshot {
    fn from(unusable: &UnusableSnapshot) -> Self {
        Self::new(&unusable.id, Listing::moment_of(&unusable.id), unusable.source.as_ref())
    }
}

/// Returns the error if only other sources have a snapshot of this name. `None` if no source has one.
fn none_of_source(listing: &Listing, text: &str, source: &SourceId) -> Option<SnapshotError> {
    let is_named = |snapshot: &&Snapshot| text == "latest" || is_same(&snapshot.name, text);
    let others: Vec<&Snapshot> = listing.snapshots.iter().filter(is_named).collect();
    let nearest = others.iter().find(|other| is_near(&other.source, source)).or_else(|| others.first())?;
    let of = nearest.source.id().map_or("that does not record its source".to_owned(), |id| format!("of {id}"));
    let named = if text == "latest" { String::new() } else { format!(" with the name {text:?}") };
    let message = format!(
        "the store has no snapshot of this source ({source}){named}, only {} of others, for example {} {of}; take a full \
         snapshot, or give the id of a snapshot of the same database",
        others.len(),
        nearest.id
    );
    Some(SnapshotError::new(ErrorKind::NotFound, message))
}

/// Returns whether two sources may be one database. If both have a name, the names decide; then the paths, which are those of one
/// host unless a host is not recorded. If neither can be compared, they may be one if they are of one kind.
pub(crate) fn may_be_same_database(one: &SourceInfo, other: &SourceInfo) -> bool {
    let is_equal =
        |one: &Option<String>, other: &Option<String>| one.as_ref().zip(other.as_ref()).map(|(a, b)| is_same(a, b));
    let is_on_one_host = is_equal(&one.host, &other.host).unwrap_or(true);
    let (names, paths) = (is_equal(&one.name, &other.name), is_equal(&one.path, &other.path));
    names.or(paths.map(|is_equal| is_equal && is_on_one_host)).unwrap_or(one.kind == other.kind)
}

/// Returns whether a snapshot of another source is worth to be named: its path is the same on another host, or it records nothing.
fn is_near(other: &SourceInfo, source: &SourceId) -> bool {
    match (other.id(), source) {
        (None, _) => true,
        (Some(SourceId::Path { path: other, .. }), SourceId::Path { path, .. }) => other == *path,
        _ => false,
    }
}

/// Which snapshots a name or `latest` can mean.
#[derive(Clone, Copy)]
enum Scope<'a> {
    Everything,
    Source(&'a SourceId),
}

impl Scope<'_> {
    /// Returns whether a snapshot of this source can be meant. A source that cannot be read may be the right one.
    fn includes(self, source: Option<&SourceInfo>) -> bool {
        source.is_none_or(|source| match self {
            Self::Everything => true,
            Self::Source(id) => {
                source.id().is_some_and(|source| composed_source(source) == composed_source(id.clone()))
            }
        })
    }
}

fn resolve_in<'a>(listing: &'a Listing, text: &str, scope: Scope<'_>) -> Result<Resolved<'a>> {
    let ids = || {
        let usable = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str());
        usable.chain(listing.unusable.iter().map(|unusable| unusable.id.as_str()))
    };
    // What may be a lost snapshot can be deleted, by its whole id.
    if let Some(id) = ids().chain(listing.possibly_lost.iter().map(String::as_str)).find(|id| *id == text) {
        return Ok(Resolved::by_id(id));
    }
    let starting: Vec<&str> = ids().filter(|id| !text.is_empty() && id.starts_with(text)).collect();
    if let Some(id) = newest_named(listing, text, scope)? {
        let skipped = named(listing, text, scope).map(|(other, ..)| other);
        let skipped = skipped.filter(|other| listing.is_dated_in_future(other)).max();
        let skipped = skipped.filter(|_| !listing.is_dated_in_future(id));
        // A date, as of a script, is a name before it is the start of an id.
        let is_date = text.len() <= ID_DATE_CHARS;
        return match starting.iter().any(|other| *other != id) && !is_date {
            false => Ok(Resolved { id, skipped, is_newest: true }),
            true => {
                let message = format!("{text:?} is the name of {id} and the start of another id; give the whole id");
                Err(SnapshotError::new(ErrorKind::Ambiguous, message))
            }
        };
    }
    match starting.as_slice() {
        [id] => Ok(Resolved::by_id(id)),
        [] if text == "latest" => {
            Err(SnapshotError::new(ErrorKind::NotFound, "the store has no snapshots, so there is no latest one"))
        }
        [] if listing.pending_uploads.iter().any(|id| id == text) => {
            let message = format!(
                "{text} has no metadata.json, so it is no snapshot: it is an upload that has not ended, or the file was lost; if it \
                 was lost, put it back from a copy of the store"
            );
            Err(SnapshotError::new(ErrorKind::NotFound, message))
        }
        [] => {
            let shown: String = text.chars().take(64).collect();
            let more = if shown.len() < text.len() { "…" } else { "" };
            let meant = meant(listing, text, scope).map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            let message =
                format!("no snapshot has the id, id prefix or name {shown:?}{more}; {meant}`list` shows all snapshots");
            Err(SnapshotError::new(ErrorKind::NotFound, message))
        }
        [first, second, ..] => {
            let count = starting.len();
            let message =
                format!("{count} ids start with {text:?}, for example {first} and {second}; give more characters");
            Err(SnapshotError::new(ErrorKind::Ambiguous, message))
        }
    }
}

/// Returns what may have been meant by a text that means nothing: a name that is like it, or the only id with such a start.
fn meant(listing: &Listing, text: &str, scope: Scope<'_>) -> Option<String> {
    // Every short name is like every other.
    if text.chars().count() < 3 {
        return None;
    }
    let usable = listing.snapshots.iter().filter(|snapshot| scope.includes(Some(&snapshot.source)));
    let names = usable.clone().map(|snapshot| snapshot.name.as_str());
    if let Some(name) = closest(text, names.chain(usable.clone().next().map(|_| "latest"))) {
        return Some(format!("{name:?}"));
    }
    let mut alike = usable.map(|snapshot| &snapshot.id).filter(|id| is_almost_start_of(text, id));
    alike.next().filter(|_| alike.next().is_none()).cloned()
}

/// Returns the newest snapshot of this name in the scope, or of any name for `latest`; one that is dated in the future
/// only if there is no other. An unusable one counts: an older one in its place would not be the one that the user
/// means.
fn newest_named<'a>(listing: &'a Listing, text: &str, scope: Scope<'_>) -> Result<Option<&'a str>> {
    let is_credible = |id: &str| !listing.is_dated_in_future(id);
    let newest =
        named(listing, text, scope).max_by_key(|(id, place)| (is_credible(id), id.get(..ID_TIME_CHARS), *place, *id));
    let Some((id, _)) = newest else { return Ok(None) };
    // A better one whose name cannot be read may be the one that is meant.
    let nameless = listing.unusable.iter().filter(|unusable| unusable.name.is_none());
    let nameless = nameless.map(|unusable| unusable.id.as_str()).max_by_key(|id| (is_credible(id), *id));
    match nameless.filter(|other| (is_credible(other), *other) > (is_credible(id), id)) {
        None => Ok(Some(id)),
        Some(other) => {
            let message = match text {
                "latest" => format!(
                    "{id} is the newest snapshot that can be read, but {other} is newer and cannot be read, and it may be the one \
                     that is meant; give the whole id"
                ),
                _ => format!(
                    "{id} is the newest snapshot with the name {text:?}, but the name of {other}, which is newer, cannot be read, and \
                     it may be the one that is meant; give the whole id"
                ),
            };
            Err(SnapshotError::new(ErrorKind::Ambiguous, message))
        }
    }
}

/// Returns the snapshots of this name in the scope, or of any name for `latest`, each with its place among those of the
/// same time: ids start with the time. They are ordered as in the listing, with unusable ones after them.
fn named<'a>(listing: &'a Listing, text: &str, scope: Scope<'_>) -> impl Iterator<Item = (&'a str, usize)> {
    let usable = listing.snapshots.iter().rev().zip(1..);
    let usable = usable.filter(move |(snapshot, _)| scope.includes(Some(&snapshot.source)));
    let usable = usable.map(|(snapshot, place)| (snapshot.id.as_str(), Some(snapshot.name.as_str()), place));
    let unusable = listing.unusable.iter().filter(move |unusable| scope.includes(unusable.source.as_ref()));
    let all = usable.chain(unusable.map(|unusable| (unusable.id.as_str(), unusable.name.as_deref(), 0)));
    let named = all.filter(move |(_, name, _)| text == "latest" || name.is_some_and(|name| is_same(name, text)));
    named.map(|(id, _, place)| (id, place))
}
