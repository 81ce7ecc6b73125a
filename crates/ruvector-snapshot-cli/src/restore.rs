//! `restore`: a snapshot into a database file.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ruvector_snapshot::{ErrorKind, RestoreOptions, Snapshot};
use serde_json::json;

use crate::args::Restore;
use crate::failure::{Exit, Failure, kind_name};
use crate::output::{moment, pace, shape, size};
use crate::progress::Shown;
use crate::session::Session;

pub(crate) async fn restore(session: &Session, args: Restore) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let began = Instant::now();
    let snapshot = {
        let progress = Shown::new(session.output);
        let options = RestoreOptions { overwrite: args.force, progress: progress.listener() };
        let aftermath = aftermath(args.to.clone());
        session.run(&manager, manager.restore_snapshot_to(&id, &args.to, &options), aftermath).await
    };
    let snapshot = snapshot.map_err(|failure| explained(failure, &args.to))?;
    print(session, &snapshot, &args.to, began.elapsed())?;
    Ok(Exit::Done)
}

fn print(session: &Session, snapshot: &Snapshot, to: &Path, taken: Duration) -> Result<(), Failure> {
    let file_bytes = fs::metadata(to).map(|metadata| metadata.len()).ok();
    let output = session.output;
    output.document(&json!({
        "snapshot": snapshot, "to": to.to_string_lossy(), "records": snapshot.vector_count, "file_bytes": file_bytes,
        "checksum_proved": snapshot.checksum, "seconds": taken.as_secs_f64(),
    }))?;
    output.line(format_args!("restored {} to {}", snapshot.id, to.display()))?;
    output.field("name", &snapshot.name)?;
    output.field("as of", moment(snapshot.created_at))?;
    output.field("vectors", shape(snapshot))?;
    if let Some(bytes) = file_bytes {
        output.field("file", size(bytes))?;
    }
    output.field("time", pace(taken, snapshot.raw_bytes))?;
    output.field("proved", "the file was read back, and its content checksum is the snapshot's:")?;
    output.field("", &snapshot.checksum)
}

fn explained(failure: Failure, to: &Path) -> Failure {
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let is_kind = |kind| failure.kind() == kind_name(kind);
    match directory {
        _ if is_kind(ErrorKind::AlreadyExists) => {
            failure.with_hint("--force replaces what stands there, in one step at the very end")
        }
        _ if is_kind(ErrorKind::Damaged) => failure.with_hint(format!(
            "nothing was written to {}; verify shows all of the damage, and another snapshot may be whole",
            to.display()
        )),
        Some(directory) if !directory.exists() => {
            failure.with_hint(format!("make the directory {} first", directory.display()))
        }
        _ => failure,
    }
}

/// Finds out whether the place is as it was.
fn aftermath(place: PathBuf) -> impl FnOnce() -> String + Send + 'static {
    let before = fs::metadata(&place).ok();
    move || match (before, fs::metadata(&place).ok()) {
        (None, None) => "nothing was restored, and nothing was left behind".to_owned(),
        (Some(before), Some(after)) if is_same_file(&before, &after) => {
            format!("{} is as it was, and nothing was left behind", place.display())
        }
        _ => format!("{} had been restored and proved already, and stays", place.display()),
    }
}

fn is_same_file(before: &Metadata, after: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (before.dev(), before.ino()) == (after.dev(), after.ino())
}
