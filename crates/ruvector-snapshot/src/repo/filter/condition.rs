//! Conditions on the metadata of a record: their text, and when they hold. Pure.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{ErrorKind, SnapshotError};

/// The characters of operators.
const OPERATOR: [char; 4] = ['=', '!', '<', '>'];
/// The word after a path that need only be there.
const EXISTS: &str = "exists";
/// What an error shows.
const EXAMPLES: &str = "write for example 'lang=de', 'author.born>=1900' or 'lang exists'";

/// A condition on the metadata of a record: `lang=de`, `year>=2020`, `author.name exists`.
///
/// | text | holds if the metadata has |
/// |---|---|
/// | `PATH=VALUE` | this value at the path |
/// | `PATH!=VALUE` | no such value at the path: another one, or none |
/// | `PATH<VALUE`, `<=`, `>`, `>=` | a value of the same kind at the path that is smaller, and so on |
/// | `PATH exists` | anything at the path, also null |
///
/// A path is names of members of objects, with dots between them. `\.` is a dot in a name, and a backslash also
/// makes `\`, `=`, `!`, `<` and `>` part of a name. A path does not lead into arrays.
///
/// A value is a JSON number, `true`, `false`, `null`, or a JSON string in double quotes. Any other text is a string as it
/// is: `lang=de` is the same as `lang="de"`. Numbers are compared as numbers, strings by their Unicode code points. Two
/// whole numbers are compared exactly if they fit in 128 bits; other numbers are compared as f64. Values
/// of different kinds are not equal, and none is smaller: `year=2020` does not hold for the string `"2020"`. Only numbers
/// and strings can be smaller. An array or an object equals no value. A string in which another condition seems to be is
/// refused without double quotes.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::Condition;
///
/// let condition: Condition = "author.born >= 1900".parse()?;
/// assert!(condition.holds(Some(r#"{"author":{"born":1908}}"#)));
/// assert!(!condition.holds(Some(r#"{"author":{"born":"1908"}}"#)));
/// assert!("lang!=de".parse::<Condition>()?.holds(None));
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: String,
    path: Vec<String>,
    test: Test,
}

/// What must be at the path.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Exists,
    Equal(Scalar),
    NotEqual(Scalar),
    /// A value that compares to this one with one of these results.
    Ordered(Scalar, &'static [Ordering]),
}

/// A value that is no array and no object.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
}

impl Condition {
    /// Returns whether the condition holds for a record with this metadata: the text of a JSON object, or none.
    ///
    /// # Examples
    ///
    /// ```
    /// let condition: ruvector_snapshot::Condition = "lang exists".parse()?;
    /// assert!(condition.holds(Some(r#"{"lang":null}"#)) && !condition.holds(Some("{}")));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn holds(&self, metadata: Option<&str>) -> bool {
        let found = metadata.and_then(|text| value_at(text, &self.path));
        let Some(found) = found else { return matches!(self.test, Test::NotEqual(_)) };
        let compared = |value| Scalar::of_json(found).and_then(|found| found.compared_with(value));
        match &self.test {
            Test::Exists => true,
            Test::Equal(value) => compared(value) == Some(Ordering::Equal),
            Test::NotEqual(value) => compared(value) != Some(Ordering::Equal),
            Test::Ordered(value, wanted) => compared(value).is_some_and(|result| wanted.contains(&result)),
        }
    }
}

impl Condition {
    /// Returns how the value was read, if it is a number that could be meant as a string, or the reverse.
    pub(crate) fn other_reading(&self) -> Option<String> {
        let Test::Equal(value) = &self.test else { return None };
        let (path, _, text) = split(&self.text)?;
        let (path, text) = (path.trim(), text.trim());
        match value {
            Scalar::Integer(_) | Scalar::Float(_) => {
                Some(format!("{path}={text} is the number, and {path}=\"{text}\" the string"))
            }
            Scalar::Text(string) => match Scalar::of_json(string.trim())? {
                Scalar::Integer(_) | Scalar::Float(_) => {
                    Some(format!("{path}={text} is the string, and {path}={} the number", string.trim()))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Condition {
    type Err = SnapshotError;

    /// Parses the text of a condition.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput`, with the text and an example, if it is no condition.
    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let (path, test) = parse(text).map_err(|why| {
            SnapshotError::new(
                ErrorKind::InvalidInput,
                format!("cannot read the condition {text:?}: {why}; {EXAMPLES}"),
            )
        })?;
        Ok(Self { text: text.to_owned(), path, test })
    }
}

fn parse(text: &str) -> Result<(Vec<String>, Test), String> {
    let Some((path, operator, value)) = split(text) else {
        let path = text.trim_end().strip_suffix(EXISTS).filter(|path| path.ends_with(char::is_whitespace));
        let path = path.ok_or("it has no operator: =, !=, <, <=, >, >= or exists")?;
        return Ok((parse_path(path)?, Test::Exists));
    };
    let (path, text) = (parse_path(path)?, value.trim());
    let value = Scalar::parse(text)?;
    check_is_one(text, &value)?;
    let ordered: &[Ordering] = match operator {
        "=" => return Ok((path, Test::Equal(value))),
        "!=" => return Ok((path, Test::NotEqual(value))),
        "<" => &[Ordering::Less],
        "<=" => &[Ordering::Less, Ordering::Equal],
        ">" => &[Ordering::Greater],
        ">=" => &[Ordering::Greater, Ordering::Equal],
        other => {
            return Err(format!(
                "there is no operator {other:?}; a value that begins with such a character is written in double quotes"
            ));
        }
    };
    match value {
        _ if text.is_empty() => Err(format!("it has no value after {operator}")),
        Scalar::Null | Scalar::Bool(_) => Err(format!("null, true and false have no order, so {operator} never holds")),
        value => Ok((path, Test::Ordered(value, ordered))),
    }
}

/// Refuses a value that seems to hold another condition: read as a string, it would equal nothing.
fn check_is_one(text: &str, value: &Scalar) -> Result<(), String> {
    let words = || text.split_whitespace();
    let is_joined = || words().skip(1).any(|word| matches!(word, "AND" | "OR" | "&&" | "||"));
    let has_operator = || words().skip(1).any(|word| word.contains(OPERATOR));
    let has_exists = || words().skip(1).last() == Some(EXISTS);
    let is_string = matches!(value, Scalar::Text(_)) && !text.starts_with('"');
    match is_string && (is_joined() || has_operator() || has_exists()) {
        true => {
            Err("its value seems to hold another condition; give each condition on its own, or write a value with \
                     spaces in double quotes"
                .to_owned())
        }
        false => Ok(()),
    }
}

/// Splits a condition at its operator. `None` if it has none.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let mut is_escaped = false;
    let start = text.find(|c: char| {
        let is_operator = !is_escaped && OPERATOR.contains(&c);
        is_escaped = c == '\\' && !is_escaped;
        is_operator
    })?;
    let (path, rest) = text.split_at(start);
    let (operator, value) = rest.split_at(rest.find(|c| !OPERATOR.contains(&c)).unwrap_or(rest.len()));
    Some((path, operator, value))
}

fn parse_path(text: &str) -> Result<Vec<String>, String> {
    let mut path = vec![String::new()];
    let mut characters = text.trim().chars();
    while let Some(character) = characters.next() {
        match (character, path.last_mut()) {
            ('.', _) => path.push(String::new()),
            ('\\', Some(name)) => match characters.next() {
                Some(escaped) if escaped == '.' || escaped == '\\' || OPERATOR.contains(&escaped) => name.push(escaped),
                _ => return Err("a backslash in a path stands before a dot, a backslash, =, !, < or >".to_owned()),
            },
            (_, Some(name)) => name.push(character),
            (_, None) => {}
        }
    }
    match path.iter().any(String::is_empty) {
        true => Err("a name in its path is empty".to_owned()),
        false => Ok(path),
    }
}

/// Returns the text of the value at a path.
fn value_at<'a>(object: &'a str, path: &[String]) -> Option<&'a str> {
    path.iter().try_fold(object, |text, name| {
        let mut json = serde_json::Deserializer::from_str(text);
        Member(name).deserialize(&mut json).ok().flatten().map(RawValue::get)
    })
}

/// Reads one member of an object, and keeps no other. The value stays text: a number beyond the range of f64 is no error.
struct Member<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            match name == self.0 {
                true => found = Some(members.next_value()?),
                false => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

impl Scalar {
    /// Parses the value of a condition.
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('"') {
            let string: Result<String, _> = serde_json::from_str(text);
            return string.map(Self::Text).map_err(|_| format!("{text} is no JSON string"));
        }
        if text.starts_with(['[', '{']) && serde_json::from_str::<&RawValue>(text).is_ok() {
            return Err("its value is an array or an object, which cannot be compared".to_owned());
        }
        Ok(Self::of_json(text).unwrap_or_else(|| Self::Text(text.to_owned())))
    }

    /// Returns the value of JSON. `None` if it is an array, an object, a string that is no Unicode text, or no JSON.
    fn of_json(text: &str) -> Option<Self> {
        match text {
            "null" => Some(Self::Null),
            "true" => Some(Self::Bool(true)),
            "false" => Some(Self::Bool(false)),
            _ if text.starts_with('"') => serde_json::from_str(text).ok().map(Self::Text),
            _ if text.starts_with(['[', '{']) => None,
            _ => {
                serde_json::from_str::<&RawValue>(text).ok()?;
                let integer = text.parse().ok().map(Self::Integer);
                integer.or_else(|| text.parse().ok().map(Self::Float))
            }
        }
    }

    /// Compares with a value. `None` if they are of different kinds.
    fn compared_with(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, Self::Null) => Some(Ordering::Equal),
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Integer(one), Self::Integer(other)) => Some(one.cmp(other)),
            (Self::Integer(one), Self::Float(other)) => (*one as f64).partial_cmp(other),
            (Self::Float(one), Self::Integer(other)) => one.partial_cmp(&(*other as f64)),
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_for_values_of_its_kind() {
        let metadata = r#"{"":1,"a.b":1,"a":{"b":"x","c":{"d":2.5}},"big":12345678901234567890,"e":"","f":false,"huge":1e400,
            "lang":"de","list":["de"],"n":null,"t":"2020","year":2020,"x=y":"\ud800"}"#;
        for (text, holds, holds_for_none) in [
            ("lang=de", true, false),
            (r#"lang="de""#, true, false),
            (" lang  =  de ", true, false),
            ("lang=DE", false, false),
            ("lang!=de", false, true),
            ("lang!=fr", true, true),
            ("missing!=fr", true, true),
            ("missing=fr", false, false),
            ("missing<fr", false, false),
            ("lang>d", true, false),
            ("lang<df", true, false),
            ("lang>=de", true, false),
            ("year=2020", true, false),
            ("year=2020.0", true, false),
            ("year=2.02e3", true, false),
            (r#"year="2020""#, false, false),
            (r#"year!="2020""#, true, true),
            ("t=2020", false, false),
            (r#"t="2020""#, true, false),
            ("year>=2020", true, false),
            ("year>2020", false, false),
            ("year<2020.5", true, false),
            ("t>=0", false, false),
            ("a.b=x", true, false),
            ("a.c.d<=2.5", true, false),
            ("a.c.d.e exists", false, false),
            (r"a\.b=1", true, false),
            (r"x\=y exists", true, false),
            (r"x\=y!=a", true, true),
            ("a.c exists", true, false),
            ("a.c=x", false, false),
            ("n exists", true, false),
            ("n=null", true, false),
            ("missing=null", false, false),
            ("f=false", true, false),
            ("f!=true", true, true),
            ("e=", true, false),
            ("lang!=Hello World", true, true),
            (r#"lang!="a AND b=c""#, true, true),
            ("list=de", false, false),
            ("list exists", true, false),
            ("big=12345678901234567890", true, false),
            ("big>12345678901234567889", true, false),
            ("huge>1e308", true, false),
            ("lang.x exists", false, false),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.holds(Some(metadata)), holds, "{text}");
            assert_eq!(condition.holds(None), holds_for_none, "{text} without metadata");
            assert_eq!(condition.holds(Some("{}")), holds_for_none, "{text} of an empty object");
            assert_eq!(condition.to_string(), text);
        }
    }

    #[test]
    fn a_number_that_could_be_meant_as_a_string_is_told_from_it() {
        let reading = |text: &str| text.parse::<Condition>().unwrap().other_reading();
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(reading("year=2020"), is(r#"year=2020 is the number, and year="2020" the string"#));
        assert_eq!(reading(r#"a.b = "2.5""#), is(r#"a.b="2.5" is the string, and a.b=2.5 the number"#));
        for text in ["lang=de", "lang=", r#"lang="de""#, "year>2020", "year!=2020", "f=true", "year exists"] {
            assert_eq!(reading(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_condition_is_refused_with_an_example() {
        for (text, why) in [
            ("", "no operator"),
            ("lang", "no operator"),
            ("langexists", "no operator"),
            ("=de", "a name in its path is empty"),
            (" exists", "a name in its path is empty"),
            ("a..b=1", "a name in its path is empty"),
            ("lang==de", "no operator \"==\""),
            ("lang=>de", "no operator \"=>\""),
            ("lang<>de", "no operator \"<>\""),
            ("lang!de", "no operator \"!\""),
            ("f<true", "have no order"),
            ("n>=null", "have no order"),
            ("list=[1]", "an array or an object"),
            ("year<", "it has no value after <"),
            ("year >= ", "it has no value after >="),
            ("year>=2000 lang=de", "another condition"),
            ("year>=2000 AND lang=de", "another condition"),
            ("lang=de OR fr", "another condition"),
            ("year=2000 lang exists", "another condition"),
            (r#"lang="de"#, "is no JSON string"),
            (r"a\b=1", "a backslash in a path"),
        ] {
            let error = text.parse::<Condition>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let message = error.to_string();
            assert!(message.contains(&format!("cannot read the condition {text:?}: ")), "{message}");
            assert!(message.contains(why) && message.ends_with(EXAMPLES), "{message}");
        }
    }
}
