//! One compressed piece: gzip members that are stored, addressed and checked together.
//!
//! This is the only seam of compression. Every byte of a data file passes through this module: the pieces of blocks
//! through [`pack`] and [`expand`], the sections of index.bin.gz through [`pack_section`] and [`expand_section`].
//! Another codec, or encryption, goes here and nowhere else.

use super::crc32;
use super::member::{self, Coding};
use crate::error::{FormatError, Result};
use crate::section::{SectionInfo, is_in_proportion};
use crate::{large, limits};

/// A piece of `N` members, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<const N: usize> {
    /// The members, one after the other.
    pub bytes: Vec<u8>,
    /// The size of each member.
    pub member_bytes: [u32; N],
    /// The CRC-32 of `bytes`.
    pub crc32: u32,
}

/// What the directory records about one member of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberSize {
    /// Its size as stored.
    pub bytes: u32,
    /// Its size after expansion.
    pub raw_bytes: usize,
}

/// Compresses each of `members` with its coding.
///
/// # Errors
///
/// Returns an error if a member cannot be compressed, see [`member::pack`].
pub fn pack<const N: usize>(members: [(&[u8], Coding); N]) -> Result<Piece<N>> {
    let raw_bytes: usize = members.iter().map(|(raw, _)| raw.len()).sum();
    let largest_bytes = members.iter().map(|(raw, _)| raw.len()).max().unwrap_or_default();
    // Room for the worst case of the last member behind incompressible ones, so that nothing is moved.
    let mut bytes = Vec::with_capacity(large::capacity_for(raw_bytes + raw_bytes / 1024 + largest_bytes / 8 + 64 * N));
    let mut member_bytes = [0; N];
    for ((raw, coding), size) in members.into_iter().zip(&mut member_bytes) {
        *size = u32::try_from(member::pack(raw, coding, &mut bytes)?)
            .map_err(|error| FormatError::internal("a member of a block has 4 GiB or more").with_source(error))?;
    }
    Ok(Piece { member_bytes, crc32: crc32(&bytes), bytes })
}

/// Expands the members of `piece`, which must have exactly these sizes and this CRC-32.
///
/// # Errors
///
/// Returns `Corrupt` if the piece is anything else.
pub fn expand<const N: usize>(piece: &[u8], expected_crc32: u32, members: [MemberSize; N]) -> Result<[Vec<u8>; N]> {
    if crc32(piece) != expected_crc32 {
        return Err(FormatError::corrupt("the stored bytes do not match their CRC-32"));
    }
    let mut rest = piece;
    let mut expanded = [const { Vec::new() }; N];
    for (raw, size) in expanded.iter_mut().zip(members) {
        let (member, after) = rest
            .split_at_checked(size.bytes as usize)
            .ok_or_else(|| FormatError::corrupt("the piece is shorter than its members"))?;
        *raw = member::unpack(member, size.raw_bytes)?;
        rest = after;
    }
    match rest {
        [] => Ok(expanded),
        _ => Err(FormatError::corrupt("the piece is longer than its members")),
    }
}

/// Compresses a section of index.bin.gz at a level of 0 to 9. A section that would expand further than a reader allows
/// is stored as it is.
///
/// # Errors
///
/// See [`member::pack`].
pub fn pack_section(name: &str, raw: &[u8], level: u32) -> Result<Vec<u8>> {
    let mut stored = Vec::new();
    member::pack(raw, Coding::at_level(level), &mut stored)?;
    if !is_in_proportion(name, stored.len() as u64, raw.len() as u64) {
        stored.clear();
        member::pack(raw, Coding::Stored, &mut stored)?;
    }
    Ok(stored)
}

/// Compresses a section of irregular rows at a level of 0 to 9. A row can be longer than the section, and no reader
/// gathers a row that expands further than a section. So nothing does: Huffman codes make bytes eight times smaller at
/// most.
///
/// # Errors
///
/// See [`member::pack`].
pub fn pack_irregular_section(raw: &[u8], level: u32) -> Result<Vec<u8>> {
    let mut stored = Vec::new();
    member::pack(raw, Coding::at_level(level), &mut stored)?;
    if raw.len() as u64 > (stored.len() as u64).saturating_mul(limits::SECTION_EXPANSION) {
        stored.clear();
        member::pack(raw, Coding::Huffman, &mut stored)?;
    }
    Ok(stored)
}

/// Expands a section of index.bin.gz. `stored` are the bytes at [`SectionInfo::range`].
///
/// # Errors
///
/// Returns `Corrupt` if the section is not one gzip member of the recorded sizes.
pub fn expand_section(stored: &[u8], section: &SectionInfo) -> Result<Vec<u8>> {
    // Decoding metadata.json has checked that the size is within the limits.
    let raw_bytes = usize::try_from(section.raw_bytes).unwrap_or(usize::MAX);
    member::unpack(stored, raw_bytes).map_err(|error| error.with_context(format!("section {:?}", section.name)))
}

/// Returns the content of a data file without members: one member that expands to nothing.
///
/// # Errors
///
/// See [`member::pack`].
pub fn pack_empty_file() -> Result<Vec<u8>> {
    let mut stored = Vec::new();
    member::pack(&[], Coding::Stored, &mut stored)?;
    Ok(stored)
}
