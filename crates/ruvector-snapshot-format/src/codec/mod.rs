//! Compression: gzip members, the Huffman coder beside them, the byte planes of vectors, and the pieces made of
//! members.
//!
//! The rest of the crate compresses and expands through [`piece`] only. Nothing here knows the files of a snapshot.

mod huffman;
pub mod member;
pub mod piece;
pub(crate) mod planes;

/// Returns the CRC-32 of RFC 1952.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
