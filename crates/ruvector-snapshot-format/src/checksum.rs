//! Digests of records, the content checksum, and checksum.sha256 (FORMAT.md, sections 2 and 3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::error::{FormatError, Result};
use crate::layout;

/// The first 16 bytes of the SHA-256 of a record.
pub type Digest = [u8; 16];

/// Bytes of a [`Digest`].
pub const DIGEST_BYTES: usize = 16;

/// Returns the digest of a record. `vector` holds its f32 values, little-endian; `metadata` is its canonical JSON.
pub fn digest(id: &str, vector: &[u8], metadata: Option<&str>) -> Digest {
    // The limits of the format keep every length below 2^32.
    let mut hash = Sha256::new();
    hash.update((id.len() as u32).to_le_bytes());
    hash.update(id.as_bytes());
    hash.update((vector.len() as u32).to_le_bytes());
    hash.update(vector);
    match metadata {
        Some(text) => {
            hash.update((text.len() as u32).to_le_bytes());
            hash.update(text.as_bytes());
        }
        None => hash.update(u32::MAX.to_le_bytes()),
    }
    let mut digest = Digest::default();
    for (to, from) in digest.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    digest
}

/// The content checksum: a sum modulo 2^256 over records. The order of the records and the division into parts do not
/// matter.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ContentSum([u64; 4]);

impl ContentSum {
    /// Adds one record.
    pub fn add(&mut self, digest: &Digest) {
        let hash: [u8; 32] = Sha256::digest(digest).into();
        self.merge(&Self::from_be_bytes(&hash));
    }

    /// Adds the sum of another part.
    pub fn merge(&mut self, other: &Self) {
        let mut carry = false;
        for (to, from) in self.0.iter_mut().zip(other.0) {
            let (sum, over) = to.overflowing_add(from);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            *to = sum;
            carry = over || again;
        }
    }

    /// Subtracts the sum of another part. The inverse of [`merge`](Self::merge).
    pub fn unmerge(&mut self, other: &Self) {
        // Modulo 2^256 the negative of a number is its complement plus one.
        self.merge(&Self(other.0.map(|word| !word)));
        self.merge(&Self([1, 0, 0, 0]));
    }

    /// Subtracts one record.
    pub fn subtract(&mut self, digest: &Digest) {
        let mut one = Self::default();
        one.add(digest);
        self.unmerge(&one);
    }

    fn from_be_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0u64; 4];
        for (word, part) in words.iter_mut().rev().zip(bytes.chunks_exact(8)) {
            *word = part.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        }
        Self(words)
    }
}

impl fmt::Display for ContentSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl fmt::Debug for ContentSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentSum {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self::from_be_bytes(&parse_sha256(text)?))
    }
}

impl Serialize for ContentSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Returns the text of checksum.sha256. `files` are the SHA-256 of the three data files in hexadecimal, in the order of
/// [`layout::DataFile::ALL`].
pub fn checksum_sha256(metadata_json: &[u8], files: [&str; 3]) -> String {
    let mut text = format!("{}  {}\n", sha256_hex(metadata_json), layout::METADATA_JSON);
    for (file, sha256) in layout::DataFile::ALL.into_iter().zip(files) {
        text.push_str(&format!("{sha256}  {}\n", file.name()));
    }
    text
}

/// Returns the size of each checksum.sha256, in bytes: the names in it are always the same.
pub fn checksum_sha256_bytes() -> u64 {
    let names = layout::DataFile::ALL.into_iter().map(|file| file.name()).chain([layout::METADATA_JSON]);
    // 64 digits, two spaces and the end of the line.
    names.map(|name| name.len() as u64 + 67).sum()
}

/// Returns the SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Parses the 64 lower-case hexadecimal digits of a SHA-256.
///
/// # Errors
///
/// Returns `Corrupt` for any other text.
pub fn parse_sha256(text: &str) -> Result<[u8; 32]> {
    let malformed = || FormatError::corrupt("a checksum is not 64 lower-case hexadecimal digits");
    if text.len() != 64 {
        return Err(malformed());
    }
    let mut bytes = [0u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(malformed()),
            };
            *byte = *byte << 4 | value;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_checksum_sha256_has_the_same_size() {
        let sha256 = sha256_hex(b"");
        assert_eq!(checksum_sha256(b"{}", [&sha256; 3]).len() as u64, checksum_sha256_bytes());
    }
}
