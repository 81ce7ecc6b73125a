//! The user's labels, in as little memory as their text takes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Labels: values by key, sorted by key. They take no more memory than their JSON, however many they are; a map can take
/// twenty times as much. A clone shares the memory.
///
/// ```
/// use ruvector_snapshot_format::Labels;
///
/// let labels = Labels::from([("why", "release"), ("host", "db1")]);
/// assert_eq!(labels.get("host"), Some("db1"));
/// assert_eq!(labels.iter().next(), Some(("host", "db1")));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// For each label the length of the key, the length of the value, the key, and the value.
    text: Arc<str>,
}

/// A length is written with this many bits in each character, the lowest first. The last character has [`LAST`] in
/// addition. All of them are ASCII.
const LENGTH_BITS: u32 = 6;
const LAST: u8 = 1 << LENGTH_BITS;

impl Labels {
    /// Returns the value of a label. Takes time in proportion to the size of all labels.
    ///
    /// ```
    /// # use ruvector_snapshot_format::Labels;
    /// assert_eq!(Labels::from([("host", "db1")]).get("host"), Some("db1"));
    /// ```
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// Returns whether there is a label with this key.
    ///
    /// ```
    /// # use ruvector_snapshot_format::Labels;
    /// assert!(Labels::from([("host", "db1")]).contains_key("host"));
    /// ```
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Returns all labels, sorted by key.
    ///
    /// ```
    /// # use ruvector_snapshot_format::Labels;
    /// for (key, value) in &Labels::from([("host", "db1")]) {
    ///     println!("{key}={value}");
    /// }
    /// ```
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.text }
    }

    /// Returns the number of labels. Takes time in proportion to their size.
    ///
    /// ```
    /// # use ruvector_snapshot_format::Labels;
    /// assert_eq!(Labels::from([("host", "db1")]).len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns whether there are no labels.
    ///
    /// ```
    /// # use ruvector_snapshot_format::Labels;
    /// assert!(Labels::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Sets a label. Takes time in proportion to the size of all labels: make many from a map.
    ///
    /// ```
    /// # use ruvector_snapshot_format::Labels;
    /// let mut labels = Labels::default();
    /// labels.insert("host", "db1");
    /// assert_eq!(labels.get("host"), Some("db1"));
    /// ```
    pub fn insert(&mut self, key: &str, value: &str) {
        *self = self.iter().chain([(key, value)]).collect();
    }

    /// `labels` are sorted by key, and no key is twice.
    fn of_sorted<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut text = String::new();
        labels.for_each(|(key, value)| push(&mut text, key, value));
        Self { text: text.into() }
    }
}

fn push(text: &mut String, key: &str, value: &str) {
    push_length(text, key.len());
    push_length(text, value.len());
    text.push_str(key);
    text.push_str(value);
}

fn push_length(text: &mut String, mut length: usize) {
    loop {
        let digit = (length % usize::from(LAST)) as u8;
        length >>= LENGTH_BITS;
        if length == 0 {
            return text.push(char::from(digit | LAST));
        }
        text.push(char::from(digit));
    }
}

/// Takes a length from the front. `None` at the end.
fn take_length(text: &mut &str) -> Option<usize> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let digit = *text.as_bytes().first()?;
        *text = text.get(1..)?;
        length |= usize::from(digit % LAST) << shift;
        if digit >= LAST {
            return Some(length);
        }
        shift += LENGTH_BITS;
    }
}

/// The labels of a snapshot, sorted by key. See [`Labels::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let [key_length, value_length] = [take_length(&mut self.rest)?, take_length(&mut self.rest)?];
        let (key, rest) = self.rest.split_at_checked(key_length)?;
        let (value, rest) = rest.split_at_checked(value_length)?;
        self.rest = rest;
        Some((key, value))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// No labels.
impl Default for Labels {
    fn default() -> Self {
        Self { text: "".into() }
    }
}

/// Of two labels with the same key, the second counts.
impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let labels: Vec<(K, V)> = labels.into_iter().collect();
        let labels: BTreeMap<&str, &str> = labels.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        Self::of_sorted(labels.into_iter())
    }
}

impl From<&BTreeMap<String, String>> for Labels {
    fn from(labels: &BTreeMap<String, String>) -> Self {
        Self::of_sorted(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self::from(&labels)
    }
}

/// Of two labels with the same key, the second counts.
impl<K: AsRef<str>, V: AsRef<str>, const N: usize> From<[(K, V); N]> for Labels {
    fn from(labels: [(K, V); N]) -> Self {
        labels.into_iter().collect()
    }
}

impl From<&Labels> for BTreeMap<String, String> {
    fn from(labels: &Labels) -> Self {
        labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

impl PartialEq<BTreeMap<String, String>> for Labels {
    fn eq(&self, other: &BTreeMap<String, String>) -> bool {
        self.iter().eq(other.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl PartialEq<Labels> for BTreeMap<String, String> {
    fn eq(&self, other: &Labels) -> bool {
        other == self
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(LabelsVisitor)
    }
}

struct LabelsVisitor;

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Labels, A::Error> {
        let (mut text, mut last, mut is_sorted) = (String::new(), None, true);
        while let Some((key, value)) = members.next_entry::<String, String>()? {
            push(&mut text, &key, &value);
            is_sorted &= last.is_none_or(|last| last < key);
            last = Some(key);
        }
        let labels = Labels { text: text.into() };
        Ok(if is_sorted { labels } else { labels.iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_map_and_take_no_more_memory_than_their_json() {
        let lengths = [0, 1, 2, 63, 64, 65, 4095, 4096, 4097, 300_000];
        let mut map = BTreeMap::new();
        for key in lengths {
            let value = lengths[(key + 3) % lengths.len()];
            map.insert(
                "é".repeat(key / 2) + &"k".repeat(key % 2),
                "\u{1f600}".repeat(value / 4) + &"\"".repeat(value % 4),
            );
            let labels = Labels::from(&map);
            assert_eq!(labels, map);
            assert_eq!((labels.len(), labels.is_empty(), BTreeMap::from(&labels)), (map.len(), false, map.clone()));
            for (key, value) in &map {
                assert_eq!(labels.get(key), Some(value.as_str()));
            }
            let json = serde_json::to_string(&map).unwrap();
            assert_eq!(serde_json::to_string(&labels).unwrap(), json);
            assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
            assert!(labels.text.len() <= json.len(), "{} {}", labels.text.len(), json.len());
        }
    }

    #[test]
    fn keys_are_sorted_and_the_last_value_counts() {
        let labels: Labels = serde_json::from_str(r#"{"b":"1","a":"2","b":"3"}"#).unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels, Labels::from([("b", "1"), ("a", "2"), ("b", "3")]));
        let mut others = labels.clone();
        others.insert("", "x");
        others.insert("b", "y");
        assert_eq!(others, Labels::from([("", "x"), ("a", "2"), ("b", "y")]));
        assert!(labels != others && labels.get("c").is_none() && !labels.contains_key(""));
        assert!(Labels::default().is_empty());
        for wrong in [r#"{"a":1}"#, "[]", "null", r#""a""#] {
            assert!(serde_json::from_str::<Labels>(wrong).is_err(), "{wrong}");
        }
    }
}
