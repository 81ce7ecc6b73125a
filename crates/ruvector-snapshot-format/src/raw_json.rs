//! JSON that is kept as text, because only its owner knows what is in it.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{FormatError, Result};

/// JSON of any shape, kept as its text, without white space between the tokens. It takes as much memory as the text.
/// Parsed values can take a hundred times as much.
///
/// ```
/// use ruvector_snapshot_format::RawJson;
///
/// let json = RawJson::new(&serde_json::json!({ "ticket": 17 }))?;
/// assert_eq!(json.get(), r#"{"ticket":17}"#);
/// assert_eq!(json.parse()?["ticket"], 17);
/// assert!(RawJson::default().is_null());
/// # Ok::<(), ruvector_snapshot_format::FormatError>(())
/// ```
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// Keeps a value as text.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if `value` cannot be written as JSON.
    pub fn new(value: &Value) -> Result<Self> {
        let raw = serde_json::value::to_raw_value(value);
        raw.map(Self).map_err(|error| FormatError::invalid_input("the value is not valid JSON").with_source(error))
    }

    /// Returns the text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Returns whether the value is null.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }

    /// Parses the text.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the text nests deeper than 127 levels, or has a number that is too large.
    pub fn parse(&self) -> Result<Value> {
        serde_json::from_str(self.get()).map_err(|error| {
            FormatError::invalid_input("the JSON nests too deeply, or has a number that is too large")
                .with_source(error)
        })
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match without_space(raw.get()) {
            None => Ok(Self(raw)),
            Some(text) => RawValue::from_string(text).map(Self).map_err(serde::de::Error::custom),
        }
    }
}

/// Returns JSON without the white space between its tokens. `None` if there is none.
fn without_space(text: &str) -> Option<String> {
    let (mut is_string, mut is_escaped) = (false, false);
    let mut is_kept = |character: char| {
        let is_space = !is_string && character.is_ascii_whitespace();
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_string = !is_string,
            _ => {}
        }
        !is_space
    };
    let kept: String = text.chars().filter(|character| is_kept(*character)).collect();
    (kept.len() < text.len()).then_some(kept)
}

/// A value that is parsed as [`Value`] is, and not kept. Raw text and `IgnoredAny` accept any depth and any number.
pub(crate) struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Null.
impl Default for RawJson {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

/// Compares the text.
impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// Compares the value.
impl PartialEq<Value> for RawJson {
    fn eq(&self, other: &Value) -> bool {
        self.parse().is_ok_and(|value| value == *other)
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}
