//! Canonical JSON (FORMAT.md, section 2): computed and checked in time proportional to the size of the text, however deep
//! it nests. Knows no record and no line.
//!
//! serde_json checks the grammar first, without building values. [`Scan`] then walks the tokens once, and remembers only
//! the objects whose members are not in order. What it remembers is smaller than the text. Scalars stay text throughout:
//! a number that is parsed and printed again could change.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::de::IgnoredAny;

use crate::error::{FormatError, Result};
use crate::large;

/// How deep objects and arrays can nest. The database itself cannot read more.
const DEPTH_MAX: usize = 127;

/// Appends the canonical form of a JSON object to `out`. See [`payloads::canonical`](crate::payloads::canonical).
pub(crate) fn append(text: &str, out: &mut String) -> Result<()> {
    let text = Text::checked(text)?;
    Scan::of(&text)?.append(&text, out);
    Ok(())
}

/// Returns the canonical form of a JSON object. Needs no memory for an object that is canonical.
pub(crate) fn of(text: &str) -> Result<Cow<'_, str>> {
    let checked = Text::checked(text)?;
    let scan = Scan::of(&checked)?;
    if !scan.is_different && checked.text.len() == text.len() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::new();
    scan.append(&checked, &mut out);
    Ok(Cow::Owned(out))
}

/// Checks that a JSON object has a canonical form.
pub(crate) fn check(text: &str) -> Result<()> {
    let checked = Text::checked(text)?;
    // Without escapes every name is Unicode text. Each level takes a bracket.
    let brackets = || text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).take(DEPTH_MAX + 1).count();
    if text.contains('\\') || brackets() > DEPTH_MAX {
        Scan::of(&checked)?;
    }
    Ok(())
}

/// Appends a string with its quotes and the escapes of canonical JSON.
pub(crate) fn append_string(text: &str, out: &mut String) -> Result<()> {
    if !is_escaped(text) {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return Ok(());
    }
    let quoted = serde_json::to_string(text)
        .map_err(|error| FormatError::internal("a string cannot be written as JSON").with_source(error))?;
    out.push_str(&quoted);
    Ok(())
}

/// Returns whether a string differs from its text in JSON.
pub(crate) fn is_escaped(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
}

/// The text of a JSON object, which is well-formed.
struct Text<'a> {
    text: &'a str,
    /// How many bytes were looked at, some of them more than once.
    #[cfg(test)]
    visits: std::cell::Cell<usize>,
}

impl<'a> Text<'a> {
    fn checked(text: &'a str) -> Result<Self> {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        if !text.starts_with('{') {
            return Err(FormatError::invalid_input("the metadata is not a JSON object"));
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
        Ok(Self {
            text,
            #[cfg(test)]
            visits: std::cell::Cell::new(text.len()),
        })
    }

    fn byte(&self, at: usize) -> Option<u8> {
        #[cfg(test)]
        self.visits.set(self.visits.get() + 1);
        self.text.as_bytes().get(at).copied()
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Returns the end of the string that starts at `start`, behind its closing quote.
    fn string_end(&self, start: usize) -> usize {
        let mut at = start + 1;
        loop {
            match self.byte(at) {
                Some(b'\\') => at += 2,
                Some(b'"') => return at + 1,
                Some(_) => at += 1,
                None => return self.text.len(),
            }
        }
    }

    /// Returns the text between the quotes of the string that starts at `start`.
    fn string(&self, start: usize) -> &'a str {
        self.slice(start + 1, self.string_end(start).saturating_sub(1))
    }

    /// Returns where the colon after a string is, if it is the name of a member.
    fn colon(&self, mut at: usize) -> Option<usize> {
        while self.byte(at).is_some_and(is_space) {
            at += 1;
        }
        (self.byte(at) == Some(b':')).then_some(at)
    }
}

/// An object whose members are not in order, or have a name twice. The text has less than 4 GiB, and there can be one of
/// these for every few bytes of it.
struct Unordered {
    /// Where its brace is.
    start: u32,
    /// Where its members are in [`Members`].
    members: u32,
}

/// Of each unordered object: how many members it has, and where their names are, relative to the object, in canonical
/// order and each name once. The numbers have seven bits in a byte, the lowest first: most have one byte.
#[derive(Default)]
struct Members(Vec<u8>);

impl Members {
    /// Adds an object, and returns where it is.
    fn push(&mut self, start: usize, names: &[u32]) -> usize {
        let at = self.0.len();
        self.push_number(names.len());
        names.iter().for_each(|name| self.push_number(*name as usize - start));
        at
    }

    fn push_number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Returns where the names of the members of an object are.
    fn names(&self, object: &Unordered) -> impl Iterator<Item = usize> {
        let mut at = object.members as usize;
        let mut number = move || {
            let rest = self.0.get(at..).unwrap_or_default();
            let bytes = rest.iter().position(|byte| *byte < 0x80).map_or(0, |last| last + 1);
            at += bytes;
            rest.iter().take(bytes).rev().fold(0usize, |number, byte| number << 7 | usize::from(byte & 0x7f))
        };
        let count = number();
        (0..count).map(move |_| object.start as usize + number())
    }
}

/// An object or an array that has not ended.
struct Open {
    start: usize,
    /// The number of its first member in [`Scan::open_names`].
    first_name: usize,
    /// The number of its first problem in [`Scan::problems`].
    first_problem: usize,
    is_ordered: bool,
}

/// Why a value has no canonical form. It does not count in a member that another one of the same name replaces.
#[derive(Clone, Copy)]
enum Problem {
    Name,
    Depth,
}

impl Problem {
    fn error(self) -> FormatError {
        FormatError::invalid_input(match self {
            Self::Name => "the metadata has a name that is not Unicode text".to_owned(),
            Self::Depth => format!("the metadata nests deeper than {DEPTH_MAX} levels"),
        })
    }
}

/// What one walk over the tokens finds.
#[derive(Default)]
struct Scan {
    is_different: bool,
    /// In the order of their starts, once the walk has ended.
    unordered: Vec<Unordered>,
    members: Members,
    /// Where the names of the members of open objects are, in the order of the text.
    open_names: Vec<u32>,
    /// Where the problems of open objects and arrays are. At most one for each of their members.
    problems: Vec<(u32, Problem)>,
}

impl Scan {
    fn of(text: &Text<'_>) -> Result<Self> {
        if u32::try_from(text.text.len()).is_err() {
            return Err(FormatError::invalid_input("the metadata has 4 GiB or more"));
        }
        // From the start as large as what is returned to the system: it grows without a copy.
        let room = if text.text.len() > large::RETURNED_BYTES / 4 { large::RETURNED_BYTES } else { 0 };
        let mut scan = Self {
            unordered: Vec::with_capacity(room / size_of::<Unordered>()),
            members: Members(Vec::with_capacity(room)),
            open_names: Vec::with_capacity(room / size_of::<u32>()),
            ..Self::default()
        };
        let mut open: Vec<Open> = Vec::new();
        // Levels below the deepest that is allowed.
        let mut too_deep = 0usize;
        let mut at = 0;
        while let Some(byte) = text.byte(at) {
            let mut next = at + 1;
            match byte {
                b'"' => {
                    next = text.string_end(at);
                    if let (Some(_), Some(object), 0) = (text.colon(next), open.last_mut(), too_deep) {
                        scan.name(text, at, object);
                    }
                }
                b'{' | b'[' if open.len() == DEPTH_MAX => {
                    too_deep += 1;
                    scan.problem(at, Problem::Depth, open.last());
                }
                b'{' | b'[' => open.push(Open {
                    start: at,
                    first_name: scan.open_names.len(),
                    first_problem: scan.problems.len(),
                    is_ordered: true,
                }),
                b'}' | b']' if too_deep > 0 => too_deep -= 1,
                b'}' | b']' => {
                    if let Some(ended) = open.pop() {
                        scan.end(text, &ended);
                    }
                }
                byte if is_space(byte) => scan.is_different = true,
                _ => {}
            }
            at = next;
        }
        if let Some((_, problem)) = scan.problems.first() {
            return Err(problem.error());
        }
        scan.unordered.sort_unstable_by_key(|object| object.start);
        Ok(scan)
    }

    /// Appends the canonical form of the text that was scanned.
    fn append(&self, text: &Text<'_>, out: &mut String) {
        out.reserve(large::capacity_for(text.text.len()));
        if !self.is_different {
            out.push_str(text.text);
        } else {
            Writer { text, unordered: &self.unordered, members: &self.members }.value(0, out);
        }
    }

    /// Adds the name at `at` to the object that has it.
    fn name(&mut self, text: &Text<'_>, at: usize, object: &mut Open) {
        let name = text.string(at);
        if name.contains('\\') {
            let quoted = text.slice(at, at + name.len() + 2);
            let mut canonical = String::with_capacity(quoted.len());
            let decoded = serde_json::from_str::<String>(quoted);
            if !decoded.is_ok_and(|decoded| append_string(&decoded, &mut canonical).is_ok()) {
                self.problem(object.start, Problem::Name, Some(object));
            }
            self.is_different |= canonical != quoted;
        }
        if let Some(last) = self.open_names.get(object.first_name..).and_then(|names| names.last())
            && compare(text.string(*last as usize), name) != Ordering::Less
        {
            object.is_ordered = false;
            self.is_different = true;
        }
        self.open_names.push(at as u32);
    }

    /// Adds a problem in this object or array, unless its current member has one.
    fn problem(&mut self, at: usize, problem: Problem, inner: Option<&Open>) {
        let Some(inner) = inner else { return };
        let names = self.open_names.get(inner.first_name..).unwrap_or_default();
        let member = names.last().map_or(inner.start, |name| *name as usize);
        let known = self.problems.get(inner.first_problem..).and_then(|problems| problems.last());
        let is_known = known.is_some_and(|(known, _)| match problem {
            Problem::Name => *known as usize == at,
            Problem::Depth => *known as usize >= member,
        });
        if !is_known {
            self.problems.push((at as u32, problem));
        }
    }

    /// Ends an object or an array.
    fn end(&mut self, text: &Text<'_>, ended: &Open) {
        if !ended.is_ordered {
            self.order(text, ended);
            let names = self.open_names.get(ended.first_name..).unwrap_or_default();
            let members = self.members.push(ended.start, names);
            self.unordered.push(Unordered { start: ended.start as u32, members: members as u32 });
        }
        self.open_names.truncate(ended.first_name);
        // From here on, all its problems are one.
        if let Some((_, problem)) = self.problems.get(ended.first_problem).copied() {
            self.problems.truncate(ended.first_problem);
            self.problems.push((ended.start as u32, problem));
        }
    }

    /// Brings the names of an object that ends in canonical order. Of several members with one name the last is kept, as
    /// the database does.
    fn order(&mut self, text: &Text<'_>, object: &Open) {
        let name = |at: u32| text.string(at as usize);
        let is_replaced =
            |names: &[u32]| matches!(names, [one, next] if compare(name(*one), name(*next)) == Ordering::Equal);
        let by_name = |one: &u32, other: &u32| compare(name(*one), name(*other)).then(one.cmp(other));
        if self.problems.len() > object.first_problem {
            let mut names = self.open_names.get(object.first_name..).unwrap_or_default().to_vec();
            names.sort_unstable_by(by_name);
            let replaced = names.windows(2).filter(|pair| is_replaced(pair)).filter_map(|pair| pair.first().copied());
            let replaced: BTreeSet<u32> = replaced.collect();
            self.forget_problems(&replaced, object);
        }
        let Some(names) = self.open_names.get_mut(object.first_name..) else { return };
        names.sort_unstable_by(by_name);
        let mut kept = 0;
        for number in 0..names.len() {
            if !names.get(number..number + 2).is_some_and(is_replaced) {
                names.swap(kept, number);
                kept += 1;
            }
        }
        self.open_names.truncate(object.first_name + kept);
    }

    /// Removes the problems of an object that are in the members at these places.
    fn forget_problems(&mut self, replaced: &BTreeSet<u32>, object: &Open) {
        let names = self.open_names.get(object.first_name..).unwrap_or_default();
        let member_of = |at: u32| names.get(names.partition_point(|name| *name <= at).checked_sub(1)?);
        let is_kept = |(at, _): &(u32, Problem)| member_of(*at).is_none_or(|member| !replaced.contains(member));
        let problems = self.problems.split_off(object.first_problem);
        self.problems.extend(problems.into_iter().filter(is_kept));
    }
}

/// Writes the canonical form of a text that was scanned.
struct Writer<'a> {
    text: &'a Text<'a>,
    unordered: &'a [Unordered],
    members: &'a Members,
}

impl Writer<'_> {
    /// Appends the value at `start`, and returns where it ends: at the next comma or bracket that is not its own.
    fn value(&self, start: usize, out: &mut String) -> usize {
        let (mut at, mut depth) = (start, 0usize);
        // What lies between here and `at` is copied as it is.
        let mut copied = start;
        loop {
            match self.text.byte(at) {
                Some(b'"') => {
                    let end = self.text.string_end(at);
                    if self.text.slice(at, end).contains('\\') && self.text.colon(end).is_some() {
                        out.push_str(self.text.slice(copied, at));
                        self.name(at, out);
                        copied = end;
                    }
                    at = end;
                }
                Some(b'{') if let Some(object) = self.unordered_at(at) => {
                    out.push_str(self.text.slice(copied, at));
                    at = self.object(object, out);
                    copied = at;
                }
                Some(b'{' | b'[') => (at, depth) = (at + 1, depth + 1),
                Some(b'}' | b']' | b',') | None if depth == 0 => break,
                Some(b'}' | b']') => (at, depth) = (at + 1, depth - 1),
                Some(byte) if is_space(byte) => {
                    out.push_str(self.text.slice(copied, at));
                    (at, copied) = (at + 1, at + 1);
                }
                Some(_) => at += 1,
                None => break,
            }
        }
        out.push_str(self.text.slice(copied, at));
        at
    }

    /// Appends an unordered object, and returns where it ends.
    fn object(&self, object: &Unordered, out: &mut String) -> usize {
        out.push('{');
        // The last member of the text is one of them: no other replaces it.
        let mut last_end = object.start as usize + 1;
        for (number, start) in self.members.names(object).enumerate() {
            if number > 0 {
                out.push(',');
            }
            self.name(start, out);
            out.push(':');
            let end = self.text.string_end(start);
            let end = self.value(self.text.colon(end).map_or(end, |colon| colon + 1), out);
            last_end = last_end.max(end);
        }
        out.push('}');
        last_end + 1
    }

    /// Appends the name at `start`, with canonical escapes.
    fn name(&self, start: usize, out: &mut String) {
        let quoted = self.text.slice(start, self.text.string_end(start));
        if !quoted.contains('\\') {
            return out.push_str(quoted);
        }
        // The scan has done the same, so this does not fail.
        let decoded: String = unescaped(self.text.string(start)).collect();
        if append_string(&decoded, out).is_err() {
            out.push_str(quoted);
        }
    }

    fn unordered_at(&self, start: usize) -> Option<&Unordered> {
        let at = self.unordered.binary_search_by_key(&start, |object| object.start as usize).ok()?;
        self.unordered.get(at)
    }
}

/// Compares names by the bytes of their decoded text.
fn compare(one: &str, other: &str) -> Ordering {
    if one.contains('\\') || other.contains('\\') {
        // The order of characters is that of their bytes.
        unescaped(one).cmp(unescaped(other))
    } else {
        one.cmp(other)
    }
}

/// Decodes a string that is Unicode text.
fn unescaped(text: &str) -> impl Iterator<Item = char> {
    let mut rest = text.chars();
    std::iter::from_fn(move || match rest.next()? {
        '\\' => Some(match rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = hex(&mut rest);
                let is_lead = (0xd800..0xdc00).contains(&unit);
                let code = if is_lead {
                    // A lead surrogate is followed by `\u` and a trail surrogate.
                    let trail = rest.nth(1).map_or(0, |_| hex(&mut rest));
                    0x1_0000 + ((unit - 0xd800) << 10) + trail.saturating_sub(0xdc00)
                } else {
                    unit
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other,
        }),
        plain => Some(plain),
    })
}

/// Decodes four hexadecimal digits.
fn hex(text: &mut std::str::Chars<'_>) -> u32 {
    text.take(4).fold(0, |value, digit| value << 4 | digit.to_digit(16).unwrap_or_default())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn not_json(error: serde_json::Error) -> FormatError {
    FormatError::invalid_input(format!("the metadata is not valid JSON: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an object of about `bytes` that nests `depth` levels deep, with its members in the wrong order.
    fn nested(depth: usize, bytes: usize, tail: &str) -> String {
        let value = "x".repeat(bytes / 2);
        let start = format!("{{\"b\":\"{value}\",\"a\":");
        let inner = format!("{{\"b\":1,{tail}\"a\":");
        format!("{start}{}\"{value}\"{}", inner.repeat(depth - 1), "}".repeat(depth))
    }

    /// Returns how many bytes are looked at for each byte of the text.
    fn visits_per_byte(text: &str) -> usize {
        let checked = Text::checked(text).unwrap();
        let scan = Scan::of(&checked).unwrap();
        let mut out = String::new();
        Writer { text: &checked, unordered: &scan.unordered, members: &scan.members }.value(0, &mut out);
        checked.visits.get().div_ceil(text.len())
    }

    #[test]
    fn the_work_for_a_byte_does_not_depend_on_how_deep_it_is() {
        for tail in ["", "\"\\u0061\" : [ { } ],"] {
            let flat = visits_per_byte(&nested(4, 1 << 20, tail));
            let deep = visits_per_byte(&nested(120, 1 << 20, tail));
            // The grammar, the scan and the writer look at each byte, and the scan at each name once more.
            assert!(flat <= 5, "{flat}");
            assert!(deep <= flat + 1, "{deep}, {flat}");
        }
    }

    /// A create, a verify and a restore look at metadata only through this module.
    #[test]
    fn the_work_for_a_byte_does_not_depend_on_how_many_there_are() {
        let members = |count: usize, name: &dyn Fn(usize) -> String| {
            let members: Vec<_> = (0..count).rev().map(|number| format!("\"{}\":0", name(number))).collect();
            format!("{{{}}}", members.join(","))
        };
        let list = |item: &str, count: usize| format!("{{\"z\":[{}],\"a\":1}}", vec![item; count].join(","));
        let value = |value: &str, count: usize| format!("{{\"z\":{},\"a\":1}}", value.repeat(count));
        let deep = nested(100, 3000, "");
        let texts: [(&str, &dyn Fn(usize) -> String); 8] = [
            ("many members", &|count| members(count, &|number| format!("{number:08}"))),
            ("members with escapes", &|count| members(count, &|number| format!("\\u0061{number:08}"))),
            ("members of the same name", &|count| members(count, &|_| "a".to_owned())),
            ("many objects", &|count| list("{\"b\":0,\"a\":0}", count)),
            ("many deep objects", &|count| list(&deep, count / 100)),
            ("a string with escapes", &|count| format!("{{\"z\":\"{}\",\"a\":1}}", "\\n\\\"\\u0041".repeat(count))),
            ("a long number", &|count| value("12345678901234567890", count)),
            ("white space", &|count| list("1 \t\n\r", count)),
        ];
        for (what, text) in texts {
            let (short, long) = (visits_per_byte(&text(1_000)), visits_per_byte(&text(16_000)));
            // Sorted names are compared a number of times that grows with the logarithm of their number.
            assert!(long <= 2 * short && short <= 60, "{what}: {short}, {long}");
        }
    }

    #[test]
    fn what_a_scan_remembers_is_smaller_than_the_text() {
        let nest = format!("{}0{}", "{\"b\":0,\"a\":".repeat(120), "}".repeat(120));
        for item in ["{\"b\":0,\"a\":0}", "{\"\":0,\"\":0}", &nest] {
            let text = format!("{{\"z\":[{}]}}", vec![item; 1000].join(","));
            let scan = Scan::of(&Text::checked(&text).unwrap()).unwrap();
            let bytes = scan.unordered.len() * size_of::<Unordered>() + scan.members.0.len();
            assert!(bytes < text.len(), "{bytes} bytes for {}: {item}", text.len());
        }
    }

    #[test]
    fn names_are_decoded_as_json_defines_it() {
        for quoted in
            [r#""a\"\\\/\b\f\n\r\tz""#, r#""\u0041\u00e9\u20AC\ud83d\ude00!""#, r#""\ud800\udc00\udbff\udfff""#]
        {
            let expected: String = serde_json::from_str(quoted).unwrap();
            assert_eq!(unescaped(quoted.trim_matches('"')).collect::<String>(), expected, "{quoted}");
        }
    }
}
