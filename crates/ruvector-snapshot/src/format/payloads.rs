//! metadata.bin.gz: the metadata of the vectors, canonical JSON in JSON Lines (FORMAT.md, sections 2 and 4).
//!
//! Scalars are carried as text from end to end: a number that were parsed and printed again could change.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::damaged;
use crate::error::{ErrorKind, Result, SnapshotError};

/// How deep objects and arrays may nest: as deep as the database itself can read.
const DEPTH_MAX: usize = 127;

/// One line of metadata.bin.gz.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    /// The id of the record.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Its canonical metadata, word for word.
    #[serde(borrow)]
    pub metadata: &'a RawValue,
}

/// The members of a JSON object, in their order and as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The canonical form of a JSON object, appended to `out`.
///
/// # Errors
///
/// `Invalid` where `text` is no JSON object or nests deeper than 127.
pub fn canonical(text: &str, out: &mut String) -> Result<()> {
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err(SnapshotError::new(ErrorKind::Invalid, "the metadata is not a JSON object"));
    }
    append_value(text, DEPTH_MAX, out)
}

/// As [`canonical`], of the metadata of a record, which an error names.
pub fn append_canonical(id: &str, text: &str, out: &mut String) -> Result<()> {
    canonical(text, out).map_err(|error| {
        let kind = error.kind();
        SnapshotError::new(kind, format!("the record {id:?} cannot be captured: {error}")).because(error)
    })
}

/// The canonical form of the metadata of a record.
///
/// # Errors
///
/// As [`canonical`].
pub fn canonical_of(id: &str, text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    append_canonical(id, text, &mut out)?;
    Ok(out)
}

/// Whether a text is `canonical`, a JSON object, but for the order of the members; `false` tells nothing.
///
/// Quick and exact, although the text is not parsed: both are cut at the commas that stand in no string and in no inner value,
/// and if the one's pieces in another order are the other, then they are its members.
pub fn is_permuted(text: &str, canonical: &str) -> bool {
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

/// What stands between the braces.
fn inner(text: &str) -> Option<&[u8]> {
    text.as_bytes().strip_prefix(b"{")?.strip_suffix(b"}")
}

/// What stands between the braces, cut at the outermost commas; `None` where strings or inner values do not end.
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

/// Appends the line of one record; `metadata` is canonical.
pub fn append_line(id: &str, metadata: &str, out: &mut String) -> Result<()> {
    out.push_str("{\"id\":");
    append_string(id, out)?;
    out.push_str(",\"metadata\":");
    out.push_str(metadata);
    out.push_str("}\n");
    Ok(())
}

/// The metadata that a line gives to the record of this id, word for word.
///
/// # Errors
///
/// `Damaged` where there is no line, or one that is not as written, or of another record.
pub fn metadata_of<'a>(id: &str, line: Option<&'a str>) -> Result<&'a str> {
    let line = line.ok_or_else(|| damaged("a metadata line is missing"))?;
    let whole = line.strip_suffix('\n').ok_or_else(|| damaged("the last metadata line has no end"))?;
    let line: Line<'_> =
        serde_json::from_str(whole).map_err(|error| damaged("a metadata line is not as written").because(error))?;
    if line.id != id {
        return Err(damaged(format!("the metadata line of id {id:?} is missing")));
    }
    Ok(line.metadata.get())
}

/// As [`metadata_of`], and quicker: of a line as [`append_line`] writes it the metadata is not checked to be JSON, and is good
/// for nothing but to be compared.
pub fn metadata_unchecked<'a>(id: &str, line: Option<&'a str>) -> Result<&'a str> {
    let as_written = || {
        let quoted = line?.strip_prefix("{\"id\":\"")?.strip_prefix(id)?;
        quoted.strip_prefix("\",\"metadata\":")?.strip_suffix("}\n")
    };
    // An id that is escaped in its line does not stand there as it is.
    as_written().map_or_else(|| metadata_of(id, line), Ok)
}

fn append_value(text: &str, depth: usize, out: &mut String) -> Result<()> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    let invalid = |error| SnapshotError::new(ErrorKind::Invalid, "the metadata is not valid JSON").because(error);
    let deeper = || {
        depth.checked_sub(1).ok_or_else(|| {
            SnapshotError::new(ErrorKind::Invalid, format!("the metadata nests deeper than {DEPTH_MAX} levels"))
        })
    };
    if text.starts_with('{') {
        let Members(mut members) = serde_json::from_str(text).map_err(invalid)?;
        let inner = deeper()?;
        // The sort is stable, so that of members of one name the last is kept, as the database reads them.
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        out.push('{');
        let mut following = members.iter().peekable();
        let is_first = out.len();
        while let Some((name, value)) = following.next() {
            if following.peek().is_some_and(|(next, _)| next == name) {
                continue;
            }
            if out.len() > is_first {
                out.push(',');
            }
            append_string(name, out)?;
            out.push(':');
            append_value(value.get(), inner, out)?;
        }
        out.push('}');
    } else if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(invalid)?;
        let inner = deeper()?;
        out.push('[');
        for (at, value) in items.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            append_value(value.get(), inner, out)?;
        }
        out.push(']');
    } else {
        out.push_str(text);
    }
    Ok(())
}

fn append_string(text: &str, out: &mut String) -> Result<()> {
    if !text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return Ok(());
    }
    let quoted = serde_json::to_string(text).map_err(|error| {
        SnapshotError::new(ErrorKind::Internal, "a string cannot be written as JSON").because(error)
    })?;
    out.push_str(&quoted);
    Ok(())
}
