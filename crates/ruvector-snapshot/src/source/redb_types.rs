//! The order of the keys of redb's own types, by the names of the types. redb itself compares keys only of types that
//! are known at compile time, and panics at bytes that its type cannot hold.

use std::cmp::Ordering;

use ruvector_snapshot_format::irregular::{ColumnType, TypeOrigin};

/// Types within types that are followed. No table of a person has deeper ones.
const DEPTH_MAX: usize = 16;
/// Parts that a key is divided into. A key of no bytes can have as many as a type says.
const PARTS_MAX: usize = 1 << 16;
/// Parts of a tuple. redb has tuples of 12.
const TUPLE_MAX: usize = 32;

/// A type that redb defines, with its inner types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedbType {
    Unit,
    Bool,
    Char,
    /// `&str`, `String` and `&[u8]`.
    Bytes,
    Unsigned(usize),
    Signed(usize),
    /// No key: redb defines no order.
    Float(usize),
    /// No key either.
    Vec,
    Option(Box<RedbType>),
    Array(Box<RedbType>, usize),
    Tuple(Vec<RedbType>),
}

impl RedbType {
    /// Returns the type of a column. `None` if an application defines it or one of its inner types, or if it is not
    /// known.
    pub(crate) fn of(column: &ColumnType) -> Option<Self> {
        if column.origin == TypeOrigin::Redb { Self::parse(&column.name) } else { None }
    }

    /// Returns the type of this name.
    fn parse(name: &str) -> Option<Self> {
        let (parsed, rest) = parse(name, DEPTH_MAX)?;
        rest.is_empty().then_some(parsed)
    }

    /// Returns the number of bytes that each value has. `None` if it varies.
    pub(crate) fn width(&self) -> Option<usize> {
        match self {
            Self::Unit => Some(0),
            Self::Bool => Some(1),
            Self::Char => Some(3),
            Self::Unsigned(width) | Self::Signed(width) | Self::Float(width) => Some(*width),
            Self::Bytes | Self::Vec => None,
            Self::Option(inner) => inner.width()?.checked_add(1),
            Self::Array(inner, length) => inner.width()?.checked_mul(*length),
            Self::Tuple(inner) => inner.iter().try_fold(0usize, |sum, one| sum.checked_add(one.width()?)),
        }
    }

    /// Returns whether redb orders keys of this type.
    pub(crate) fn is_key(&self) -> bool {
        match self {
            Self::Float(_) | Self::Vec => false,
            Self::Option(inner) | Self::Array(inner, _) => inner.is_key(),
            Self::Tuple(inner) => inner.iter().all(Self::is_key),
            _ => true,
        }
    }

    fn part_count(&self) -> Option<usize> {
        match self {
            Self::Option(inner) => inner.part_count(),
            Self::Array(inner, length) => inner.part_count()?.checked_mul(*length),
            Self::Tuple(inner) => inner.iter().try_fold(0usize, |sum, one| sum.checked_add(one.part_count()?)),
            _ => Some(1),
        }
    }

    /// Returns whether the type can hold these bytes as a key. Text need not be UTF-8: its order is that of its bytes.
    pub(crate) fn can_hold(&self, key: &[u8]) -> bool {
        if self.width().is_some_and(|width| width != key.len()) {
            return false;
        }
        match self {
            Self::Array(inner, _) if **inner == Self::Unsigned(1) => true,
            Self::Bool => matches!(key, [0 | 1]),
            Self::Char => char_of(key).is_some(),
            Self::Option(inner) => match key.split_first() {
                Some((0, _)) => true,
                Some((1, rest)) => inner.can_hold(rest),
                _ => false,
            },
            Self::Array(..) | Self::Tuple(_) => match self.parts(key) {
                Some(parts) => parts.into_iter().all(|(inner, part)| inner.can_hold(part)),
                None => false,
            },
            _ => true,
        }
    }

    /// Compares two keys that the type can hold, as redb does.
    pub(crate) fn compare(&self, one: &[u8], other: &[u8]) -> Ordering {
        match self {
            Self::Unit => Ordering::Equal,
            Self::Bool | Self::Bytes | Self::Float(_) | Self::Vec => one.cmp(other),
            Self::Array(inner, _) if **inner == Self::Unsigned(1) => one.cmp(other),
            Self::Char => char_of(one).cmp(&char_of(other)),
            // Little-endian: the last byte decides first.
            Self::Unsigned(_) => one.iter().rev().cmp(other.iter().rev()),
            Self::Signed(_) => signed(one).cmp(signed(other)),
            Self::Option(inner) => match (one.split_first(), other.split_first()) {
                (Some((1, one)), Some((1, other))) => inner.compare(one, other),
                (one, other) => one.map(|(tag, _)| tag).cmp(&other.map(|(tag, _)| tag)),
            },
            Self::Array(..) | Self::Tuple(_) => {
                let parts = self.parts(one).into_iter().flatten().zip(self.parts(other).into_iter().flatten());
                let compared = parts.map(|((inner, one), (_, other))| inner.compare(one, other));
                compared.fold(Ordering::Equal, Ordering::then)
            }
        }
    }

    /// Returns the inner types of an array or a tuple with the bytes of each. `None` if the lengths do not fit.
    fn parts<'a>(&'a self, bytes: &'a [u8]) -> Option<Vec<(&'a Self, &'a [u8])>> {
        let inner: Vec<&Self> = match self {
            Self::Array(inner, length) => vec![inner; *length],
            Self::Tuple(inner) => inner.iter().collect(),
            _ => return None,
        };
        let lengths = match self {
            _ if self.width().is_some() => inner.iter().map(|one| one.width()).collect::<Option<Vec<_>>>()?,
            Self::Tuple(one) if one.len() == 1 => vec![bytes.len()],
            Self::Array(..) => {
                // The end of each part is stored before the first.
                let mut start = inner.len().checked_mul(4)?;
                let ends = (0..inner.len()).map(|at| stored_length(bytes, at));
                let lengths: Option<Vec<_>> =
                    ends.map(|end| end?.checked_sub(std::mem::replace(&mut start, end?))).collect();
                lengths.filter(|_| start == bytes.len())?
            }
            // The lengths of all parts but the last are stored before the first.
            _ => {
                let mut lengths =
                    (1..inner.len()).map(|at| stored_length(bytes, at - 1)).collect::<Option<Vec<_>>>()?;
                let before =
                    lengths.iter().try_fold(lengths.len().checked_mul(4)?, |sum, one| sum.checked_add(*one))?;
                lengths.push(bytes.len().checked_sub(before)?);
                lengths
            }
        };
        let total = lengths.iter().try_fold(0usize, |sum, one| sum.checked_add(*one))?;
        let mut rest = bytes.get(bytes.len().checked_sub(total)?..)?;
        let mut parts = Vec::with_capacity(inner.len());
        for (inner, length) in inner.into_iter().zip(lengths) {
            let (part, more) = rest.split_at_checked(length)?;
            parts.push((inner, part));
            rest = more;
        }
        Some(parts)
    }
}

fn stored_length(bytes: &[u8], at: usize) -> Option<usize> {
    let start = at.checked_mul(4)?;
    bytes.get(start..)?.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
}

fn char_of(bytes: &[u8]) -> Option<char> {
    let [one, two, three] = bytes.first_chunk()?;
    char::from_u32(u32::from_le_bytes([*one, *two, *three, 0]))
}

/// Returns the bytes of a two's complement number in the order in which they decide.
fn signed(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().rev().enumerate().map(|(at, byte)| if at == 0 { byte ^ 0x80 } else { *byte })
}

/// Parses the type that a name begins with. Returns the rest of the name.
fn parse(name: &str, depth: usize) -> Option<(RedbType, &str)> {
    let depth = depth.checked_sub(1)?;
    const SIMPLE: [(&str, RedbType); 18] = [
        ("()", RedbType::Unit),
        ("bool", RedbType::Bool),
        ("char", RedbType::Char),
        ("String", RedbType::Bytes),
        ("&str", RedbType::Bytes),
        ("&[u8]", RedbType::Bytes),
        ("u8", RedbType::Unsigned(1)),
        ("u16", RedbType::Unsigned(2)),
        ("u32", RedbType::Unsigned(4)),
        ("u64", RedbType::Unsigned(8)),
        ("u128", RedbType::Unsigned(16)),
        ("i8", RedbType::Signed(1)),
        ("i16", RedbType::Signed(2)),
        ("i32", RedbType::Signed(4)),
        ("i64", RedbType::Signed(8)),
        ("i128", RedbType::Signed(16)),
        ("f32", RedbType::Float(4)),
        ("f64", RedbType::Float(8)),
    ];
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([',', ')', '>', ';', ']']);
    for (simple, parsed) in SIMPLE {
        if let Some(rest) = name.strip_prefix(simple).filter(|rest| ends(rest)) {
            return Some((parsed, rest));
        }
    }
    if let Some(rest) = name.strip_prefix("Vec<") {
        let (_, rest) = parse(rest, depth)?;
        return Some((RedbType::Vec, rest.strip_prefix('>')?));
    }
    if let Some(rest) = name.strip_prefix("Option<") {
        let (inner, rest) = parse(rest, depth)?;
        return Some((RedbType::Option(Box::new(inner)), rest.strip_prefix('>')?));
    }
    if let Some(rest) = name.strip_prefix('[') {
        let (inner, rest) = parse(rest, depth)?;
        let (length, rest) = rest.strip_prefix(';')?.split_once(']')?;
        let array = RedbType::Array(Box::new(inner), length.parse().ok()?);
        return (array.part_count()? <= PARTS_MAX).then_some((array, rest));
    }
    let mut rest = name.strip_prefix('(')?;
    let mut inner = Vec::new();
    loop {
        let (one, more) = parse(rest, depth)?;
        inner.push(one);
        if inner.len() > TUPLE_MAX {
            return None;
        }
        if let Some(more) = more.strip_prefix(')').filter(|_| inner.len() > 1) {
            return Some((RedbType::Tuple(inner), more));
        }
        rest = more.strip_prefix(',')?;
        if let Some(more) = rest.strip_prefix(')').filter(|_| inner.len() == 1) {
            return Some((RedbType::Tuple(inner), more));
        }
    }
}

#[cfg(test)]
mod tests {
    use redb::Key;

    use super::*;

    /// Compares the order, the width and the name of a type with redb's.
    fn assert_like_redb<'v, T: Key + 'v>(values: &'v [T::SelfType<'v>]) {
        let name = format!("{:?}", T::type_name());
        let name = name.split('"').nth(1).unwrap();
        let parsed = RedbType::parse(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(parsed.width(), T::fixed_width(), "{name}");
        assert!(parsed.is_key(), "{name}");
        for one in values {
            let one = T::as_bytes(one).as_ref().to_vec();
            assert!(parsed.can_hold(&one), "{name}: {one:?}");
            for other in values {
                let other = T::as_bytes(other).as_ref().to_vec();
                assert_eq!(parsed.compare(&one, &other), T::compare(&one, &other), "{name}: {one:?}, {other:?}");
            }
        }
    }

    #[test]
    fn keys_have_the_order_of_redb() {
        assert_like_redb::<()>(&[()]);
        assert_like_redb::<bool>(&[true, false]);
        assert_like_redb::<char>(&['a', 'ü', '\u{10ffff}', '\0']);
        assert_like_redb::<&str>(&["", "a", "ab", "ü"]);
        assert_like_redb::<String>(&[String::new(), "a".to_owned()]);
        assert_like_redb::<&[u8]>(&[&[], &[0], &[255], &[0, 1]]);
        assert_like_redb::<u8>(&[0, 1, 255]);
        assert_like_redb::<u64>(&[0, 1, 255, 256, u64::MAX]);
        assert_like_redb::<i32>(&[0, 1, -1, 256, -256, i32::MIN, i32::MAX]);
        assert_like_redb::<i128>(&[0, -1, i128::MIN, i128::MAX]);
        assert_like_redb::<Option<i16>>(&[None, Some(0), Some(-1), Some(256)]);
        assert_like_redb::<Option<&str>>(&[None, Some(""), Some("a")]);
        assert_like_redb::<&[u8; 2]>(&[&[0, 1], &[1, 0]]);
        assert_like_redb::<[u16; 2]>(&[[0, 256], [256, 0], [1, 1]]);
        assert_like_redb::<[&str; 2]>(&[["", "b"], ["a", ""], ["a", "b"], ["ab", ""]]);
        assert_like_redb::<(u64,)>(&[(1,), (256,)]);
        assert_like_redb::<(&str,)>(&[("a",), ("",)]);
        assert_like_redb::<(u32, i8)>(&[(0, 0), (256, -1), (1, 1), (1, -1)]);
        assert_like_redb::<(u32, &str)>(&[(256, "a"), (1, "z"), (1, ""), (1, "ab")]);
        assert_like_redb::<(&str, u16, Option<&[u8]>)>(&[("a", 256, None), ("a", 1, Some(&[1])), ("", 1, Some(&[]))]);
        assert_like_redb::<((u8, &str), [i8; 2])>(&[((1, "b"), [0, -1]), ((1, ""), [0, 1]), ((1, "b"), [0, 1])]);
    }

    #[test]
    fn bytes_that_a_type_cannot_hold_are_refused() {
        for (name, key) in [
            ("bool", &[2][..]),
            ("bool", &[]),
            ("char", &[0, 0xd8, 0]),
            ("u64", &[0; 7]),
            ("()", &[0]),
            ("Option<u8>", &[2, 0]),
            ("Option<&str>", &[]),
            ("(u32,&str)", &[4, 0, 0, 0, 1, 2, 3]),
            ("(u32,&str)", &[3, 0, 0, 0, 1, 2, 3]),
            ("(&str,&str)", &[255, 255, 255, 255, 1]),
            ("[&str;2]", &[8, 0, 0, 0, 7, 0, 0, 0]),
            ("[&str;2]", &[8, 0, 0]),
            ("[&str;2]", &[8, 0, 0, 0, 9, 0, 0, 0, 1, 2]),
        ] {
            assert!(!RedbType::parse(name).unwrap().can_hold(key), "{name}: {key:?}");
        }
    }

    #[test]
    fn types_of_applications_and_malformed_names_have_no_known_order() {
        for name in ["uuid", "(uuid,u8)", "u64x", "(u8)", "(u8,)x", "Option<u8", "[u8;x]", "", "Vec<uuid>"] {
            assert_eq!(RedbType::parse(name), None, "{name}");
        }
        assert_eq!(RedbType::parse(&"(".repeat(100_000)), None);
        assert_eq!(RedbType::parse("[[();60000];60000]"), None);
        assert_eq!(RedbType::parse(&format!("({}u8)", "u8,".repeat(1000))), None);
        for name in ["f32", "Vec<u8>", "(u8,f64)"] {
            assert!(!RedbType::parse(name).unwrap().is_key(), "{name}");
        }
    }
}
