//! A strict create: it fails if the snapshot would not hold something that belongs to the database.

use futures::stream::StreamExt;

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::repo::pipeline::{BlockEvent, BlockStream, SourceTrailer};

/// Number of things that the error names.
const NAMED_MAX: usize = 8;

/// Refuses if the snapshot would not hold these things.
pub(super) fn check(not_captured: &[String]) -> Result<()> {
    if not_captured.is_empty() {
        return Ok(());
    }
    let named: Vec<&str> = not_captured.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = match not_captured.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let message = format!(
        "no snapshot was created, because it would not hold everything that belongs to the database. It would not hold: {}{more}",
        named.join("; ")
    );
    let advice = "keep these in another way, and create the snapshot without strict";
    Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_remedy(Remedy::NotStrict, advice))
}

/// Ends a stream with an error if the source has held something that the snapshot does not hold. The upload is then
/// discarded.
pub(super) fn checked(blocks: BlockStream<'_, SourceTrailer>) -> BlockStream<'_, SourceTrailer> {
    let check_end = |event: Result<BlockEvent<SourceTrailer>>| {
        if let Ok(BlockEvent::End(trailer)) = &event {
            check(&trailer.not_captured)?;
        }
        event
    };
    blocks.map(check_end).boxed()
}
