//! Tables of redb whose rows are written as bytes, with types that are known only at run time.
//!
//! redb asks the *types* of the key and the value of a table for their names, their widths and the order of the keys.
//! [`RawText`] is redb's `&str` without the promise of UTF-8. [`TypedTable`] has any types: it sets them for its thread
//! while it uses a table.

#![allow(clippy::result_large_err, reason = "redb's own error is large; it is converted where it occurs")]

use std::cell::RefCell;
use std::cmp::Ordering;

use redb::{Key, TableDefinition, TypeName, Value, WriteTransaction};
use ruvector_snapshot_format::irregular::{ColumnType, IrregularTable, TypeOrigin};

use super::redb_types::RedbType;
use crate::error::{ErrorKind, SnapshotError, corrupt};

/// redb's type `&str`, as bytes. redb itself panics at a key that is not UTF-8.
#[derive(Debug)]
pub(crate) struct RawText;

impl Value for RawText {
    type SelfType<'a> = &'a [u8];
    type AsBytes<'a> = &'a [u8];

    fn fixed_width() -> Option<usize> {
        None
    }

    fn from_bytes<'a>(data: &'a [u8]) -> &'a [u8]
    where
        Self: 'a,
    {
        data
    }

    fn as_bytes<'a, 'b: 'a>(value: &'a &'b [u8]) -> &'a [u8]
    where
        Self: 'b,
    {
        value
    }

    fn type_name() -> TypeName {
        <&str>::type_name()
    }
}

impl Key for RawText {
    fn compare(one: &[u8], other: &[u8]) -> Ordering {
        one.cmp(other)
    }
}

thread_local! {
    /// The types of the keys and the values of the table that this thread uses.
    static TYPES: RefCell<[Option<RawType>; 2]> = const { RefCell::new([None, None]) };
    /// The names of the types [`Inner<0>`] and [`Inner<1>`].
    static INNER: RefCell<[String; 2]> = const { RefCell::new([String::new(), String::new()]) };
}

#[derive(Debug, Clone)]
struct RawType {
    name: TypeName,
    width: Option<usize>,
}

/// The type of the keys (0) or the values (1) of the table that this thread uses.
#[derive(Debug)]
struct Column<const AT: usize>;

impl<const AT: usize> Value for Column<AT> {
    type SelfType<'a> = &'a [u8];
    type AsBytes<'a> = &'a [u8];

    fn fixed_width() -> Option<usize> {
        TYPES.with_borrow(|types| types.get(AT)?.as_ref()?.width)
    }

    fn from_bytes<'a>(data: &'a [u8]) -> &'a [u8]
    where
        Self: 'a,
    {
        data
    }

    fn as_bytes<'a, 'b: 'a>(value: &'a &'b [u8]) -> &'a [u8]
    where
        Self: 'b,
    {
        value
    }

    fn type_name() -> TypeName {
        let name = TYPES.with_borrow(|types| types.get(AT)?.as_ref().map(|of| of.name.clone()));
        name.unwrap_or_else(|| TypeName::new("unknown"))
    }
}

impl Key for Column<0> {
    /// Rows are inserted in the order of the table, which may be known to an application only. redb compares the key
    /// that is inserted, the first argument, with keys that are in the table, and so appends it.
    fn compare(inserted: &[u8], existing: &[u8]) -> Ordering {
        if inserted == existing { Ordering::Equal } else { Ordering::Greater }
    }
}

/// The types of a table, while this thread uses it.
struct TypesInUse;

impl TypesInUse {
    fn set(key: RawType, value: RawType) -> Self {
        TYPES.set([Some(key), Some(value)]);
        Self
    }
}

impl Drop for TypesInUse {
    fn drop(&mut self) {
        TYPES.set([None, None]);
    }
}

/// A table of any types, to be written in the order of its keys.
#[derive(Debug)]
pub(crate) struct TypedTable<'a> {
    name: &'a str,
    key: RawType,
    value: RawType,
}

impl<'a> TypedTable<'a> {
    /// Returns the table as redb can create it. `None` if redb cannot create a type of this name.
    pub(crate) fn new(table: &'a IrregularTable) -> Option<Self> {
        Some(Self { name: &table.name, key: raw_type(&table.key)?, value: raw_type(&table.value)? })
    }

    /// Appends rows to the table, and creates it if it does not exist. Returns whether all keys were new.
    pub(crate) fn append<'r>(
        &self,
        transaction: &WriteTransaction,
        rows: impl IntoIterator<Item = (&'r [u8], &'r [u8])>,
    ) -> Result<bool, redb::Error> {
        let _in_use = TypesInUse::set(self.key.clone(), self.value.clone());
        let definition: TableDefinition<'_, Column<0>, Column<1>> = TableDefinition::new(self.name);
        let mut table = transaction.open_table(definition)?;
        for (key, value) in rows {
            if table.insert(key, value)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Checks that a restore to a file can create a table.
///
/// # Errors
///
/// Returns [`ErrorKind::Unsupported`] if this program does not know its types, and [`ErrorKind::Corrupt`] if a type of
/// redb has another width.
pub(crate) fn check_restorable(table: &IrregularTable) -> Result<(), SnapshotError> {
    let has_width = |column: &ColumnType| {
        RedbType::of(column).is_none_or(|of| of.width() == column.width.map(|width| width as usize))
    };
    match TypedTable::new(table) {
        Some(_) if has_width(&table.key) && has_width(&table.value) => Ok(()),
        Some(_) => Err(corrupt(format!(
            "the table {:?} has types of redb, {:?} and {:?}, with other widths than they have",
            table.name, table.key.name, table.value.name
        ))),
        None => Err(SnapshotError::new(
            ErrorKind::Unsupported,
            format!(
                "this program does not know the types {:?} and {:?} of the table {:?}",
                table.key.name, table.value.name, table.name
            ),
        )),
    }
}

fn raw_type(column: &ColumnType) -> Option<RawType> {
    let name = match column.origin {
        TypeOrigin::Application => TypeName::new(&column.name),
        TypeOrigin::Redb => redb_type(&column.name)?,
    };
    let width = column.width.map(usize::try_from).transpose().ok()?;
    Some(RawType { name, width })
}

/// A type whose name is that of an inner type of a composite type of redb.
#[derive(Debug)]
struct Inner<const AT: usize>;

impl<const AT: usize> Value for Inner<AT> {
    type SelfType<'a> = ();
    type AsBytes<'a> = &'a [u8];

    fn fixed_width() -> Option<usize> {
        None
    }

    fn from_bytes<'a>(_data: &'a [u8])
    where
        Self: 'a,
    {
    }

    fn as_bytes<'a, 'b: 'a>(_value: &'a ()) -> &'a [u8]
    where
        Self: 'b,
    {
        &[]
    }

    fn type_name() -> TypeName {
        INNER.with_borrow(|names| TypeName::new(names.get(AT).map_or("", String::as_str)))
    }
}

macro_rules! simple_type {
    ($name:expr, $($types:ty),+) => {
        match $name {
            $(stringify!($types) => Some(<$types>::type_name()),)+
            _ => None,
        }
    };
}

macro_rules! array_type {
    ($length:expr, $($lengths:literal)+) => {
        match $length {
            $($lengths => Some(<[Inner<0>; $lengths]>::type_name()),)+
            _ => None,
        }
    };
}

/// Returns redb's own type of this name. Only types of redb can have such names, so each is that of an existing type:
/// a simple one, or a composite one of inner types whose names are parts of the name.
fn redb_type(name: &str) -> Option<TypeName> {
    if name == "&[u8]" {
        return Some(<&[u8]>::type_name());
    }
    if name == "&str" {
        return Some(<&str>::type_name());
    }
    let simple = simple_type!(name, (), bool, char, String, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);
    simple.or_else(|| composite_type(name))
}

fn composite_type(name: &str) -> Option<TypeName> {
    let within = |start: &str, end: &str| name.strip_prefix(start)?.strip_suffix(end);
    let set_inner = |one: &str, other: &str| INNER.set([one.to_owned(), other.to_owned()]);
    if let Some(inner) = within("Vec<", ">") {
        set_inner(inner, "");
        Some(<Vec<Inner<0>>>::type_name())
    } else if let Some(inner) = within("Option<", ">") {
        set_inner(inner, "");
        Some(<Option<Inner<0>>>::type_name())
    } else if let Some(inner) = within("(", ",)") {
        set_inner(inner, "");
        Some(<(Inner<0>,)>::type_name())
    } else if let Some(inner) = within("(", ")") {
        // The name of a longer tuple is that of a pair whose second name holds all others.
        let (one, others) = inner.split_once(',')?;
        set_inner(one, others);
        Some(<(Inner<0>, Inner<1>)>::type_name())
    } else {
        let (inner, length) = within("[", "]")?.rsplit_once(';')?;
        let length = length.parse::<usize>().ok().filter(|number| number.to_string() == length)?;
        set_inner(inner, "");
        array_of(length)
    }
}

/// Returns the type of arrays of this length, if it is among those that are known here.
#[rustfmt::skip]
fn array_of(length: usize) -> Option<TypeName> {
    array_type!(
        length,
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39
        40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75
        76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107 108
        109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127 128 129 130 131 132 133 134 135
        136 137 138 139 140 141 142 143 144 145 146 147 148 149 150 151 152 153 154 155 156 157 158 159 160 161 162
        163 164 165 166 167 168 169 170 171 172 173 174 175 176 177 178 179 180 181 182 183 184 185 186 187 188 189
        190 191 192 193 194 195 196 197 198 199 200 201 202 203 204 205 206 207 208 209 210 211 212 213 214 215 216
        217 218 219 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 242 243
        244 245 246 247 248 249 250 251 252 253 254 255 256 300 320 384 400 448 500 512 600 640 700 768 800 896 900
        1000 1024 1152 1280 1408 1536 1792 2000 2048 2304 2560 3000 3072 3584 4000 4096 5120 6144 7168 8192 16384 32768
        65536
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_recreated(expected: TypeName, name: &str) {
        assert_eq!(redb_type(name), Some(expected), "{name}");
    }

    #[test]
    fn the_types_of_redb_are_recreated_by_their_names() {
        assert_recreated(<()>::type_name(), "()");
        assert_recreated(bool::type_name(), "bool");
        assert_recreated(String::type_name(), "String");
        assert_recreated(u64::type_name(), "u64");
        assert_recreated(f64::type_name(), "f64");
        assert_recreated(<&str>::type_name(), "&str");
        assert_recreated(<&[u8]>::type_name(), "&[u8]");
        assert_recreated(<&[u8; 32]>::type_name(), "[u8;32]");
        assert_recreated(<[u16; 3]>::type_name(), "[u16;3]");
        assert_recreated(<Option<&str>>::type_name(), "Option<&str>");
        assert_recreated(<Vec<Option<(u8, &str)>>>::type_name(), "Vec<Option<(u8,&str)>>");
        assert_recreated(<(u64,)>::type_name(), "(u64,)");
        assert_recreated(<(u64, (u8, i8), &[u8])>::type_name(), "(u64,(u8,i8),&[u8])");
        assert_recreated(<[Vec<u8>; 2]>::type_name(), "[Vec<u8>;2]");
    }

    #[test]
    fn a_name_that_no_type_of_redb_has_is_refused() {
        for name in ["", "u65", "uuid", "[u8;257]", "[u8;01]", "[u8]", "Vec<u8", "(u8)", "str"] {
            assert_eq!(redb_type(name), None, "{name}");
        }
    }
}
