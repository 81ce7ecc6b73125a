//! Walks one tree in key order, over any source of checked pages. A walk ends on any input, hostile ones included.

use crate::{
    error::Error,
    page::{Branch, Child, Leaf, Node, PageNumber, Root, Widths},
};

/// The maximum depth of a tree. redb splits full pages in half, so the largest possible tree is much less deep.
const DEPTH_MAX: usize = 64;

/// The reason why a page cannot be returned.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// The page does not match the checksum in its parent. Only the header can show whether it is corrupt or was
    /// overwritten.
    ChecksumMismatch { page: PageNumber, table: Option<String> },
    /// Any other error.
    Failed(Error),
}

impl WalkError {
    /// Adds the name of the table whose tree was walked.
    pub fn in_table(self, name: &str) -> Self {
        match self {
            WalkError::ChecksumMismatch { page, .. } => {
                WalkError::ChecksumMismatch { page, table: Some(name.to_owned()) }
            }
            WalkError::Failed(error) => WalkError::Failed(error.in_table(name)),
        }
    }
}

impl From<Error> for WalkError {
    fn from(error: Error) -> Self {
        WalkError::Failed(error)
    }
}

/// A source of pages whose checksums match.
pub(crate) trait PageSource {
    /// Reads and checks a page.
    fn fetch(&mut self, child: Child, widths: Widths) -> Result<Node, WalkError>;

    /// Returns whether the walk can skip the page and everything below it, because it was checked before.
    fn can_skip(&self, _child: Child) -> bool {
        false
    }

    /// Returns the number of pages that may still be visited.
    ///
    /// A page of a valid file is part of exactly one tree, and is referenced there once. The number of pages in the
    /// file is therefore a limit that stops walks through hostile files in which pages are referenced many times.
    fn pages_left(&mut self) -> &mut u64;

    /// Returns the error for a tree whose checksums match and whose contents are not valid.
    fn corrupt(&self, page: Option<PageNumber>, reason: &'static str) -> Error;
}

/// The next page of a walk that the caller has to handle.
#[derive(Debug)]
pub(crate) enum WalkItem {
    Leaf(PageNumber, Leaf),
    /// A page that was not read, because the caller knows its checksum.
    Skipped(u128),
}

/// A position in a tree: the path from the root to the next leaf.
#[derive(Debug)]
pub(crate) struct Walk {
    widths: Widths,
    root: Option<Child>,
    /// The branches above the next leaf, each with the index of its next child.
    path: Vec<(Branch, usize)>,
    /// Pages at this depth and below are left out. The depth of the root is 0.
    depth_end: usize,
    is_truncated: bool,
    /// The key to descend to, in trees that are sorted by bytes.
    seek_key: Option<Vec<u8>>,
}

impl Walk {
    pub fn new(root: Option<Root>, widths: Widths) -> Self {
        Self {
            widths,
            root: root.map(|root| root.child),
            path: Vec::new(),
            depth_end: usize::MAX,
            is_truncated: false,
            seek_key: None,
        }
    }

    /// Moves forward to the only leaf that can contain `key`, without reading the pages between.
    ///
    /// The tree must be sorted by bytes. If the walk is already past that leaf, it stays where it is.
    pub fn seek(&mut self, key: &[u8]) {
        if self.root.is_some() {
            self.seek_key = Some(key.to_vec());
        }
        for depth in 0..self.path.len() {
            let Some((branch, next)) = self.path.get_mut(depth) else { return };
            let child = branch.child_for(key, self.widths.key);
            if child >= *next {
                *next = child;
                self.path.truncate(depth + 1);
                self.seek_key = Some(key.to_vec());
                return;
            }
            // The walk is in the subtree of child `next - 1`. If the key belongs to an earlier one, the walk is past
            // it.
            if child + 1 < *next {
                return;
            }
        }
    }

    /// Limits the walk to a number of levels, counted from the root.
    pub fn limited_to(self, levels: usize) -> Self {
        Self { depth_end: levels, ..self }
    }

    /// Returns whether pages were left out because of the limit on levels.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Returns how many levels a subtree of the last returned leaf may have.
    pub fn levels_left(&self) -> usize {
        self.depth_end.saturating_sub(self.path.len() + 1)
    }

    /// Returns the next leaf that the source does not skip.
    pub fn next_leaf(&mut self, source: &mut impl PageSource) -> Result<Option<(PageNumber, Leaf)>, WalkError> {
        match self.next(source, |_| false)? {
            Some(WalkItem::Leaf(number, leaf)) => Ok(Some((number, leaf))),
            _ => Ok(None),
        }
    }

    /// Returns the next leaf that the source does not skip, or the next page with a known checksum, which is not read.
    pub fn next(
        &mut self,
        source: &mut impl PageSource,
        is_known: impl Fn(u128) -> bool,
    ) -> Result<Option<WalkItem>, WalkError> {
        while let Some(child) = self.next_child() {
            let number = child.number;
            let Some(pages_left) = source.pages_left().checked_sub(1) else {
                let reason = "the trees have more pages than the file, so some pages are referenced twice";
                return Err(source.corrupt(Some(number), reason).into());
            };
            *source.pages_left() = pages_left;
            if source.can_skip(child) {
                continue;
            }
            if is_known(child.checksum) {
                self.seek_key = None;
                return Ok(Some(WalkItem::Skipped(child.checksum)));
            }
            if self.path.len() >= self.depth_end {
                self.is_truncated = true;
                continue;
            }
            match source.fetch(child, self.widths)? {
                Node::Leaf(leaf) => {
                    self.seek_key = None;
                    return Ok(Some(WalkItem::Leaf(number, leaf)));
                }
                Node::Branch(_) if self.path.len() >= DEPTH_MAX => {
                    return Err(source.corrupt(Some(number), "the tree is too deep").into());
                }
                Node::Branch(branch) => {
                    let first = self.seek_key.as_deref().map_or(0, |key| branch.child_for(key, self.widths.key));
                    self.path.push((branch, first));
                }
            }
        }
        Ok(None)
    }

    fn next_child(&mut self) -> Option<Child> {
        if let Some(root) = self.root.take() {
            return Some(root);
        }
        while let Some((branch, next)) = self.path.last_mut() {
            if let Some(child) = branch.child(*next) {
                *next += 1;
                return Some(child);
            }
            self.path.pop();
        }
        None
    }
}
