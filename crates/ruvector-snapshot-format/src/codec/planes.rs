//! The byte planes of f32 values (FORMAT.md, section 4).
//!
//! A rotation by one bit puts the eight bits of the exponent into a byte of their own. In embeddings the exponents take
//! few values, and the mantissas are noise. In separate planes the exponents compress well, and the mantissas are
//! stored without an attempt to compress them.

use crate::error::{FormatError, Result};

/// Planes of an f32.
pub(crate) const PLANES: usize = 4;

/// Splits f32 little-endian values into their four planes, one after the other.
pub(crate) fn split(matrix: &[u8]) -> Vec<u8> {
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

/// Joins four planes of equal length into f32 little-endian values. The inverse of [`split`].
pub(crate) fn join(planes: [&[u8]; PLANES]) -> Result<Vec<u8>> {
    let [plane0, plane1, plane2, plane3] = planes;
    let values = plane0.len();
    if planes.iter().any(|plane| plane.len() != values) {
        return Err(FormatError::corrupt("the planes of a block differ in length"));
    }
    let mut matrix = vec![0u8; values * PLANES];
    let inputs = plane0.iter().zip(plane1).zip(plane2).zip(plane3);
    for (value, (((p0, p1), p2), p3)) in matrix.as_chunks_mut::<4>().0.iter_mut().zip(inputs) {
        *value = u32::from_le_bytes([*p0, *p1, *p2, *p3]).rotate_right(1).to_le_bytes();
    }
    Ok(matrix)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{join, split};
    use crate::FormatErrorKind;

    proptest! {
        #[test]
        fn planes_hold_the_bytes_of_the_rotated_values(values in vec(any::<u32>(), 0..300)) {
            let matrix: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let planes = split(&matrix);
            let plane = |at: usize| &planes[at * values.len()..(at + 1) * values.len()];
            for (at, value) in values.iter().enumerate() {
                // FORMAT.md: the sign becomes bit 0, the exponent bits 24 to 31.
                let rotated = value.wrapping_mul(2) + (value >> 31);
                for number in 0..4 {
                    prop_assert_eq!(plane(number)[at], (rotated >> (8 * number)) as u8);
                }
                prop_assert_eq!(plane(3)[at], ((value >> 23) & 0xff) as u8, "the exponent");
            }
            prop_assert_eq!(join([plane(0), plane(1), plane(2), plane(3)]).unwrap(), matrix);
        }
    }

    #[test]
    fn planes_of_different_lengths_are_refused() {
        for short in 0..4 {
            let mut planes = [&[1u8, 2, 3][..]; 4];
            planes[short] = &[1, 2];
            assert_eq!(join(planes).unwrap_err().kind(), FormatErrorKind::Corrupt);
        }
    }
}
