//! Pages: their numbers, their checksums, and the two shapes of their contents, leaf and branch. Does no I/O.

use std::fmt;

use crate::bytes;

/// The largest order of a page: 2^20 pages of the base size.
pub(crate) const ORDER_MAX: u8 = 20;

const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const CHILD_LEN: usize = 24;
const BRANCH_HEADER_LEN: usize = 8;
const LEAF_HEADER_LEN: usize = 4;

/// Where a page lies: region, index in the region in units of the page's own length, and order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageNumber {
    /// The region, counted from 0.
    pub region: u32,
    /// The index within the region, in units of pages of this order.
    pub index: u32,
    /// The page is 2^order base pages long.
    pub order: u8,
}

impl fmt::Display for PageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}/{}", self.region, self.index, self.order)
    }
}

impl PageNumber {
    fn parse(packed: u64) -> Self {
        let order = (packed >> 59) as u8;
        let index = (packed & (0x000F_FFFF >> order)) as u32;
        Self { region: ((packed >> 20) & 0x000F_FFFF) as u32, index, order }
    }
}

/// redb's checksum: XXH3-128 with the seed 0.
pub(crate) fn checksum(bytes: &[u8]) -> u128 {
    twox_hash::XxHash3_128::oneshot(bytes)
}

/// A page as its parent names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Child {
    pub number: PageNumber,
    pub checksum: u128,
}

/// The root page of a tree and the count of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root {
    pub child: Child,
    pub entries: u64,
}

impl Root {
    pub const LEN: usize = 32;

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = PageNumber::parse(bytes::u64_at(bytes, 0)?);
        let checksum = bytes::u128_at(bytes, 8)?;
        Some(Self { child: Child { number, checksum }, entries: bytes::u64_at(bytes, 24)? })
    }
}

/// The widths of a tree's keys and values in bytes, where they are fixed. Pages do not say; the table's definition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Widths {
    pub key: Option<u32>,
    pub value: Option<u32>,
}

/// How much of a page its contents use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    /// The answer stands further on: ask again with this many bytes.
    NeedBytes(usize),
    /// The checksum covers this many bytes.
    Bytes(usize),
    /// This is no page.
    Nothing,
}

/// Finds the end of what the checksum covers, from a page's first bytes. Trusts nothing.
pub(crate) fn used(bytes: &[u8], widths: Widths) -> Used {
    let (Some(&kind), Some(count)) = (bytes.first(), bytes::u16_at(bytes, 2)) else {
        return if bytes.len() < 4 { Used::NeedBytes(4) } else { Used::Nothing };
    };
    if count == 0 {
        return Used::Nothing;
    }
    let count = usize::from(count);
    let last = match kind {
        LEAF => LeafLayout::new(count, widths).last_end(bytes),
        BRANCH => BranchLayout::new(count, widths.key).key_end(bytes, count - 1),
        _ => return Used::Nothing,
    };
    match last {
        Ok(end) => Used::Bytes(end),
        Err(need) => Used::NeedBytes(need),
    }
}

/// The contents of a page whose checksum holds.
#[derive(Debug)]
pub(crate) enum Node {
    Leaf(Leaf),
    Branch(Branch),
}

impl Node {
    /// Parses the used part of a page. The error is a reason: a page whose checksum holds and whose offsets do not was
    /// never written by redb.
    pub fn parse(bytes: Vec<u8>, checksum: u128, widths: Widths) -> Result<Self, &'static str> {
        let count = usize::from(bytes::u16_at(&bytes, 2).unwrap_or(0));
        match bytes.first() {
            Some(&LEAF) => {
                let leaf = Leaf { layout: LeafLayout::new(count, widths), bytes, checksum };
                leaf.check()?;
                Ok(Node::Leaf(leaf))
            }
            Some(&BRANCH) => Ok(Node::Branch(Branch { bytes, children: count + 1 })),
            _ => Err("it is neither a leaf nor a branch"),
        }
    }

    /// The used part of the page.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Node::Leaf(leaf) => &leaf.bytes,
            Node::Branch(branch) => &branch.bytes,
        }
    }
}

/// An inner page: where its children are. Its keys are covered by the checksum, and not needed but to find a key.
#[derive(Debug)]
pub(crate) struct Branch {
    bytes: Vec<u8>,
    children: usize,
}

impl Branch {
    pub fn child(&self, i: usize) -> Option<Child> {
        if i >= self.children {
            return None;
        }
        let checksum = bytes::u128_at(&self.bytes, BRANCH_HEADER_LEN + 16 * i)?;
        let number = bytes::u64_at(&self.bytes, BRANCH_HEADER_LEN + 16 * self.children + 8 * i)?;
        Some(Child { number: PageNumber::parse(number), checksum })
    }

    /// The one child that can hold `key`, where keys are in the order of their bytes: no key below it is greater than the
    /// branch's key of the same index. Keys that cannot be read lead to some child, and whoever looks there finds other keys.
    pub fn child_for(&self, key: &[u8], key_width: Option<u32>) -> usize {
        let layout = BranchLayout::new(self.children.saturating_sub(1), key_width);
        let (mut first, mut end) = (0, self.children.saturating_sub(1));
        while first < end {
            let middle = first.midpoint(end);
            match layout.key_range(&self.bytes, middle).and_then(|(start, end)| self.bytes.get(start..end)) {
                Some(found) if found < key => first = middle + 1,
                _ => end = middle,
            }
        }
        first
    }
}

/// A leaf page: rows in key order. Owns its bytes; keys and values are borrowed from it.
#[derive(Debug)]
pub struct Leaf {
    layout: LeafLayout,
    bytes: Vec<u8>,
    checksum: u128,
}

impl Leaf {
    /// The XXH3-128 of the page's used bytes, as its parent page stores it: the same rows at another time in the same
    /// layout give the same checksum.
    pub fn checksum(&self) -> u128 {
        self.checksum
    }

    /// The count of rows; at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.layout.count
    }

    /// The bytes of the key of row `i`; empty where `i` is not below [`len`](Self::len).
    pub fn key(&self, i: usize) -> &[u8] {
        self.slice(self.layout.key_range(&self.bytes, i))
    }

    /// The bytes of the value of row `i`; empty where `i` is not below [`len`](Self::len).
    pub fn value(&self, i: usize) -> &[u8] {
        self.slice(self.layout.value_range(&self.bytes, i))
    }

    fn slice(&self, range: Option<(usize, usize)>) -> &[u8] {
        range.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or(&[])
    }

    /// Every range lies in the page, in order, without overlap; so no accessor can go wrong later.
    fn check(&self) -> Result<(), &'static str> {
        const REASON: &str = "its offsets are out of order";
        let mut end = self.layout.keys_start;
        for range in (0..self.len()).map(|i| self.layout.key_range(&self.bytes, i)) {
            let (start, next) = range.ok_or(REASON)?;
            if start != end || next < start {
                return Err(REASON);
            }
            end = next;
        }
        for range in (0..self.len()).map(|i| self.layout.value_range(&self.bytes, i)) {
            let (start, next) = range.ok_or(REASON)?;
            if start != end || next < start {
                return Err(REASON);
            }
            end = next;
        }
        if end == self.bytes.len() { Ok(()) } else { Err(REASON) }
    }
}

/// An offset, or the count of bytes of the page that must be known to say.
type Offset = Result<usize, usize>;

#[derive(Debug, Clone, Copy)]
struct LeafLayout {
    count: usize,
    widths: Widths,
    value_ends: usize,
    keys_start: usize,
}

impl LeafLayout {
    fn new(count: usize, widths: Widths) -> Self {
        let value_ends = LEAF_HEADER_LEN + if widths.key.is_none() { 4 * count } else { 0 };
        let keys_start = value_ends + if widths.value.is_none() { 4 * count } else { 0 };
        Self { count, widths, value_ends, keys_start }
    }

    fn last_end(&self, bytes: &[u8]) -> Offset {
        self.value_end(bytes, self.count.wrapping_sub(1))
    }

    fn key_end(&self, bytes: &[u8], i: usize) -> Offset {
        end_at(bytes, self.widths.key, Ok(self.keys_start), LEAF_HEADER_LEN, i)
    }

    fn value_end(&self, bytes: &[u8], i: usize) -> Offset {
        let start = match self.widths.value {
            Some(_) => self.key_end(bytes, self.count.wrapping_sub(1)),
            None => Ok(0),
        };
        end_at(bytes, self.widths.value, start, self.value_ends, i)
    }

    fn key_range(&self, bytes: &[u8], i: usize) -> Option<(usize, usize)> {
        let start = match i.checked_sub(1) {
            None => self.keys_start,
            Some(before) => self.key_end(bytes, before).ok()?,
        };
        (i < self.count).then_some((start, self.key_end(bytes, i).ok()?))
    }

    fn value_range(&self, bytes: &[u8], i: usize) -> Option<(usize, usize)> {
        let start = match i.checked_sub(1) {
            None => self.key_end(bytes, self.count.checked_sub(1)?).ok()?,
            Some(before) => self.value_end(bytes, before).ok()?,
        };
        (i < self.count).then_some((start, self.value_end(bytes, i).ok()?))
    }
}

struct BranchLayout {
    key_width: Option<u32>,
    key_ends: usize,
    keys_start: usize,
}

impl BranchLayout {
    fn new(count: usize, key_width: Option<u32>) -> Self {
        let key_ends = BRANCH_HEADER_LEN + CHILD_LEN * (count + 1);
        let keys_start = key_ends + if key_width.is_none() { 4 * count } else { 0 };
        Self { key_width, key_ends, keys_start }
    }

    fn key_range(&self, bytes: &[u8], i: usize) -> Option<(usize, usize)> {
        let start = match i.checked_sub(1) {
            None => self.keys_start,
            Some(before) => self.key_end(bytes, before).ok()?,
        };
        Some((start, self.key_end(bytes, i).ok()?))
    }

    /// Never less than the array of children, which therefore lies in what the checksum covers.
    fn key_end(&self, bytes: &[u8], i: usize) -> Offset {
        Ok(end_at(bytes, self.key_width, Ok(self.keys_start), self.key_ends, i)?.max(self.keys_start))
    }
}

/// The end of entry `i`: computed where the width is fixed, else read from the array of ends.
fn end_at(bytes: &[u8], width: Option<u32>, start: Offset, ends: usize, i: usize) -> Offset {
    match width {
        // The saturated end lies beyond every page, and so fails as a page that does not hold.
        Some(width) => Ok(start?.saturating_add((width as usize).saturating_mul(i.saturating_add(1)))),
        None => {
            let at = ends.saturating_add(4usize.saturating_mul(i));
            bytes::u32_at(bytes, at).map(|end| end as usize).ok_or(at.saturating_add(4))
        }
    }
}
