//! Parses table definitions, as the table tree stores them, from bytes that were already checked. Reads no pages.

use crate::{
    bytes,
    page::{Root, Widths},
};

/// The kinds of table, in the first byte of a definition.
const NORMAL: u8 = 3;
const MULTIMAP: u8 = 4;
/// The kind of a multimap value collection that is stored in a tree of its own.
const SUBTREE: u8 = 3;
/// The first byte of the name of a type that redb defines.
const INTERNAL: u8 = 1;
/// The first byte of the name of a type that an application defines.
const USER_DEFINED: u8 = 2;
const MALFORMED: &str = "a table definition is malformed";

/// The description of a table.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("app.redb");
/// # let database = redb::Database::create(&path)?;
/// # let txn = database.begin_write()?;
/// # txn.open_table(redb::TableDefinition::<&str, &[u8]>::new("vectors"))?.insert("a", [1].as_slice())?;
/// # txn.commit()?;
/// let view = redb_live::LiveFile::open(&path)?.view(&Default::default())?;
/// let vectors = &view.tables()?[0];
/// assert_eq!(vectors.name, "vectors");
/// assert_eq!((vectors.key_type.as_str(), vectors.value_type.as_str()), ("&str", "&[u8]"));
/// assert_eq!(vectors.rows, 1);
/// assert!(!vectors.multimap);
/// assert_eq!((vectors.key_origin, vectors.key_width), (redb_live::TypeOrigin::Redb, None));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableInfo {
    /// The name of the table.
    pub name: String,
    /// The name of the key type as redb writes it, for example `&str`, `&[u8]` or `u64`.
    pub key_type: String,
    /// The name of the value type as redb writes it.
    pub value_type: String,
    /// The number of rows. For a multimap table, the number of key-value pairs.
    pub rows: u64,
    /// Whether a key can have several values. The rows of such a table cannot be streamed.
    pub multimap: bool,
    /// Who defines the key type.
    pub key_origin: TypeOrigin,
    /// Who defines the value type.
    pub value_origin: TypeOrigin,
    /// The number of bytes that each key has, or `None` if it varies.
    pub key_width: Option<u32>,
    /// The number of bytes that each value has, or `None` if it varies.
    pub value_width: Option<u32>,
}

/// Who defines a type of a table. Types of the same name but another origin are different types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypeOrigin {
    /// redb.
    Redb,
    /// An application.
    Application,
    /// A version of redb that this crate does not know marks the type with this byte.
    Other(u8),
}

impl TypeOrigin {
    fn parse(type_name: &[u8]) -> Option<Self> {
        Some(match bytes::u8_at(type_name, 0)? {
            INTERNAL => Self::Redb,
            USER_DEFINED => Self::Application,
            other => Self::Other(other),
        })
    }
}

/// The definition of a table: its description, its root page and the layout of its rows.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub info: TableInfo,
    pub root: Option<Root>,
    /// The widths of keys and values, as the application sees them.
    pub widths: Widths,
    is_aligned: bool,
}

impl Definition {
    /// Parses the row of a table in the table tree.
    pub fn parse(name: &[u8], bytes: &[u8]) -> Result<Self, &'static str> {
        Self::parse_fields(name, bytes).ok_or(MALFORMED)
    }

    /// Returns the widths of the rows in the table's own tree. The values of a multimap are collections of any length.
    pub fn tree_widths(&self) -> Widths {
        if self.info.multimap { Widths { value: None, ..self.widths } } else { self.widths }
    }

    /// Returns why the rows cannot be streamed, or `None` if they can.
    pub fn unsupported(&self) -> Option<&'static str> {
        match (self.info.multimap, self.is_aligned) {
            (true, _) => Some("multimap tables are not supported"),
            (_, true) => Some("its rows have an alignment that is not supported"),
            _ => None,
        }
    }

    /// Returns whether keys are sorted by their bytes.
    pub fn is_sorted_by_bytes(&self) -> bool {
        // The type's name alone does not prove this: an application can give its own type the name of one of redb's,
        // and define another order for it.
        self.info.key_origin == TypeOrigin::Redb && matches!(self.info.key_type.as_str(), "&str" | "&[u8]")
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
        let is_aligned = bytes::u32_at(bytes, 52)? != 1 || bytes::u32_at(bytes, 56)? != 1;
        let key_type_end = 64usize.checked_add(usize::try_from(bytes::u32_at(bytes, 60)?).ok()?)?;
        let (key_type, value_type) = (bytes.get(64..key_type_end)?, bytes.get(key_type_end..)?);
        let info = TableInfo {
            name: String::from_utf8(name.to_vec()).ok()?,
            key_type: type_name(key_type)?,
            value_type: type_name(value_type)?,
            rows: bytes::u64_at(bytes, 1)?,
            multimap: kind == MULTIMAP,
            key_origin: TypeOrigin::parse(key_type)?,
            value_origin: TypeOrigin::parse(value_type)?,
            key_width: widths.key,
            value_width: widths.value,
        };
        Some(Self { info, root, widths, is_aligned })
    }
}

/// Returns the root of the tree that holds a multimap key's values, or `None` if the values are stored in the leaf.
pub(crate) fn subtree(collection: &[u8]) -> Option<Root> {
    match collection.split_first() {
        Some((&SUBTREE, root)) => Root::parse(root),
        _ => None,
    }
}

/// Returns the name of a type without its first byte, which says whether redb or an application defines the type.
fn type_name(bytes: &[u8]) -> Option<String> {
    let (_, name) = bytes.split_first()?;
    String::from_utf8(name.to_vec()).ok()
}
