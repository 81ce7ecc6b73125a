//! What is known of a snapshot, in words.

use std::time::Duration;

use ruvector_snapshot::{Changes, EmbeddingInfo, IrregularInfo, OrphanKind, Snapshot, SourceInfo, Transferred};

use super::{Output, count, rate, size};
use crate::failure::Failure;

/// Returns a kind of orphan in words.
pub(crate) fn orphan_kind(kind: OrphanKind) -> &'static str {
    match kind {
        OrphanKind::Upload => "abandoned upload",
        OrphanKind::Deletion => "interrupted deletion",
        OrphanKind::Marker => "marker that is no longer needed",
        OrphanKind::LedgerEntry => "ledger entry that is not needed",
        OrphanKind::Annotation => "annotation that is not needed",
        OrphanKind::Check => "object of a store check",
        OrphanKind::Directory => "empty directory",
        OrphanKind::Multipart => "multipart upload",
        _ => "temporary file",
    }
}

/// Prints how much was read and written, from where and to where, with the rates. Leaves out what there was none of.
pub(crate) fn print_transferred(output: &Output, transferred: Transferred, taken: Duration) -> Result<(), Failure> {
    let lines = [
        ("read", transferred.store_read_bytes, "from the store"),
        ("written", transferred.store_written_bytes, "to the store"),
        ("written", transferred.file_written_bytes, "to the file"),
    ];
    lines.into_iter().filter(|(_, bytes, _)| *bytes > 0).try_for_each(|(label, bytes, place)| {
        output.field(label, format_args!("{} {place}, {}/s", size(bytes), size(rate(bytes, taken))))
    })
}

/// Formats the name of a source, its kind, its host and path, and the commit.
pub(crate) fn source(source: &SourceInfo) -> String {
    let place = match (&source.host, &source.path) {
        (Some(host), Some(path)) => format!(" {host}:{path}"),
        (None, Some(path)) => format!(" {path}"),
        (Some(host), None) => format!(" on {host}"),
        (None, None) => String::new(),
    };
    let commit = source.transaction_id.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    match &source.name {
        Some(name) => format!("{name} ({}{place}){commit}", source.kind),
        None => format!("{}{place}{commit}", source.kind),
    }
}

/// Formats the number of changes of an incremental snapshot.
pub(crate) fn changes(changes: &Changes) -> String {
    let Changes { added, changed, removed, .. } = *changes;
    format!("{} added, {} changed, {} removed", count(added), count(changed), count(removed))
}

/// Formats the size of an incremental snapshot as a share of the full snapshot of its chain.
pub(crate) fn share(snapshot: &Snapshot, full: &Snapshot) -> String {
    let (stored, whole) = (snapshot.size_bytes, full.size_bytes.max(1));
    let percent = stored as f64 * 100.0 / whole as f64;
    format!("{} in the store, {percent:.1} % of the full snapshot ({})", size(stored), size(full.size_bytes))
}

/// Formats the size of a snapshot and its compression ratio.
pub(crate) fn ratio(snapshot: &Snapshot) -> String {
    let (stored, raw) = (snapshot.size_bytes, snapshot.raw_bytes);
    if raw == 0 {
        return format!("{} in the store", size(stored));
    }
    // Of little, most is what every snapshot needs.
    if stored >= raw {
        return format!("{} in the store, {} uncompressed", size(stored), size(raw));
    }
    let percent = stored as f64 * 100.0 / raw as f64;
    format!("{} in the store, {percent:.1} % of {} uncompressed", size(stored), size(raw))
}

/// Formats the number of vectors, the dimensions and the metric.
pub(crate) fn shape(snapshot: &Snapshot) -> String {
    shape_of(snapshot.vector_count as u64, snapshot.dimensions as u64, snapshot.distance_metric.as_deref())
}

/// As [`shape`], of a database of so many vectors, with these dimensions and this metric.
pub(crate) fn shape_of(vectors: u64, dimensions: u64, metric: Option<&str>) -> String {
    let metric = metric.unwrap_or("metric not recorded");
    format!("{} of {dimensions} dimensions, {metric}", count(vectors))
}

/// Prints the lines of a note.
pub(crate) fn print_note(output: &Output, note: &str) -> Result<(), Failure> {
    note.split('\n').enumerate().try_for_each(|(at, line)| output.field(if at == 0 { "note" } else { "" }, line))
}

/// Prints what is known of the embedding model, if anything is.
pub(crate) fn print_embedding(output: &Output, embedding: Option<&EmbeddingInfo>) -> Result<(), Failure> {
    let lines = embedding.into_iter().flat_map(EmbeddingInfo::lines);
    lines.enumerate().try_for_each(|(at, line)| output.field(if at == 0 { "embedding" } else { "" }, line))
}

/// Prints what a snapshot holds apart from records, and names the first of it.
pub(crate) fn print_irregular(output: &Output, irregular: &IrregularInfo) -> Result<(), Failure> {
    output.field("irregular", format_args!("{irregular}, kept as they are"))?;
    irregular.examples.iter().try_for_each(|example| output.field("", example))
}
