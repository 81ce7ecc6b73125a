//! Whether a file that is replaced or merged into is the database of other snapshots: the mistake that a wrong id or path makes. A
//! file that cannot be read can be one too, so this compares paths only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ruvector_snapshot_format::metadata::SourceInfo;

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::repo::context::Context;
use crate::repo::inventory::Inventory;
use crate::repo::resolve::may_be_same_database;
use crate::snapshot::Listing;
use crate::source::destination_checks::{Check, Finding};

/// Refuses a file that is the database of other snapshots in the store, unless that is accepted. Then it is a warning, and so is that
/// the store cannot be listed.
pub(super) async fn check(context: &Context, path: &Path, source: &SourceInfo, accepts_other: bool) -> Result<Check> {
    let verdict = match Inventory::read(context).await {
        Ok(inventory) => match owner(context, &inventory.listing, path, source).await? {
            Some(other_id) => of_others(path, &other_id, source, accepts_other),
            None => Ok(Finding::Passed),
        },
        Err(error) => Ok(Finding::Doubtful(format!(
            "it was not checked whether {} is the database of other snapshots: {error}",
            path.display()
        ))),
    };
    Ok(Check { name: "database of others", verdict })
}

fn of_others(path: &Path, other_id: &str, source: &SourceInfo, accepts_other: bool) -> Result<Finding, SnapshotError> {
    let own = source.id_or_kind();
    if accepts_other {
        let path = path.display();
        return Ok(Finding::Doubtful(format!(
            "{path} is the database of snapshot {other_id}, and the snapshot that is restored is of {own}"
        )));
    }
    let message = format!(
        "this file is the database of snapshot {other_id}, and the snapshot that is restored is of {own}; the file was not changed"
    );
    let error = SnapshotError::new(ErrorKind::AlreadyExists, message).with_key(path.display().to_string());
    let advice = "check the id and the path, or accept the other database (other_database)";
    Err(error.with_remedy(Remedy::OtherDatabase, advice))
}

/// Returns the id of a snapshot of the database at this path, if the store has only those of other sources than this. Paths are
/// those of this host, or of the host of the snapshot that is restored. A snapshot that cannot be used shows its source too: without a
/// backup, the database is needed more than any.
async fn owner(context: &Context, listing: &Listing, path: &Path, source: &SourceInfo) -> Result<Option<String>> {
    let hosts = [&context.config.host, &source.host];
    let usable = listing.snapshots.iter().map(|snapshot| (&snapshot.id, &snapshot.source));
    let unusable = listing.unusable.iter().filter_map(|unusable| Some((&unusable.id, unusable.source.as_ref()?)));
    let near: Vec<_> = usable.chain(unusable).filter(|(_, near)| hosts.contains(&&near.host)).collect();
    let recorded: BTreeSet<String> = near.iter().filter_map(|(_, near)| near.path.clone()).collect();
    let file = path.to_owned();
    // A recorded path can lead through links, and the given one too.
    let of_file = move || {
        let names = names_of(&file);
        let is_of_file = |recorded: &String| !names_of(Path::new(recorded)).is_disjoint(&names);
        Ok(recorded.into_iter().filter(is_of_file).collect::<BTreeSet<String>>())
    };
    let of_file = context.run_blocking(of_file).await?;
    let is_of_file =
        |(_, near): &&(&String, &SourceInfo)| near.path.as_ref().is_some_and(|path| of_file.contains(path));
    let is_own = |(_, near): &(&String, &SourceInfo)| may_be_same_database(near, source);
    let mut others = near.iter().filter(is_of_file);
    let Some(first) = others.next() else { return Ok(None) };
    Ok((!is_own(first) && !others.any(is_own)).then(|| first.0.clone()))
}

/// Returns the absolute path, and that without links.
fn names_of(path: &Path) -> BTreeSet<PathBuf> {
    [std::path::absolute(path).ok(), path.canonicalize().ok()].into_iter().flatten().collect()
}
