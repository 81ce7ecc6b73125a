//! A walk over one tree in key order, page by page, over any source of checked pages. Bounded on anything.

use crate::{
    error::Error,
    page::{Branch, Child, Leaf, Node, PageNumber, Root, Widths},
};

/// redb splits pages in the middle, so a tree of 2^20 regions is far from this deep.
const DEPTH_MAX: usize = 64;

/// Why a page could not be had.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The page does not hold what its parent says. Whether that is damage or a writer, the header tells.
    Torn(PageNumber, Option<String>),
    Failed(Error),
}

impl Trouble {
    /// Names the table whose tree was walked.
    pub fn in_table(self, name: &str) -> Self {
        match self {
            Trouble::Torn(page, _) => Trouble::Torn(page, Some(name.to_owned())),
            Trouble::Failed(error) => Trouble::Failed(error.in_table(name)),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Failed(error)
    }
}

/// Something that gives out pages whose checksums hold.
pub(crate) trait Source {
    fn fetch(&mut self, child: Child, widths: Widths) -> Result<Node, Trouble>;

    /// Whether the page is a leaf that has been checked before and need not be seen again.
    fn is_settled(&self, _child: Child) -> bool {
        false
    }

    /// How many more pages may be walked. Every page of a file stands in one tree at one place, so a budget of the
    /// file's pages ends a walk through pages that name each other twice.
    fn pages_left(&mut self) -> &mut u64;

    /// The error for pages whose checksums hold and whose contents cannot be.
    fn damaged(&self, page: Option<PageNumber>, reason: &'static str) -> Error;
}

/// What a walk comes to next.
#[derive(Debug)]
pub(crate) enum Found {
    Leaf(PageNumber, Leaf),
    /// A page that was not read, since its checksum is known.
    Known(u128),
}

/// The path from the root to the next leaf.
#[derive(Debug)]
pub(crate) struct Walk {
    widths: Widths,
    root: Option<Child>,
    path: Vec<(Branch, usize)>,
    /// Pages at this depth and below are left out; the root's depth is 0.
    depth_end: usize,
    is_cut: bool,
    /// Where to go down to the next leaf, in trees whose keys are in the order of their bytes.
    start_key: Option<Vec<u8>>,
}

impl Walk {
    pub fn new(root: Option<Root>, widths: Widths) -> Self {
        Self {
            widths,
            root: root.map(|root| root.child),
            path: Vec::new(),
            depth_end: usize::MAX,
            is_cut: false,
            start_key: None,
        }
    }

    /// Goes on to the one leaf that can hold `key`, without the pages before it, in trees whose keys are in the order of
    /// their bytes. Stays where that leaf has been passed.
    pub fn skip_to(&mut self, key: &[u8]) {
        if self.root.is_some() {
            self.start_key = Some(key.to_vec());
        }
        for depth in 0..self.path.len() {
            let Some((branch, next)) = self.path.get_mut(depth) else { return };
            let child = branch.child_for(key, self.widths.key);
            if child >= *next {
                *next = child;
                self.path.truncate(depth + 1);
                self.start_key = Some(key.to_vec());
                return;
            }
            // The walk is below the child before `next`; below another one the key is passed.
            if child + 1 < *next {
                return;
            }
        }
    }

    /// The same walk, of only so many levels from the root on.
    pub fn above(self, depth_end: usize) -> Self {
        Self { depth_end, ..self }
    }

    /// Whether pages have been left out for their depth.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// How many levels a tree below the leaf given out last may have.
    pub fn levels_below(&self) -> usize {
        self.depth_end.saturating_sub(self.path.len() + 1)
    }

    /// The next leaf that is not settled.
    pub fn next_leaf(&mut self, source: &mut impl Source) -> Result<Option<(PageNumber, Leaf)>, Trouble> {
        match self.next(source, |_| false)? {
            Some(Found::Leaf(number, leaf)) => Ok(Some((number, leaf))),
            _ => Ok(None),
        }
    }

    /// The next leaf that is not settled, or the next page that is known by its checksum, which is not read.
    pub fn next(
        &mut self,
        source: &mut impl Source,
        is_known: impl Fn(u128) -> bool,
    ) -> Result<Option<Found>, Trouble> {
        while let Some(child) = self.next_child() {
            let number = child.number;
            let Some(pages_left) = source.pages_left().checked_sub(1) else {
                let reason = "the trees have more pages than the file, so some are in them twice";
                return Err(source.damaged(Some(number), reason).into());
            };
            *source.pages_left() = pages_left;
            if source.is_settled(child) {
                continue;
            }
            if is_known(child.checksum) {
                self.start_key = None;
                return Ok(Some(Found::Known(child.checksum)));
            }
            if self.path.len() >= self.depth_end {
                self.is_cut = true;
                continue;
            }
            match source.fetch(child, self.widths)? {
                Node::Leaf(leaf) => {
                    self.start_key = None;
                    return Ok(Some(Found::Leaf(number, leaf)));
                }
                Node::Branch(_) if self.path.len() >= DEPTH_MAX => {
                    return Err(source.damaged(Some(number), "the tree is too deep").into());
                }
                Node::Branch(branch) => {
                    let first = self.start_key.as_deref().map_or(0, |key| branch.child_for(key, self.widths.key));
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
