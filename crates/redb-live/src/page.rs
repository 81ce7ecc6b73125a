//! Parses pages: page numbers, checksums, and the two kinds of page, leaf and branch. Does no I/O.
//!
//! A page is untrusted until its checksum matches. Its kind and its offsets are read before that, to find the range
//! that the checksum covers, so every offset is computed without overflow and every access is checked.

use std::fmt;

use crate::bytes;

/// The largest order of a page. Such a page is as long as 2^20 base pages.
pub(crate) const ORDER_MAX: u8 = 20;

const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const CHILD_LEN: usize = 24;
const BRANCH_HEADER_LEN: usize = 8;
const LEAF_HEADER_LEN: usize = 4;

/// The position of a page in a database file. Displayed as `r<region>.<index>/<order>`, as redb does.
///
/// # Examples
///
/// ```
/// use redb_live::PageNumber;
///
/// let page = PageNumber { region: 0, index: 17, order: 1 };
/// assert_eq!(page.to_string(), "r0.17/1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageNumber {
    /// The region, counted from 0.
    pub region: u32,
    /// The index of the page in its region, in units of its own length.
    pub index: u32,
    /// The base 2 logarithm of the length of the page, in base pages.
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

/// Returns the checksum that redb stores: XXH3-128 with seed 0.
pub(crate) fn checksum(bytes: &[u8]) -> u128 {
    twox_hash::XxHash3_128::oneshot(bytes)
}

/// A reference to a page, as its parent stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Child {
    pub number: PageNumber,
    pub checksum: u128,
}

/// The root page of a tree and the number of its entries.
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

/// The widths of a tree's keys and values, in bytes, or `None` if the width varies. The table definition stores them;
/// pages do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Widths {
    pub key: Option<u32>,
    pub value: Option<u32>,
}

/// The length of the range that a page's checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CoveredLen {
    /// The length is stored further on in the page. Try again with this many bytes.
    NeedBytes(usize),
    /// The checksum covers this many bytes.
    Bytes(usize),
    /// The bytes are not a page.
    NotAPage,
}

/// Finds the length that the checksum covers, from the first bytes of a page that is not checked yet.
pub(crate) fn covered_len(bytes: &[u8], widths: Widths) -> CoveredLen {
    let (Some(&kind), Some(count)) = (bytes.first(), bytes::u16_at(bytes, 2)) else {
        return if bytes.len() < 4 { CoveredLen::NeedBytes(4) } else { CoveredLen::NotAPage };
    };
    if count == 0 {
        return CoveredLen::NotAPage;
    }
    let count = usize::from(count);
    let end = match kind {
        LEAF => LeafLayout::new(count, widths).last_end(bytes),
        BRANCH => BranchLayout::new(count, widths.key).key_end(bytes, count - 1),
        _ => return CoveredLen::NotAPage,
    };
    match end {
        Ok(end) => CoveredLen::Bytes(end),
        Err(need) => CoveredLen::NeedBytes(need),
    }
}

/// The contents of a page whose checksum matches.
#[derive(Debug)]
pub(crate) enum Node {
    Leaf(Leaf),
    Branch(Branch),
}

impl Node {
    /// Parses the covered part of a page whose checksum matches.
    ///
    /// Returns a reason if the contents are not valid. redb never writes such a page, so the page is corrupt or
    /// hostile.
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

    /// Returns the part of the page that the checksum covers.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Node::Leaf(leaf) => &leaf.bytes,
            Node::Branch(branch) => &branch.bytes,
        }
    }
}

/// An inner page of a tree. A walk in key order needs only the children; the keys are needed to find one key.
#[derive(Debug)]
pub(crate) struct Branch {
    bytes: Vec<u8>,
    children: usize,
}

impl Branch {
    /// Returns child `i`, or `None` if the page has fewer children.
    pub fn child(&self, i: usize) -> Option<Child> {
        if i >= self.children {
            return None;
        }
        let checksum = bytes::u128_at(&self.bytes, BRANCH_HEADER_LEN + 16 * i)?;
        let number = bytes::u64_at(&self.bytes, BRANCH_HEADER_LEN + 16 * self.children + 8 * i)?;
        Some(Child { number: PageNumber::parse(number), checksum })
    }

    /// Returns the index of the only child whose subtree can contain `key`, in a tree that is sorted by bytes.
    ///
    /// No key in the subtree of child `i` is greater than key `i` of the branch. If a key cannot be read, the result is
    /// an arbitrary child.
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

/// A leaf page of a table: rows in key order.
///
/// The leaf owns its bytes. Keys and values are borrowed from it, in the encoding of their redb types.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("app.redb");
/// # let database = redb::Database::create(&path)?;
/// # let txn = database.begin_write()?;
/// # txn.open_table(redb::TableDefinition::<&str, u64>::new("users"))?.insert("ada", 36)?;
/// # txn.commit()?;
/// # let view = redb_live::LiveFile::open(&path)?.view(&Default::default())?;
/// let table = view.table("users")?.ok_or("no such table")?;
/// let leaf = table.leaves().next_leaf()?.ok_or("no rows")?;
/// for i in 0..leaf.len() {
///     let name = std::str::from_utf8(leaf.key(i))?;
///     let age = u64::from_le_bytes(leaf.value(i).try_into()?);
///     assert_eq!((name, age), ("ada", 36));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Leaf {
    layout: LeafLayout,
    bytes: Vec<u8>,
    checksum: u128,
}

impl Leaf {
    /// Returns the checksum of the page: XXH3-128 of the bytes in use, as the parent page stores it.
    ///
    /// Two leaves with the same checksum have the same rows, unless the checksum collides. See
    /// [`Leaves::next_skipping`](crate::Leaves::next_skipping).
    pub fn checksum(&self) -> u128 {
        self.checksum
    }

    /// Returns the number of rows. A leaf has at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.layout.count
    }

    /// Returns the key of row `i`, or an empty slice if `i >= self.len()`.
    pub fn key(&self, i: usize) -> &[u8] {
        self.slice(self.layout.key_range(&self.bytes, i))
    }

    /// Returns the value of row `i`, or an empty slice if `i >= self.len()`.
    pub fn value(&self, i: usize) -> &[u8] {
        self.slice(self.layout.value_range(&self.bytes, i))
    }

    fn slice(&self, range: Option<(usize, usize)>) -> &[u8] {
        range.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or(&[])
    }

    /// Checks that every key and value lies in the page, in order and without overlap.
    fn check(&self) -> Result<(), &'static str> {
        const REASON: &str = "its offsets are not in order";
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

/// An offset, or the number of bytes of the page that are needed to compute it.
type Offset = Result<usize, usize>;

/// The offsets of the parts of a leaf: header, ends of keys, ends of values, keys, values. The arrays of ends exist
/// only for widths that vary.
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

/// The offsets of the parts of a branch: header, checksums of children, numbers of children, ends of keys, keys. The
/// array of ends exists only for a width that varies.
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

    /// Returns the end of key `i`. It is never less than the end of the array of children, so the checksum covers that
    /// array.
    fn key_end(&self, bytes: &[u8], i: usize) -> Offset {
        Ok(end_at(bytes, self.key_width, Ok(self.keys_start), self.key_ends, i)?.max(self.keys_start))
    }
}

/// Returns the end of entry `i`. It is computed if the width is fixed, and read from the array of ends otherwise.
fn end_at(bytes: &[u8], width: Option<u32>, start: Offset, ends: usize, i: usize) -> Offset {
    match width {
        // A saturated end lies beyond every page, so the checksum of such a page cannot match.
        Some(width) => Ok(start?.saturating_add((width as usize).saturating_mul(i.saturating_add(1)))),
        None => {
            let at = ends.saturating_add(4usize.saturating_mul(i));
            bytes::u32_at(bytes, at).map(|end| end as usize).ok_or(at.saturating_add(4))
        }
    }
}
