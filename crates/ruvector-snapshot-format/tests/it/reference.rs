//! A second implementation of record digests and of the content checksum, written from docs/FORMAT.md alone.

use sha2::{Digest as _, Sha256};

pub(crate) fn reference_digest(id: &str, vector: &[u8], metadata: Option<&str>) -> [u8; 16] {
    let mut text = Vec::new();
    for part in [Some(id.as_bytes()), Some(vector), metadata.map(str::as_bytes)] {
        text.extend(part.map_or(u32::MAX, |part| part.len() as u32).to_le_bytes());
        text.extend(part.unwrap_or_default());
    }
    Sha256::digest(&text)[..16].try_into().unwrap()
}

/// Returns the sum of big-endian numbers modulo 2^256, added byte by byte from the last one.
pub(crate) fn reference_checksum(digests: &[[u8; 16]]) -> String {
    let mut sum = [0u8; 32];
    for hash in digests.iter().map(Sha256::digest) {
        let mut carry = 0u16;
        for (to, from) in sum.iter_mut().zip(hash).rev() {
            let byte = u16::from(*to) + u16::from(from) + carry;
            (*to, carry) = (byte as u8, byte >> 8);
        }
    }
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}
