//! The section `leaves` of index.bin.gz: the B-tree leaves that the records came from (FORMAT.md, section 4).
//!
//! A leaf is identified by its checksum. The table of an increment is stored as runs of leaves of its base's table, and
//! the new leaves. Its size therefore depends on the changes, not on the database.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::error::{FormatError, Result};
use crate::model::LeafTable;

/// The `first` of a run of new leaves.
const NEW: u64 = u64::MAX;

impl LeafTable {
    /// Returns the number of leaves.
    pub fn len(&self) -> usize {
        self.checksums.len()
    }

    /// Returns whether the table has no leaves.
    pub fn is_empty(&self) -> bool {
        self.checksums.is_empty()
    }

    /// Returns the first key of leaf `at`.
    pub fn first_key(&self, at: usize) -> Option<&str> {
        self.keys.get(end_before(&self.key_ends, at)..*self.key_ends.get(at)?)
    }

    /// Adds a leaf.
    pub fn push(&mut self, checksum: u128, rows: u32, first_key: &str) {
        self.checksums.push(checksum);
        self.rows.push(rows);
        self.keys.push_str(first_key);
        self.key_ends.push(self.keys.len());
    }

    /// Adds leaf `at` of another table. Returns false if that table has no such leaf.
    pub fn push_from(&mut self, other: &Self, at: usize) -> bool {
        let (Some(checksum), Some(rows), Some(key)) =
            (other.checksums.get(at), other.rows.get(at), other.first_key(at))
        else {
            return false;
        };
        self.push(*checksum, *rows, key);
        true
    }

    /// Adds a run of leaves of another table. Returns false if that table has no such leaves, or if their keys do not
    /// follow the last key of this table.
    fn push_run(&mut self, other: &Self, run: Range<usize>) -> bool {
        let last_key = self.len().checked_sub(1).and_then(|last| self.first_key(last));
        let (Some(checksums), Some(rows), Some(ends)) =
            (other.checksums.get(run.clone()), other.rows.get(run.clone()), other.key_ends.get(run.clone()))
        else {
            return false;
        };
        let (Some(first_key), Some(end)) = (other.first_key(run.start), ends.last()) else { return run.is_empty() };
        let start = end_before(&other.key_ends, run.start);
        let Some(keys) = other.keys.get(start..*end).filter(|_| last_key.is_none_or(|last| last < first_key)) else {
            return false;
        };
        let grown = self.keys.len();
        self.checksums.extend_from_slice(checksums);
        self.rows.extend_from_slice(rows);
        self.key_ends.extend(ends.iter().map(|end| end - start + grown));
        self.keys.push_str(keys);
        true
    }
}

/// Finds leaves of a table by their checksums.
///
/// Equal leaves hold equal keys, so they are in the same order in any two tables. The search therefore starts behind
/// the leaf that was found last.
#[derive(Debug)]
pub struct LeafFinder<'a> {
    table: &'a LeafTable,
    /// Positions by the lower half of the checksum, to save memory.
    positions: HashMap<u64, usize, RandomState>,
    next: Cell<usize>,
}

impl<'a> LeafFinder<'a> {
    /// Creates a finder for the leaves of `table`.
    pub fn new(table: &'a LeafTable) -> Self {
        let positions = table.checksums.iter().map(|checksum| *checksum as u64).zip(0..).collect();
        Self { table, positions, next: Cell::new(0) }
    }

    /// Returns the position of the leaf with this checksum.
    pub fn find(&self, checksum: u128) -> Option<usize> {
        let is_at = |position: &usize| self.table.checksums.get(*position) == Some(&checksum);
        let next = self.next.get();
        let position = Some(next).filter(is_at).or_else(|| {
            // The same leaf can be asked for twice.
            let again = next.checked_sub(1).filter(is_at);
            again.or_else(|| self.positions.get(&(checksum as u64)).copied().filter(is_at))
        })?;
        self.next.set(position + 1);
        Some(position)
    }
}

/// Returns the content of the section, before compression. `base` are the tables of the base of an increment.
pub fn encode(tables: &[LeafTable; 2], base: Option<&[LeafTable; 2]>) -> Vec<u8> {
    let mut raw = Vec::new();
    let none = LeafTable::default();
    let [vectors, metadata] = tables;
    let [base_vectors, base_metadata] = base.map_or([&none, &none], |base| base.each_ref());
    encode_table(vectors, base_vectors, &mut raw);
    encode_table(metadata, base_metadata, &mut raw);
    raw
}

/// Decodes the content of the section, after expansion. `base` are the tables of the base of an increment.
///
/// # Errors
///
/// Returns `Corrupt` if the content is malformed or does not fit the tables of the base.
pub fn decode(raw: &[u8], base: Option<&[LeafTable; 2]>) -> Result<[LeafTable; 2]> {
    let mut rest = raw;
    let none = LeafTable::default();
    let bases = base.map_or([&none, &none], |base| base.each_ref());
    let [vectors, metadata] = bases.map(|base| decode_table(&mut rest, base));
    match (vectors, metadata) {
        (Some(vectors), Some(metadata)) if rest.is_empty() => Ok([vectors, metadata]),
        _ => Err(FormatError::corrupt("section \"leaves\" is malformed")),
    }
}

fn encode_table(table: &LeafTable, base: &LeafTable, raw: &mut Vec<u8>) {
    let finder = LeafFinder::new(base);
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let mut new = LeafTable::default();
    for (at, checksum) in table.checksums.iter().enumerate() {
        let position = finder.find(*checksum).map(|position| position as u64);
        if position.is_none() {
            new.push_from(table, at);
        }
        match (runs.last_mut(), position) {
            (Some((NEW, count)), None) => *count += 1,
            (Some((first, count)), Some(position)) if *first != NEW && *first + *count == position => *count += 1,
            _ => runs.push((position.unwrap_or(NEW), 1)),
        }
    }
    raw.extend((runs.len() as u64).to_le_bytes());
    raw.extend((new.len() as u64).to_le_bytes());
    raw.extend(runs.iter().flat_map(|(first, count)| [first.to_le_bytes(), count.to_le_bytes()]).flatten());
    raw.extend(new.checksums.iter().flat_map(|checksum| checksum.to_le_bytes()));
    raw.extend(new.rows.iter().flat_map(|rows| rows.to_le_bytes()));
    let mut start = 0;
    for end in &new.key_ends {
        raw.extend(((end - start) as u32).to_le_bytes());
        start = *end;
    }
    raw.extend_from_slice(new.keys.as_bytes());
}

fn decode_table(rest: &mut &[u8], base: &LeafTable) -> Option<LeafTable> {
    let (runs, new) = (u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
    let runs = cut_off(rest, usize::try_from(runs).ok()?.checked_mul(16)?)?.as_chunks::<16>().0;
    let new = usize::try_from(new).ok()?;
    let checksums = cut_off(rest, new.checked_mul(16)?)?.as_chunks::<16>().0;
    let rows = cut_off(rest, new.checked_mul(4)?)?.as_chunks::<4>().0;
    let lengths = cut_off(rest, new.checked_mul(4)?)?.as_chunks::<4>().0;
    let sum = |total: usize, length: &[u8; 4]| total.checked_add(u32::from_le_bytes(*length) as usize);
    let key_bytes = lengths.iter().try_fold(0, sum).filter(|bytes| *bytes <= rest.len())?;
    // Keys can be most of the memory: room for all of them, and no more.
    let mut fresh = LeafTable { keys: String::with_capacity(key_bytes), ..LeafTable::default() };
    for ((checksum, rows), length) in checksums.iter().zip(rows).zip(lengths) {
        let key = std::str::from_utf8(cut_off(rest, u32::from_le_bytes(*length) as usize)?).ok()?;
        let last_key = fresh.len().checked_sub(1).and_then(|last| fresh.first_key(last));
        if last_key.is_some_and(|last| last >= key) {
            return None;
        }
        fresh.push(u128::from_le_bytes(*checksum), u32::from_le_bytes(*rows), key);
    }
    if let [run] = runs
        && u64::from_le_bytes(*run.first_chunk()?) == NEW
        && u64::from_le_bytes(*run.last_chunk()?) == new as u64
    {
        return Some(fresh);
    }
    let mut table = LeafTable::default();
    let mut taken = 0usize;
    for run in runs {
        let first = u64::from_le_bytes(*run.first_chunk()?);
        let count = usize::try_from(u64::from_le_bytes(*run.last_chunk()?)).ok()?;
        let (from, first) = match first {
            NEW => (&fresh, taken),
            first => (base, usize::try_from(first).ok()?),
        };
        if std::ptr::eq(from, &fresh) {
            taken = taken.checked_add(count)?;
        }
        // Keys must ascend, so no leaf can occur twice. This bounds the table by the stored bytes.
        if !table.push_run(from, first..first.checked_add(count)?) {
            return None;
        }
    }
    (taken == fresh.len()).then_some(table)
}

/// Returns the start of key `at`.
fn end_before(ends: &[usize], at: usize) -> usize {
    at.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0)
}

fn take(rest: &mut &[u8]) -> Option<[u8; 8]> {
    let (bytes, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(*bytes)
}

fn cut_off<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (cut, after) = rest.split_at_checked(bytes)?;
    *rest = after;
    Some(cut)
}
