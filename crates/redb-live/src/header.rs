//! Parses the header, the first 320 bytes of a redb file, and picks the commit slots that redb would use. Reads no
//! pages.
//!
//! The header contains the geometry of the file, the *god byte* and two commit slots. The god byte (redb's own name for
//! it) says which slot is the newer one, whether the file was closed cleanly, and whether the newest commit was made in
//! two phases. Only the commit slots have a checksum.

use crate::{
    bytes,
    page::{self, PageNumber, Root},
};

/// The length of the header with both commit slots, in bytes.
pub(crate) const HEADER_LEN: usize = 320;

const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];
const GOD_BYTE_OFFSET: usize = 9;
const SLOT_OFFSETS: [usize; 2] = [64, 192];
const SLOT_LEN: usize = 128;
const SLOT_CHECKSUM_OFFSET: usize = SLOT_LEN - 16;

/// The flags in the god byte.
const PRIMARY_BIT: u8 = 1;
const RECOVERY_REQUIRED: u8 = 2;
const TWO_PHASE_COMMIT: u8 = 4;

/// redb requires a page to be at least as long as its header, and has no upper limit. 64 KiB is the longest page of any
/// platform.
const PAGE_SIZE_MIN: u32 = 512;
const PAGE_SIZE_MAX: u32 = 64 * 1024;
const REGION_PAGES_MAX: u32 = 1 << 20;
const REGION_LEN_MAX: u64 = 1 << 32;

/// The reason why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    NotRedb(&'static str),
    UnsupportedVersion(u8),
    Corrupt(&'static str),
}

/// The layout of the file: the header fields that never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub page_size: u32,
    region_header_pages: u32,
    region_data_pages: u32,
}

/// A commit slot whose checksum matches and whose version is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub transaction_id: u64,
    /// The tree of the user's table definitions.
    pub user: Option<Root>,
    /// The tree of redb's internal table definitions.
    pub system: Option<Root>,
    /// The tree of freed pages.
    pub freed: Option<Root>,
}

/// The header, as it was at the time of one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    bytes: [u8; HEADER_LEN],
    pub geometry: Geometry,
    god_byte: u8,
    /// The length of the file, in bytes, computed from the region counts. Only valid if the file was closed cleanly.
    layout_len: u64,
    slots: [Option<Slot>; 2],
}

/// The commit slots that redb would try, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidates {
    pub first: Slot,
    /// The other slot, if redb's repair would fall back to it when a tree of the first slot is not valid.
    pub second: Option<Slot>,
    /// Whether using `first` is a rollback because the slot that the god byte names is not valid.
    pub first_is_rollback: bool,
    /// Whether using `second` is a rollback because `first` is the slot that the god byte names.
    pub second_is_rollback: bool,
}

impl Header {
    /// Parses the header of a file.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::NotRedb("the magic number does not match"));
        }
        let geometry = Geometry::parse(bytes)?;
        let full_regions = u64::from(bytes::u32_at(bytes, 24).unwrap_or(0));
        let trailing_pages = u64::from(bytes::u32_at(bytes, 28).unwrap_or(0));
        let page_size = u64::from(geometry.page_size);
        let trailing =
            if trailing_pages > 0 { (u64::from(geometry.region_header_pages) + trailing_pages) * page_size } else { 0 };
        let [slot_0, slot_1] = SLOT_OFFSETS.map(|at| bytes.get(at..at + SLOT_LEN).unwrap_or(&[]));
        if let (Some(a), Some(b)) = (slot_0.first(), slot_1.first())
            && a == b
            && !(2..=3).contains(a)
        {
            return Err(HeaderError::UnsupportedVersion(*a));
        }
        Ok(Self {
            bytes: *bytes,
            geometry,
            god_byte: bytes::u8_at(bytes, GOD_BYTE_OFFSET).unwrap_or(0),
            layout_len: full_regions
                .saturating_mul(geometry.region_len())
                .saturating_add(page_size)
                .saturating_add(trailing),
            slots: [Slot::parse(slot_0)?, Slot::parse(slot_1)?],
        })
    }

    /// Returns whether the header was parsed from the same bytes.
    pub fn matches(&self, bytes: &[u8; HEADER_LEN]) -> bool {
        self.bytes == *bytes
    }

    /// Returns whether redb would repair the file when it opens it. The file is open in a writer, or was not closed
    /// cleanly.
    pub fn recovery_required(&self) -> bool {
        self.god_byte & RECOVERY_REQUIRED != 0
    }

    /// Returns whether the newest commit may be incomplete in the file.
    ///
    /// That is the case if it was written in one phase, with header and pages in any order, and the file was not closed
    /// since.
    pub fn may_be_incomplete(&self) -> bool {
        self.recovery_required() && self.god_byte & TWO_PHASE_COMMIT == 0
    }

    /// Picks the slots that redb's `pick_primary_for_repair` and `do_repair` would pick.
    pub fn candidates(&self, file_len: u64) -> Result<Candidates, HeaderError> {
        let [slot_0, slot_1] = self.slots;
        let (primary, other) = if self.god_byte & PRIMARY_BIT == 0 { (slot_0, slot_1) } else { (slot_1, slot_0) };
        let two_phase = self.god_byte & TWO_PHASE_COMMIT != 0;
        if !self.recovery_required() && file_len < self.layout_len {
            return Err(HeaderError::Corrupt("the file is shorter than its header says"));
        }
        let repaired = self.recovery_required() || file_len != self.layout_len;
        if two_phase || !repaired {
            let first = primary.ok_or(HeaderError::Corrupt("the checksum of the commit slot does not match"))?;
            return Ok(Candidates { first, second: None, first_is_rollback: false, second_is_rollback: false });
        }
        let (first, second, first_is_rollback, second_is_rollback) = match (primary, other) {
            (Some(primary), Some(other)) if other.transaction_id > primary.transaction_id => {
                (other, Some(primary), false, false)
            }
            (Some(primary), other) => (primary, other, false, true),
            (None, Some(other)) => (other, None, true, false),
            (None, None) => return Err(HeaderError::Corrupt("the checksums of both commit slots do not match")),
        };
        let second = second.filter(|_| self.recovery_required());
        Ok(Candidates { first, second, first_is_rollback, second_is_rollback })
    }
}

impl Geometry {
    /// Returns the byte range of a page, or `None` if the number is not valid in this file.
    pub fn range(&self, number: PageNumber) -> Option<std::ops::Range<u64>> {
        if number.order > page::ORDER_MAX {
            return None;
        }
        let first_page = u64::from(number.index) << number.order;
        let pages = 1u64 << number.order;
        if first_page + pages > u64::from(self.region_data_pages) {
            return None;
        }
        let page_size = u64::from(self.page_size);
        let start = page_size
            + u64::from(number.region) * self.region_len()
            + (u64::from(self.region_header_pages) + first_page) * page_size;
        Some(start..start + pages * page_size)
    }

    fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let field = |at| bytes::u32_at(bytes, at).unwrap_or(0);
        let geometry = Self { page_size: field(12), region_header_pages: field(16), region_data_pages: field(20) };
        let page_size = geometry.page_size;
        if !page_size.is_power_of_two() || !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&page_size) {
            return Err(HeaderError::Corrupt("the page size in the header is not valid"));
        }
        let data_len = u64::from(geometry.region_data_pages) * u64::from(page_size);
        if geometry.region_data_pages == 0
            || geometry.region_data_pages > REGION_PAGES_MAX
            || data_len > REGION_LEN_MAX
            || geometry.region_header_pages > REGION_PAGES_MAX
        {
            return Err(HeaderError::Corrupt("the region size in the header is not valid"));
        }
        Ok(geometry)
    }

    fn region_len(&self) -> u64 {
        (u64::from(self.region_header_pages) + u64::from(self.region_data_pages)) * u64::from(self.page_size)
    }
}

impl Slot {
    /// Parses a slot. Returns `None` if its checksum does not match, and an error if the version is not supported.
    fn parse(slot: &[u8]) -> Result<Option<Self>, HeaderError> {
        let (Some(covered), Some(stored)) =
            (slot.get(..SLOT_CHECKSUM_OFFSET), bytes::u128_at(slot, SLOT_CHECKSUM_OFFSET))
        else {
            return Ok(None);
        };
        if page::checksum(covered) != stored {
            return Ok(None);
        }
        let version = bytes::u8_at(slot, 0).unwrap_or(0);
        if !(2..=3).contains(&version) {
            return Err(HeaderError::UnsupportedVersion(version));
        }
        let root = |flag, at| if bytes::u8_at(slot, flag) == Some(0) { None } else { Root::parse(slot.get(at..)?) };
        Ok(Some(Self {
            user: root(1, 8),
            system: root(2, 40),
            freed: root(3, 72),
            transaction_id: bytes::u64_at(slot, 104).unwrap_or(0),
        }))
    }
}
