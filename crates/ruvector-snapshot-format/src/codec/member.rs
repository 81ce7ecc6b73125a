//! One gzip member (RFC 1952): packed with the coding that suits its bytes, and unpacked to a known size.
//!
//! Knows no file of a snapshot. A reader needs only inflate, whatever coding a writer chose.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{crc32, huffman};
use crate::error::{FormatError, Result};
use crate::{large, limits};

const WINDOW_BITS: u8 = 15;
/// The header of a member from the Huffman coder: deflate, no name, no time, no operating system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Size of the sample, from the middle of a plane, that decides its coding.
const SAMPLE_BYTES: usize = 16 << 10;

/// How the bytes of a member are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coding {
    /// The bytes as they are, in stored deflate blocks.
    Stored,
    /// Huffman codes without matches. Suits bytes that are skewed but do not repeat.
    Huffman,
    /// Deflate at this level, 1 to 9.
    Deflate(u32),
}

impl Coding {
    /// Returns deflate at a level of 1 to 9, or [`Coding::Stored`] for level 0.
    pub fn at_level(level: u32) -> Self {
        if level == 0 { Self::Stored } else { Self::Deflate(level.min(9)) }
    }

    /// Returns the coding that suits a sample of `raw`, at this level.
    ///
    /// Compares the sample's order-0 entropy, which is what Huffman codes can reach, with the size that the fastest
    /// deflate reaches. If deflate is clearly smaller, the bytes repeat, and a full deflate is worth its time. If
    /// neither is smaller than the sample, the bytes are stored.
    pub fn choose(raw: &[u8], level: u32) -> Self {
        if level == 0 {
            return Self::Stored;
        }
        let start = raw.len().saturating_sub(SAMPLE_BYTES) / 2;
        let sample = &raw[start..raw.len().min(start + SAMPLE_BYTES)];
        let size_bytes = sample.len() as f64;
        // A code word has at least one bit.
        let coded_bytes = (entropy_bits(sample) / 8.0).max(size_bytes / 8.0);
        let mut deflated = Vec::new();
        if pack(sample, Self::Deflate(1), &mut deflated).is_err() {
            return Self::at_level(level);
        }
        if (deflated.len() as f64) < 0.9 * coded_bytes.min(size_bytes) {
            Self::Deflate(level)
        } else if coded_bytes < 0.97 * size_bytes {
            Self::Huffman
        } else {
            Self::Stored
        }
    }
}

/// Appends one member that expands to `raw`, and returns its size in bytes.
///
/// # Errors
///
/// Returns `InvalidInput` if `raw` has 4 GiB or more, and `Internal` if deflate fails.
pub fn pack(raw: &[u8], coding: Coding, out: &mut Vec<u8>) -> Result<usize> {
    // The trailer holds the size modulo 2^32, and deflate takes no more in one call.
    let raw_bytes = u32::try_from(raw.len()).map_err(|_| {
        FormatError::invalid_input(format!(
            "cannot compress {} bytes as one gzip member: it holds at most 4 GiB",
            raw.len()
        ))
    })?;
    let start = out.len();
    match coding {
        Coding::Stored => deflate(raw, 0, out)?,
        Coding::Deflate(level) => deflate(raw, level.clamp(1, 9), out)?,
        Coding::Huffman => {
            out.extend_from_slice(&GZIP_HEADER);
            huffman::deflate(raw, out);
            out.extend_from_slice(&crc32(raw).to_le_bytes());
            out.extend_from_slice(&raw_bytes.to_le_bytes());
        }
    }
    Ok(out.len() - start)
}

/// Appends the member that flate2 makes of `raw`.
fn deflate(raw: &[u8], level: u32, out: &mut Vec<u8>) -> Result<()> {
    let mut stream = Compress::new_gzip(Compression::new(level), WINDOW_BITS);
    // Enough in most cases. The loop handles the others.
    out.reserve(raw.len() + raw.len() / 8 + 64);
    loop {
        let rest = raw.get(stream.total_in() as usize..).unwrap_or_default();
        match stream.compress_vec(rest, out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => return Ok(()),
            Ok(_) => out.reserve(raw.len() / 8 + 64),
            Err(error) => return Err(FormatError::internal("deflate failed").with_source(error)),
        }
    }
}

/// Expands `member`, which must be exactly one gzip member that expands to exactly `raw_bytes`.
///
/// Allocates `raw_bytes` and one byte more, and only if `member` is large enough to expand to that.
///
/// # Errors
///
/// Returns `Corrupt` if `member` is anything else.
pub fn unpack(member: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
    check_expansion(member.len() as u64, raw_bytes as u64)?;
    if raw_bytes as u64 > limits::SECTION_BYTES {
        return Err(FormatError::corrupt(format!(
            "{raw_bytes} bytes are more than a gzip member of a snapshot expands to"
        )));
    }
    // A member that expands further fills the one byte more.
    let mut raw = Vec::with_capacity(large::capacity_for(raw_bytes + 1));
    let mut stream = Decompress::new_gzip(WINDOW_BITS);
    let status = stream.decompress_vec(member, &mut raw, FlushDecompress::Finish).map_err(|error| {
        let why = error.message().unwrap_or("it is not gzip data").to_owned();
        FormatError::corrupt(format!("the gzip data cannot be expanded: {why}")).with_source(error)
    })?;
    if status != Status::StreamEnd {
        let what = if raw.len() > raw_bytes { "expands to more than" } else { "ends before" };
        return Err(FormatError::corrupt(format!("the gzip data {what} its {raw_bytes} bytes")));
    }
    if raw.len() != raw_bytes {
        return Err(FormatError::corrupt(format!("the gzip data expands to {} bytes, not {raw_bytes}", raw.len())));
    }
    if stream.total_in() != member.len() as u64 {
        return Err(FormatError::corrupt("there are bytes after the end of the gzip data"));
    }
    Ok(raw)
}

/// Checks that `bytes` of deflate data can expand to `raw_bytes`. Called before memory is allocated for `raw_bytes`.
///
/// # Errors
///
/// Returns `Corrupt` if they cannot.
pub fn check_expansion(bytes: u64, raw_bytes: u64) -> Result<()> {
    if raw_bytes > bytes.saturating_mul(limits::EXPANSION) {
        return Err(FormatError::corrupt(format!(
            "{bytes} bytes of gzip data cannot expand to the recorded {raw_bytes} bytes"
        )));
    }
    Ok(())
}

/// Checks that `bytes` of gzip data are not far more than `raw_bytes` need. Called before `bytes` are read.
///
/// # Errors
///
/// Returns `Corrupt` if they are.
pub fn check_overhead(bytes: u64, raw_bytes: u64) -> Result<()> {
    let limit_bytes = raw_bytes.saturating_add(raw_bytes / 64).saturating_add(limits::OVERHEAD_BYTES);
    if bytes > limit_bytes {
        return Err(FormatError::corrupt(format!(
            "{bytes} bytes of gzip data are too many for the recorded {raw_bytes} bytes"
        )));
    }
    Ok(())
}

/// Returns the order-0 entropy of the sample, in bits.
fn entropy_bits(sample: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in sample {
        counts[usize::from(*byte)] += 1;
    }
    let total = sample.len() as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) * (total / f64::from(*count)).log2()).sum()
}
