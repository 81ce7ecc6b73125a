//! vectors.bin.gz: byte planes (FORMAT.md, section 4).
//!
//! After a rotation by one bit the eight bits of the exponent fill one byte of their own. In embeddings it takes few
//! values, while the mantissa is noise: apart, the one compresses and the other need not be tried.

use super::damaged;
use crate::error::Result;

/// Planes of an f32.
pub const PLANES: usize = 4;

/// Splits f32 little-endian values, `matrix`, into their four planes, one after the other.
pub fn split(matrix: &[u8]) -> Vec<u8> {
    let values = matrix.len() / PLANES;
    let mut planes = vec![0u8; values * PLANES];
    let (low, high) = planes.split_at_mut(values * 2);
    let (plane0, plane1) = low.split_at_mut(values);
    let (plane2, plane3) = high.split_at_mut(values);
    let outputs = plane0.iter_mut().zip(plane1).zip(plane2).zip(plane3);
    for ((((p0, p1), p2), p3), value) in outputs.zip(matrix.as_chunks::<4>().0) {
        [*p0, *p1, *p2, *p3] = u32::from_le_bytes(*value).rotate_left(1).to_le_bytes();
    }
    planes
}

/// The inverse of [`split`]: four planes of one length to f32 little-endian values.
pub fn join(planes: [&[u8]; PLANES]) -> Result<Vec<u8>> {
    let [plane0, plane1, plane2, plane3] = planes;
    let values = plane0.len();
    if planes.iter().any(|plane| plane.len() != values) {
        return Err(damaged("the planes of a block differ in length"));
    }
    let mut matrix = vec![0u8; values * PLANES];
    let inputs = plane0.iter().zip(plane1).zip(plane2).zip(plane3);
    for (value, (((p0, p1), p2), p3)) in matrix.as_chunks_mut::<4>().0.iter_mut().zip(inputs) {
        *value = u32::from_le_bytes([*p0, *p1, *p2, *p3]).rotate_right(1).to_le_bytes();
    }
    Ok(matrix)
}
