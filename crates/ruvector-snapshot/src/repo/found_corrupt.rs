//! What a command has found corrupt while it read a snapshot is recorded beside the snapshot that the error names: `list` shows
//! it from then on, and no increment is based on it. A verification records its own report, and a plan records nothing.

use futures::stream::{BoxStream, Stream, StreamExt as _};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;
use ruvector_snapshot_format::ledger::{Finding, VerifyDepth};

use super::context::Context;
use super::ledger;
use crate::error::{ErrorKind, Result, SnapshotError};

/// Returns the result of reading snapshots, after it was recorded if it proves that one of them is corrupt. A failure to
/// record is a warning of the manager: the error stays the same.
pub(crate) fn recorded<'a, T: Send + 'a>(
    context: &'a Context,
    read: impl Future<Output = Result<T>> + Send + 'a,
) -> impl Future<Output = Result<T>> + Send + 'a {
    // The futures of commands are large, and each caller would hold another copy.
    let read = Box::pin(read);
    async move {
        match read.await {
            Ok(read) => Ok(read),
            Err(error) => {
                record(context, &error).await;
                Err(error)
            }
        }
    }
}

/// As [`recorded`], of what a stream reads.
pub(crate) fn recorded_stream<T: Send + 'static>(
    context: &Context,
    items: impl Stream<Item = Result<T>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let context = context.clone();
    items
        .then(move |item| {
            let context = context.clone();
            async move { recorded(&context, std::future::ready(item)).await }
        })
        .boxed()
}

/// Records an error beside the snapshot that it names, if it proves that this snapshot is corrupt.
pub(crate) async fn record(context: &Context, error: &SnapshotError) {
    let Some((id, finding)) = proof(error) else { return };
    let entry = ledger::new_entry(&id, context.clock.now(), VerifyDepth::Read);
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

/// Returns what an error proves of a snapshot: only corruption in one of its five files. An error of the connection or of the
/// disk proves nothing, and neither does what a ledger says already.
fn proof(error: &SnapshotError) -> Option<(SnapshotId, Finding)> {
    let (id, file) = error.key().filter(|_| error.kind() == ErrorKind::Corrupt).and_then(layout::parse_key)?;
    let finding =
        Finding { snapshot: id.to_string(), file: file.to_owned(), block: None, detail: error.message().to_owned() };
    layout::FILES.contains(&file).then_some((id, finding))
}
