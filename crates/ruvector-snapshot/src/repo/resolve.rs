//! Resolves what a user calls a snapshot: an id, the start of one, a name, or `latest`.
//!
//! A snapshot that is dated in the future, after a clock was wrong, would be the latest until then. A name and `latest`
//! mean it only if they can mean no other.

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::metadata::{SourceId, SourceInfo};

use super::context::Context;
use super::inventory::Inventory;
use super::presence::exists;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Progress, warn};
use crate::snapshot::{CLOCK_TOLERANCE, Listing, Snapshot};
use crate::text::{closest, composed_source, is_almost_start_of, is_same};

/// The first characters of an id are its time.
const ID_TIME_CHARS: usize = 19;

/// The id of the snapshot that a user means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvedId {
    /// The id.
    pub id: String,
    /// All [ids](Listing::ids) of the listing that was read for it. `None` if there was none, because the whole id was given.
    pub listed: Option<Vec<String>>,
}

/// Returns the id of the snapshot that a user means.
///
/// With a source, a name and `latest` mean only snapshots of this source. The same path on another host is another source:
/// many machines have their databases at the same place. `progress` receives a warning if a snapshot is dated in the future and was skipped or used for that reason.
pub(crate) async fn resolve(
    context: &Context,
    text: &str,
    source: Option<&SourceId>,
    progress: Option<&dyn Progress>,
) -> Result<ResolvedId> {
    // A whole id needs no listing, so unreadable snapshots are no obstacle.
    if let Ok(id) = text.parse::<SnapshotId>()
        && exists(context.store.as_ref(), &id).await.unwrap_or(false)
    {
        return Ok(ResolvedId { id: id.to_string(), listed: None });
    }
    let listing = Inventory::read(context).await?.listing;
    let scope = source.map_or(Scope::Everything, Scope::Source);
    match resolve_in(&listing, text, scope) {
        Ok(resolved) => {
            if let Some(warning) = resolved.warning(&listing, text) {
                warn(progress, &warning);
            }
            let listed = listing.ids().map(str::to_owned).collect();
            Ok(ResolvedId { id: resolved.id.to_owned(), listed: Some(listed) })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(source.and_then(|source| none_of_source(&listing, text, source)).unwrap_or(error))
        }
        Err(error) => Err(error),
    }
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

/// Returns the error if only other sources have a snapshot of this name. `None` if no source has one.
fn none_of_source(listing: &Listing, text: &str, source: &SourceId) -> Option<SnapshotError> {
    let is_named = |snapshot: &&Snapshot| text == "latest" || is_same(&snapshot.name, text);
    let others: Vec<&Snapshot> = listing.snapshots.iter().filter(is_named).collect();
    let nearest = others.iter().find(|other| may_be_same_database(&other.source, source)).or_else(|| others.first())?;
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

/// Returns whether another source may be the same database: the path is the same on another host, or nothing is recorded.
fn may_be_same_database(other: &SourceInfo, source: &SourceId) -> bool {
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
    if let Some(id) = ids().find(|id| *id == text) {
        return Ok(Resolved::by_id(id));
    }
    let starting: Vec<&str> = ids().filter(|id| !text.is_empty() && id.starts_with(text)).collect();
    if let Some(id) = newest_named(listing, text, scope)? {
        let skipped = named(listing, text, scope).map(|(other, ..)| other);
        let skipped = skipped.filter(|other| listing.is_dated_in_future(other)).max();
        let skipped = skipped.filter(|_| !listing.is_dated_in_future(id));
        return match starting.iter().any(|other| *other != id) {
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
            let message = format!(
                "{id} is the newest readable snapshot with the name {text:?}, but the name of {other} cannot be read, and it may be \
                 the one that is meant; give the whole id"
            );
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
