//! The section `leaves` of index.bin.gz: the B-tree leaves that the records came from (FORMAT.md, section 4).
//!
//! A leaf is known by its checksum. An increment's table is written as runs of its base's and the leaves that are new, so
//! that it grows with the change.

use std::collections::HashMap;

use super::damaged;
use crate::error::Result;

/// The first of a run of new leaves.
const NEW: u64 = u64::MAX;

/// The leaves of one table, in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeafTable {
    /// The checksum of each.
    pub checksums: Vec<u128>,
    /// The rows of each.
    pub rows: Vec<u32>,
    /// The first key of each, one after the other.
    pub keys: String,
    /// Where each key ends in `keys`.
    pub key_ends: Vec<usize>,
}

impl LeafTable {
    /// Leaves of the table.
    pub fn len(&self) -> usize {
        self.checksums.len()
    }

    /// Whether the table has no leaf.
    pub fn is_empty(&self) -> bool {
        self.checksums.is_empty()
    }

    /// The first key of leaf `at`.
    pub fn first_key(&self, at: usize) -> Option<&str> {
        let start = match at.checked_sub(1) {
            None => 0,
            Some(before) => *self.key_ends.get(before)?,
        };
        self.keys.get(start..*self.key_ends.get(at)?)
    }

    /// Adds a leaf.
    pub fn push(&mut self, checksum: u128, rows: u32, first_key: &str) {
        self.checksums.push(checksum);
        self.rows.push(rows);
        self.keys.push_str(first_key);
        self.key_ends.push(self.keys.len());
    }

    /// Adds leaf `at` of another table; false where that has none.
    pub fn push_from(&mut self, other: &Self, at: usize) -> bool {
        let (Some(checksum), Some(rows), Some(key)) =
            (other.checksums.get(at), other.rows.get(at), other.first_key(at))
        else {
            return false;
        };
        self.push(*checksum, *rows, key);
        true
    }

    /// Where each leaf stands, by its checksum.
    pub fn places(&self) -> HashMap<u128, usize> {
        self.checksums.iter().copied().zip(0..).collect()
    }
}

/// The bytes of the section, expanded; of an increment against the tables of its base.
pub fn encode(tables: &[LeafTable; 2], base: Option<&[LeafTable; 2]>) -> Vec<u8> {
    let mut raw = Vec::new();
    let none = LeafTable::default();
    let [vectors, metadata] = tables;
    let [base_vectors, base_metadata] = base.map_or([&none, &none], |base| base.each_ref());
    encode_table(vectors, base_vectors, &mut raw);
    encode_table(metadata, base_metadata, &mut raw);
    raw
}

/// The tables, of an increment against those of its base.
pub fn decode(raw: &[u8], base: Option<&[LeafTable; 2]>) -> Result<[LeafTable; 2]> {
    let mut rest = raw;
    let none = LeafTable::default();
    let bases = base.map_or([&none, &none], |base| base.each_ref());
    let [vectors, metadata] = bases.map(|base| decode_table(&mut rest, base));
    match (vectors, metadata) {
        (Some(vectors), Some(metadata)) if rest.is_empty() => Ok([vectors, metadata]),
        _ => Err(damaged("the section \"leaves\" is not as written")),
    }
}

fn encode_table(table: &LeafTable, base: &LeafTable, raw: &mut Vec<u8>) {
    let places = base.places();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let mut new = LeafTable::default();
    for (at, checksum) in table.checksums.iter().enumerate() {
        let place = places.get(checksum).map(|place| *place as u64);
        if place.is_none() {
            new.push_from(table, at);
        }
        match (runs.last_mut(), place) {
            (Some((NEW, count)), None) => *count += 1,
            (Some((first, count)), Some(place)) if *first != NEW && *first + *count == place => *count += 1,
            _ => runs.push((place.unwrap_or(NEW), 1)),
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
    let mut fresh = LeafTable::default();
    for ((checksum, rows), length) in checksums.iter().zip(rows).zip(lengths) {
        let key = std::str::from_utf8(cut_off(rest, u32::from_le_bytes(*length) as usize)?).ok()?;
        fresh.push(u128::from_le_bytes(*checksum), u32::from_le_bytes(*rows), key);
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
        for at in first..first.checked_add(count)? {
            // The order bounds the table by what is stored: no leaf can come twice.
            let last = table.len().checked_sub(1).and_then(|last| table.first_key(last));
            if last.is_some_and(|last| from.first_key(at).is_none_or(|key| last >= key)) || !table.push_from(from, at) {
                return None;
            }
        }
    }
    (taken == fresh.len()).then_some(table)
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
