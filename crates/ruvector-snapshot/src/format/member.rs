//! One gzip member (RFC 1952): packed with the coding that fits its bytes, and unpacked within a known size.
//!
//! Knows no file of the layout. A reader needs nothing but inflate, whatever a writer chose.

use zlib_rs::{DeflateConfig, Inflate, InflateFlush, Method, ReturnCode, Status, Strategy};

use super::{damaged, huffman, limits};
use crate::error::{ErrorKind, Result, SnapshotError};

/// 15 bits of window, and 16 for a gzip wrapper.
const GZIP_WINDOW_BITS: u8 = 31;
/// Deflate, no name, no time, no system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// What a plane is judged by: a stretch of this size from its middle.
const SAMPLE_BYTES: usize = 16 << 10;

/// How the bytes of a member are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Stored,
    /// Huffman codes of the bytes, no matches: for bytes that are skewed but do not repeat.
    Huffman,
    /// Deflate at this level, 1 to 9.
    Deflate(u32),
}

impl Coding {
    /// Deflate at a level of 1 to 9; at level 0 the bytes are stored.
    pub fn at_level(level: u32) -> Self {
        if level == 0 { Self::Stored } else { Self::Deflate(level.min(9)) }
    }

    /// The coding that a sample of `raw` calls for, at this level.
    ///
    /// Bytes whose order-0 entropy leaves nothing to gain are stored; where the quickest deflate of the sample beats the
    /// entropy, the bytes repeat, and a full deflate pays for its time.
    pub fn choose(raw: &[u8], level: u32) -> Self {
        if level == 0 {
            return Self::Stored;
        }
        let start = raw.len().saturating_sub(SAMPLE_BYTES) / 2;
        let sample = &raw[start..raw.len().min(start + SAMPLE_BYTES)];
        let size_bytes = sample.len() as f64;
        // A code has a bit for each byte at least, however little the bytes say.
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
pub fn pack(raw: &[u8], coding: Coding, out: &mut Vec<u8>) -> Result<usize> {
    let start = out.len();
    let level = match coding {
        Coding::Stored => 0,
        Coding::Huffman => {
            out.extend_from_slice(&GZIP_HEADER);
            huffman::deflate(raw, out);
            out.extend_from_slice(&zlib_rs::crc32::crc32(0, raw).to_le_bytes());
            out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
            return Ok(out.len() - start);
        }
        Coding::Deflate(level) => level.clamp(1, 9) as i32,
    };
    let config = DeflateConfig {
        level,
        method: Method::Deflated,
        window_bits: i32::from(GZIP_WINDOW_BITS),
        mem_level: 8,
        strategy: Strategy::Default,
    };
    out.resize(start + zlib_rs::compress_bound(raw.len()) + 64, 0);
    let (written, code) = zlib_rs::compress_slice(&mut out[start..], raw, config);
    if code != ReturnCode::Ok {
        return Err(SnapshotError::new(ErrorKind::Internal, format!("deflate failed: {code:?}")));
    }
    let size = written.len();
    out.truncate(start + size);
    Ok(size)
}

/// Expands `member`, which must be exactly one gzip member of exactly `raw_bytes` expanded.
pub fn unpack(member: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
    check_expansion(member.len() as u64, raw_bytes as u64)?;
    let mut inflate = Inflate::new(true, GZIP_WINDOW_BITS);
    // One byte more than expected, so that a member that expands further is seen.
    let mut raw = vec![0; raw_bytes + 1];
    let status = inflate
        .decompress(member, &mut raw, InflateFlush::Finish)
        .map_err(|error| damaged(format!("the gzip data cannot be expanded: {}", error.as_str())))?;
    if status != Status::StreamEnd {
        let what = if inflate.total_out() > raw_bytes as u64 { "expands further than" } else { "ends before" };
        return Err(damaged(format!("the gzip data {what} its {raw_bytes} bytes")));
    }
    if inflate.total_out() != raw_bytes as u64 {
        return Err(damaged(format!("the gzip data expands to {} bytes, not {raw_bytes}", inflate.total_out())));
    }
    if inflate.total_in() != member.len() as u64 {
        return Err(damaged("something follows the end of the gzip data"));
    }
    raw.truncate(raw_bytes);
    Ok(raw)
}

/// Refuses a size that no deflate stream of `bytes` can expand to, before anything is allocated for it.
pub fn check_expansion(bytes: u64, raw_bytes: u64) -> Result<()> {
    if raw_bytes > bytes.saturating_mul(limits::EXPANSION) {
        return Err(damaged(format!("{bytes} bytes of gzip data are said to expand to {raw_bytes}, which none can")));
    }
    Ok(())
}

/// Refuses a size that is far more than `raw_bytes` need, before that much is read.
pub fn check_overhead(bytes: u64, raw_bytes: u64) -> Result<()> {
    let needed_bytes = raw_bytes.saturating_add(raw_bytes / 64).saturating_add(limits::OVERHEAD_BYTES);
    if bytes > needed_bytes {
        return Err(damaged(format!("{bytes} bytes of gzip data are said to expand to no more than {raw_bytes}")));
    }
    Ok(())
}

/// The order-0 entropy of the sample, in bits.
fn entropy_bits(sample: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in sample {
        counts[usize::from(*byte)] += 1;
    }
    let total = sample.len() as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) * (total / f64::from(*count)).log2()).sum()
}
