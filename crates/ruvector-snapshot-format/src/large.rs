//! Large rows, which can have 128 MiB: what is large, and how much room a buffer for it gets.

use crate::limits;

/// A row is large if its vector and its metadata have more bytes. A writer has given it a block of its own. A reader or a
/// writer should have only one such block in memory.
pub const LARGE_ROW_BYTES: usize = 2 * limits::BLOCK_TARGET_BYTES;

/// The C library returns buffers of this size to the system when they are freed. It keeps smaller ones for later, and
/// those of each thread apart.
pub const RETURNED_BYTES: usize = 33 << 20;

/// Returns the capacity of a buffer for so many bytes: of a large one at least what is returned to the system. What is not
/// used of it takes address space, and no memory.
///
/// ```
/// use ruvector_snapshot_format::large::{RETURNED_BYTES, capacity_for};
///
/// assert_eq!(capacity_for(1000), 1000);
/// assert_eq!(capacity_for(10 << 20), RETURNED_BYTES);
/// assert_eq!(capacity_for(50 << 20), 50 << 20);
/// ```
pub fn capacity_for(bytes: usize) -> usize {
    if bytes > RETURNED_BYTES / 4 { bytes.max(RETURNED_BYTES) } else { bytes }
}
