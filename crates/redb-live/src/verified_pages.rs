//! Records which pages the mirror is known to contain. Does no I/O.

use std::collections::HashMap;

use crate::{
    header::Geometry,
    page::{Child, Node, ORDER_MAX, PageNumber},
};

const ENTRIES_PER_CHUNK: usize = 512;
/// The bits of an entry that contain the order of the page plus one. An entry of zero therefore means "no page".
const ORDER_MASK: u64 = LEAF_FLAG - 1;
const LEAF_FLAG: u64 = 1 << 5;

/// The pages of the mirror whose checksums match: eight bytes per base page, in chunks that are allocated on demand.
///
/// Invariant: the mirror contains every recorded page, and its checksum matches. To keep it, storing a page invalidates
/// all pages that overlap it.
#[derive(Debug, Default)]
pub(crate) struct VerifiedPages {
    chunks: HashMap<u64, Box<[u64; ENTRIES_PER_CHUNK]>>,
}

impl VerifiedPages {
    /// Records that the mirror contains this page.
    pub fn insert(&mut self, geometry: &Geometry, child: Child, node: &Node) {
        let Some(at) = base_page_index(geometry, child.number) else { return };
        let chunk =
            self.chunks.entry(at / ENTRIES_PER_CHUNK as u64).or_insert_with(|| Box::new([0; ENTRIES_PER_CHUNK]));
        if let Some(entry) = chunk.get_mut((at % ENTRIES_PER_CHUNK as u64) as usize) {
            *entry = entry_of(child) | if matches!(node, Node::Leaf(_)) { LEAF_FLAG } else { 0 };
        }
    }

    /// Returns whether the mirror is known to contain this page.
    pub fn contains(&self, geometry: &Geometry, child: Child) -> bool {
        base_page_index(geometry, child.number).is_some_and(|at| self.get(at) & !LEAF_FLAG == entry_of(child))
    }

    /// Returns whether the mirror is known to contain this page, and it is a leaf.
    pub fn contains_leaf(&self, geometry: &Geometry, child: Child) -> bool {
        base_page_index(geometry, child.number).is_some_and(|at| self.get(at) == entry_of(child) | LEAF_FLAG)
    }

    /// Removes every page that overlaps the page, of whatever order. Call it before a page is written to the mirror.
    pub fn invalidate(&mut self, geometry: &Geometry, number: PageNumber) {
        let Some(at) = base_page_index(geometry, number) else { return };
        for covered in at..at + (1 << number.order) {
            self.clear(covered);
        }
        for order in number.order + 1..=ORDER_MAX {
            let index = number.index >> (order - number.order);
            if let Some(at) = base_page_index(geometry, PageNumber { region: number.region, index, order })
                && self.get(at) & ORDER_MASK == u64::from(order) + 1
            {
                self.clear(at);
            }
        }
    }

    fn get(&self, at: u64) -> u64 {
        self.chunks
            .get(&(at / ENTRIES_PER_CHUNK as u64))
            .and_then(|chunk| chunk.get((at % ENTRIES_PER_CHUNK as u64) as usize))
            .copied()
            .unwrap_or(0)
    }

    fn clear(&mut self, at: u64) {
        if let Some(chunk) = self.chunks.get_mut(&(at / ENTRIES_PER_CHUNK as u64))
            && let Some(entry) = chunk.get_mut((at % ENTRIES_PER_CHUNK as u64) as usize)
        {
            *entry = 0;
        }
    }
}

/// Returns the index of the first base page of a page, counted from the start of the file.
fn base_page_index(geometry: &Geometry, number: PageNumber) -> Option<u64> {
    Some(geometry.range(number)?.start / u64::from(geometry.page_size))
}

/// Returns 58 bits of the checksum and the order of the page plus one. The leaf flag is not set.
fn entry_of(child: Child) -> u64 {
    ((child.checksum as u64) << 6) | (u64::from(child.number.order) + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{header::Header, page::Widths};

    fn geometry() -> Geometry {
        let mut bytes = [0; 320];
        bytes[..9].copy_from_slice(b"redb\x1A\x0A\xA9\x0D\x0A");
        for (at, value) in [(12, 512u32), (16, 1), (20, 64)] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes[64] = 2;
        bytes[192] = 2;
        Header::parse(&bytes).unwrap().geometry
    }

    fn leaf() -> Node {
        let bytes = vec![1, 0, 1, 0, 9];
        Node::parse(bytes, 0, Widths { key: Some(1), value: Some(0) }).unwrap()
    }

    fn child() -> impl Strategy<Value = Child> {
        (0u32..2, 0u8..7, any::<prop::sample::Index>(), 0u128..4).prop_map(|(region, order, index, checksum)| Child {
            number: PageNumber { region, index: index.index(64 >> order) as u32, order },
            checksum,
        })
    }

    proptest! {
        #[test]
        fn a_page_is_recorded_until_an_overlapping_page_is_stored(children in prop::collection::vec(child(), 1..60)) {
            let (geometry, mut verified) = (geometry(), VerifiedPages::default());
            let mut expected: Vec<Child> = Vec::new();
            for child in &children {
                let range = geometry.range(child.number).unwrap();
                expected.retain(|other| {
                    let other = geometry.range(other.number).unwrap();
                    other.end <= range.start || range.end <= other.start
                });
                verified.invalidate(&geometry, child.number);
                verified.insert(&geometry, *child, &leaf());
                expected.push(*child);
                for child in &children {
                    prop_assert_eq!(verified.contains_leaf(&geometry, *child), expected.contains(child));
                }
            }
        }
    }
}
