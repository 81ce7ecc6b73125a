//! Table definitions, as the table tree stores them. Parses bytes that a checksum has covered; reads no pages.

use crate::{
    bytes,
    page::{Root, Widths},
};

const NORMAL: u8 = 3;
const MULTIMAP: u8 = 4;
const SUBTREE: u8 = 3;
/// The classification of a type that is redb's own; 2 is an application's.
const INTERNAL: u8 = 1;
const MALFORMED: &str = "a table definition is malformed";

/// What a database says of one of its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableInfo {
    /// The table's name.
    pub name: String,
    /// The name of the key type as redb spells it, for example `&str`, `&[u8]`, `u64`.
    pub key_type: String,
    /// The name of the value type as redb spells it.
    pub value_type: String,
    /// The count of rows; of a multimap table, of its key-value pairs.
    pub rows: u64,
    /// Whether a key may hold several values. The rows of such a table cannot be streamed.
    pub multimap: bool,
}

/// A table's description and where its tree is.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub info: TableInfo,
    pub root: Option<Root>,
    /// The widths of the keys and values as the application sees them.
    pub widths: Widths,
    aligned: bool,
    /// An application may give any name to a type of its own, and that type any order.
    is_key_internal: bool,
}

impl Definition {
    pub fn parse(name: &[u8], bytes: &[u8]) -> Result<Self, &'static str> {
        Self::parse_fields(name, bytes).ok_or(MALFORMED)
    }

    /// The widths of the pages of the table's own tree: a multimap's values are collections of any length.
    pub fn tree_widths(&self) -> Widths {
        if self.info.multimap { Widths { value: None, ..self.widths } } else { self.widths }
    }

    /// Why this crate cannot stream the rows, if so.
    pub fn unsupported(&self) -> Option<&'static str> {
        match (self.info.multimap, self.aligned) {
            (true, _) => Some("it is a multimap table"),
            (_, true) => Some("its rows are aligned in an unknown way"),
            _ => None,
        }
    }

    /// Whether the order of the keys is the order of their bytes.
    pub fn orders_by_bytes(&self) -> bool {
        self.is_key_internal && matches!(self.info.key_type.as_str(), "&str" | "&[u8]")
    }

    fn parse_fields(name: &[u8], bytes: &[u8]) -> Option<Self> {
        let kind = bytes::u8_at(bytes, 0)?;
        if kind != NORMAL && kind != MULTIMAP {
            return None;
        }
        let root = match bytes::u8_at(bytes, 9)? {
            0 => None,
            _ => Some(Root::parse(bytes.get(10..10 + Root::LEN)?)?),
        };
        let width = |at| Some(if bytes::u8_at(bytes, at)? == 0 { None } else { Some(bytes::u32_at(bytes, at + 1)?) });
        let widths = Widths { key: width(42)?, value: width(47)? };
        let aligned = bytes::u32_at(bytes, 52)? != 1 || bytes::u32_at(bytes, 56)? != 1;
        let key_type_end = 64usize.checked_add(usize::try_from(bytes::u32_at(bytes, 60)?).ok()?)?;
        let key_type = bytes.get(64..key_type_end)?;
        let info = TableInfo {
            name: String::from_utf8(name.to_vec()).ok()?,
            key_type: type_name(key_type)?,
            value_type: type_name(bytes.get(key_type_end..)?)?,
            rows: bytes::u64_at(bytes, 1)?,
            multimap: kind == MULTIMAP,
        };
        let is_key_internal = bytes::u8_at(key_type, 0) == Some(INTERNAL);
        Some(Self { info, root, widths, aligned, is_key_internal })
    }
}

/// The tree of its own that a multimap's key has once its values outgrow the leaf; none where they are inline.
pub(crate) fn subtree(collection: &[u8]) -> Option<Root> {
    match collection.split_first() {
        Some((&SUBTREE, root)) => Root::parse(root),
        _ => None,
    }
}

/// A type's name without the byte before it, which says whether redb or the application defined it.
fn type_name(bytes: &[u8]) -> Option<String> {
    let (_, name) = bytes.split_first()?;
    String::from_utf8(name.to_vec()).ok()
}
