//! What a command has found corrupt while it read a snapshot is recorded beside the snapshot that the error names: `list` shows
//! it from then on, and no increment is based on it. Before that the file is read a second time: a single bad read proves
//! nothing of the snapshot. A verification records its own report, and a plan records nothing.

use std::sync::Arc;

use futures::stream::{BoxStream, Stream, StreamExt as _};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;
use ruvector_snapshot_format::ledger::{Finding, VerifyDepth};

use super::context::Context;
use super::ledger;
use super::verify::{Read, is_still_corrupt};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::Progress;

/// Returns the result of reading snapshots, after it was recorded if it proves that one of them is corrupt. A failure to
/// record is a warning of the manager: the error stays the same. If a second read is intact, the error says so, and is no
/// longer one of corruption.
pub(crate) fn recorded<'a, T: Send + 'a>(
    context: &'a Context,
    read: impl Future<Output = Result<T>> + Send + 'a,
) -> impl Future<Output = Result<T>> + Send + 'a {
    recorded_with(context, None, read)
}

/// As [`recorded`]. The listener receives the progress of the second read, which can be of many files.
pub(crate) fn recorded_with<'a, T: Send + 'a>(
    context: &'a Context,
    listener: Option<&'a dyn Progress>,
    read: impl Future<Output = Result<T>> + Send + 'a,
) -> impl Future<Output = Result<T>> + Send + 'a {
    // The futures of commands are large, and each caller would hold another copy.
    let read = Box::pin(read);
    async move {
        match read.await {
            Ok(read) => Ok(read),
            Err(error) => Err(record(context, error, Read::Records, listener).await),
        }
    }
}

/// As [`recorded`], of files that are only compared with their SHA-256.
pub(crate) async fn recorded_bytes<T>(context: &Context, read: impl Future<Output = Result<T>>) -> Result<T> {
    match read.await {
        Ok(read) => Ok(read),
        Err(error) => Err(record(context, error, Read::Bytes, None).await),
    }
}

/// As [`recorded_with`], of what a stream reads.
pub(crate) fn recorded_stream<T: Send + 'static>(
    context: &Context,
    listener: Option<Arc<dyn Progress>>,
    items: impl Stream<Item = Result<T>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let context = context.clone();
    items
        .then(move |item| {
            let (context, listener) = (context.clone(), listener.clone());
            async move { recorded_with(&context, listener.as_deref(), std::future::ready(item)).await }
        })
        .boxed()
}

/// Records an error beside the snapshot that it names, if it proves that this snapshot is corrupt. Returns the error to report.
async fn record(context: &Context, error: SnapshotError, read: Read, listener: Option<&dyn Progress>) -> SnapshotError {
    let Some((id, finding)) = proof(&error) else { return error };
    match confirm(context, &id, &finding, read, listener).await {
        Some(false) => read_badly(error),
        Some(true) => {
            add(context, &id, finding).await;
            error
        }
        None => error,
    }
}

/// As [`record`], of a snapshot that several stores have, each of which may have been read. If `is_named`, the error names the
/// stores in which it is corrupt.
pub(crate) async fn record_in_stores(
    contexts: &[&Context],
    is_named: bool,
    error: SnapshotError,
    listener: Option<&dyn Progress>,
) -> SnapshotError {
    let Some((id, finding)) = proof(&error).filter(|_| !contexts.is_empty()) else { return error };
    let (mut corrupt, mut is_known) = (Vec::new(), true);
    for context in contexts {
        match confirm(context, &id, &finding, Read::Records, listener).await {
            Some(true) => {
                add(context, &id, finding.clone()).await;
                corrupt.push(context.store.to_string());
            }
            Some(false) => {}
            None => is_known = false,
        }
    }
    match corrupt.is_empty() {
        true if is_known => read_badly(error),
        true => error,
        false if is_named => error.in_stores(&corrupt),
        false => error,
    }
}

/// Reads a file again that was found corrupt, and returns whether it is. `None`, and a warning, if that is not known.
async fn confirm(
    context: &Context,
    id: &SnapshotId,
    finding: &Finding,
    read: Read,
    listener: Option<&dyn Progress>,
) -> Option<bool> {
    match is_still_corrupt(context, id, &finding.file, read, listener).await {
        Ok(is_corrupt) => Some(is_corrupt),
        Err(error) => {
            context.notices.add(&format!(
                "that snapshot {id} is corrupt was not recorded beside it, because {} could not be read a second time: {error}",
                finding.file
            ));
            None
        }
    }
}

async fn add(context: &Context, id: &SnapshotId, finding: Finding) {
    let entry = ledger::new_entry(id, context.clock.now(), VerifyDepth::Read);
    let recorded = match entry {
        Ok(mut entry) => {
            entry.add_finding(finding);
            ledger::record(context, &entry).await
        }
        Err(error) => Err(error),
    };
    let Err(error) = recorded else { return };
    let warning = format!(
        "that snapshot {id} is corrupt could not be recorded beside it, so `list` does not show it, and an increment may be \
         based on it: {error}"
    );
    context.notices.add(&warning);
}

/// Returns the error of a file that was corrupt when it was read, and intact when it was read again.
fn read_badly(error: SnapshotError) -> SnapshotError {
    let message = "what was read was corrupt, but a second read was intact, so the snapshot is intact in the store and nothing was \
                   recorded; the connection, the memory or a disk of this machine may be at fault: check them, and repeat this";
    let read_badly = SnapshotError::new(ErrorKind::Unavailable, message);
    let key = error.key().map(str::to_owned);
    key.into_iter().fold(read_badly, SnapshotError::with_key).with_source(error)
}

/// Returns what an error proves of a snapshot: only corruption in one of its five files. An error of the connection or of the
/// disk proves nothing, and neither does what a ledger says already.
fn proof(error: &SnapshotError) -> Option<(SnapshotId, Finding)> {
    let (id, file) = error.key().filter(|_| error.kind() == ErrorKind::Corrupt).and_then(layout::parse_key)?;
    let finding =
        Finding { snapshot: id.to_string(), file: file.to_owned(), block: None, detail: error.message().to_owned() };
    layout::FILES.contains(&file).then_some((id, finding))
}
