//! metadata.bin.gz: the metadata of the records as canonical JSON, in JSON Lines (FORMAT.md, sections 2 and 4).
//!
//! Scalars stay text throughout. A number that is parsed and printed again could change.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::canonical;
use crate::error::{FormatError, Result};
use crate::limits;

/// One line of metadata.bin.gz.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    /// The id of the record.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Its canonical metadata, unchanged.
    #[serde(borrow)]
    pub metadata: &'a RawValue,
}

/// Appends the canonical form of a JSON object to `out`.
///
/// ```
/// let mut out = String::new();
/// ruvector_snapshot_format::payloads::canonical(r#"{ "b" : 1.0, "a" : [ "x" ] }"#, &mut out)?;
/// assert_eq!(out, r#"{"a":["x"],"b":1.0}"#);
/// # Ok::<(), ruvector_snapshot_format::FormatError>(())
/// ```
///
/// # Errors
///
/// Returns `InvalidInput` if `text` is not a JSON object, or if it nests deeper than 127 levels.
pub fn canonical(text: &str, out: &mut String) -> Result<()> {
    canonical::append(text, out)
}

/// Checks that [`canonical()`] accepts `text`.
///
/// # Errors
///
/// As [`canonical()`].
pub fn check_canonical(text: &str) -> Result<()> {
    canonical::check(text)
}

/// Appends the canonical form of the metadata of a record to `out`.
///
/// # Errors
///
/// As [`canonical()`]. The error names the record.
pub fn append_canonical(id: &str, text: &str, out: &mut String) -> Result<()> {
    canonical(text, out).map_err(|error| error.with_context(format!("cannot store record {id:?}")))
}

/// Returns the canonical form of the metadata of a record: the text itself if it is canonical.
///
/// # Errors
///
/// As [`append_canonical`].
pub fn canonical_of<'a>(id: &str, text: &'a str) -> Result<Cow<'a, str>> {
    canonical::of(text).map_err(|error| error.with_context(format!("cannot store record {id:?}")))
}

/// Returns whether `text` is the JSON object `canonical` with its members in any order. If it returns `false`, the
/// objects can still be equal.
///
/// Fast, since it does not parse JSON: it splits `text` at the commas outside of strings and inner values, sorts the
/// pieces and compares them with `canonical`. The pieces of equal texts are the members of the object, so `true` is
/// exact.
pub fn same_members(text: &str, canonical: &str) -> bool {
    if text.len() != canonical.len() {
        return false;
    }
    let (Some(mut pieces), Some(mut rest)) = (pieces(text), inner(canonical)) else { return false };
    pieces.sort_unstable();
    let mut pieces = pieces.into_iter();
    let is_next = |rest: &mut &[u8], piece: &[u8]| rest.strip_prefix(piece).map(|after| *rest = after).is_some();
    pieces.next().is_some_and(|first| is_next(&mut rest, first))
        && pieces.all(|piece| is_next(&mut rest, b",") && is_next(&mut rest, piece))
        && rest.is_empty()
}

/// Returns the text between the outermost braces.
fn inner(text: &str) -> Option<&[u8]> {
    text.as_bytes().strip_prefix(b"{")?.strip_suffix(b"}")
}

/// Returns the text between the outermost braces, split at the outermost commas. Returns `None` if a string or an inner
/// value does not end.
fn pieces(text: &str) -> Option<Vec<&[u8]>> {
    let inner = inner(text)?;
    let (mut pieces, mut start) = (Vec::with_capacity(8), 0);
    let (mut depth, mut is_string, mut is_escaped) = (0usize, false, false);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                pieces.push(inner.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(inner.get(start..)?);
    (depth == 0 && !is_string).then_some(pieces)
}

/// Appends the line of one record. `metadata` must be canonical.
///
/// # Errors
///
/// Returns `Internal` if the id cannot be written as JSON, which does not happen.
pub fn append_line(id: &str, metadata: &str, out: &mut String) -> Result<()> {
    append_line_start(id, out)?;
    out.push_str(metadata);
    out.push_str(LINE_END);
    Ok(())
}

/// Appends the line of one record, and returns where its canonical metadata is in `out`.
///
/// # Errors
///
/// As [`append_canonical`].
pub fn append_canonical_line(id: &str, metadata: &str, out: &mut String) -> Result<Range<usize>> {
    append_line_start(id, out)?;
    let start = out.len();
    append_canonical(id, metadata, out)?;
    let end = out.len();
    out.push_str(LINE_END);
    Ok(start..end)
}

/// Turns the canonical metadata of one record into its line, without another copy of it.
///
/// # Errors
///
/// As [`append_line`].
pub(crate) fn make_line(id: &str, metadata: &mut String) -> Result<()> {
    let mut start = String::new();
    append_line_start(id, &mut start)?;
    metadata.reserve_exact(start.len() + LINE_END.len());
    metadata.insert_str(0, &start);
    metadata.push_str(LINE_END);
    Ok(())
}

/// What follows the metadata in a line.
const LINE_END: &str = "}\n";

/// Appends what precedes the metadata in the line of the record with this id.
fn append_line_start(id: &str, out: &mut String) -> Result<()> {
    out.push_str("{\"id\":");
    canonical::append_string(id, out)?;
    out.push_str(",\"metadata\":");
    Ok(())
}

/// Returns the metadata in the line of the record with this id, unchanged.
///
/// # Errors
///
/// Returns `Corrupt` if there is no line, if it is malformed, or if it belongs to another record.
pub fn metadata_of<'a>(id: &str, line: Option<&'a str>) -> Result<&'a str> {
    let line = line.ok_or_else(|| FormatError::corrupt("a metadata line is missing"))?;
    let line = line.strip_suffix('\n').ok_or_else(|| FormatError::corrupt("the last metadata line is incomplete"))?;
    let line: Line<'_> = serde_json::from_str(line)
        .map_err(|error| FormatError::corrupt("a metadata line is malformed").with_source(error))?;
    if line.id != id {
        return Err(FormatError::corrupt(format!("the metadata line of id {id:?} is missing")));
    }
    Ok(line.metadata.get())
}

/// Returns the metadata in the line of the record with this id, as [`metadata_of`] does, and checks that it is
/// canonical and within the limits.
///
/// A database that gets other metadata would not have the content checksum of the snapshot.
///
/// # Errors
///
/// As [`metadata_of`], and `Corrupt` if the metadata is not canonical or too large.
pub fn canonical_metadata_of<'a>(id: &str, line: Option<&'a str>) -> Result<&'a str> {
    // A line as it is written needs no parsing of its own: canonical text is JSON.
    let metadata = match line.and_then(|line| as_written(id, line)) {
        Some(metadata) => metadata,
        None => metadata_of(id, line)?,
    };
    if metadata.len() > limits::RECORD_METADATA_BYTES {
        return Err(FormatError::corrupt(format!("the metadata of id {id:?} is larger than the limit of the format")));
    }
    match canonical::of(metadata) {
        Ok(text) if text == metadata => Ok(metadata),
        Ok(_) => Err(FormatError::corrupt(format!("the metadata of id {id:?} is not canonical JSON"))),
        Err(error) => {
            let what = format!("the metadata of id {id:?} is not canonical JSON: {}", error.message());
            Err(FormatError::corrupt(what).with_source(error))
        }
    }
}

/// Returns the metadata in the line of the record with this id, as [`metadata_of`] does, but does not check that it is
/// JSON.
///
/// Faster. Use the result only to compare it with other metadata.
///
/// # Errors
///
/// As [`metadata_of`].
pub fn metadata_unchecked<'a>(id: &str, line: Option<&'a str>) -> Result<&'a str> {
    line.and_then(|line| as_written(id, line)).map_or_else(|| metadata_of(id, line), Ok)
}

/// Returns the metadata in a line that begins with this id and ends as a writer writes it.
fn as_written<'a>(id: &str, line: &'a str) -> Option<&'a str> {
    let rest = if canonical::is_escaped(id) {
        line.strip_prefix("{\"id\":")?.strip_prefix(serde_json::to_string(id).ok()?.as_str())?.strip_prefix(',')?
    } else {
        line.strip_prefix("{\"id\":\"")?.strip_prefix(id)?.strip_prefix("\",")?
    };
    rest.strip_prefix("\"metadata\":")?.strip_suffix("}\n")
}
