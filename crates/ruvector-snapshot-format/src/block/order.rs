//! The order of blocks: the ids of each block are greater than those of the blocks before it.

use super::Block;

/// Checks that the blocks of a snapshot come in the order of their ids, without repeating one. The order of the ids
/// within a block is checked when it is packed and unpacked.
///
/// ```
/// use ruvector_snapshot_format::block::BlockOrder;
///
/// let mut order = BlockOrder::default();
/// assert!(order.follows_ids("a", "m"));
/// assert!(order.follows_ids("n", "z"));
/// assert!(!order.follows_ids("z", "zz"));
/// ```
#[derive(Debug, Default, Clone)]
pub struct BlockOrder {
    last_id: Option<String>,
}

impl BlockOrder {
    /// Returns whether a block follows the one before it. Remembers its last id. An empty block always follows.
    pub fn follows(&mut self, block: &Block) -> bool {
        block.len().checked_sub(1).is_none_or(|last| self.follows_ids(block.id(0), block.id(last)))
    }

    /// Returns whether a block with these first and last ids follows the one before it. Remembers the last id.
    pub fn follows_ids(&mut self, first_id: &str, last_id: &str) -> bool {
        let follows = self.last_id.as_deref().is_none_or(|previous| previous < first_id);
        self.last_id = Some(last_id.to_owned());
        follows
    }
}
