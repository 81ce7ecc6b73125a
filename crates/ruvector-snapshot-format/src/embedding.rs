//! What is known of the embedding model that the vectors of a database are of (FORMAT.md, section 3).
//!
//! Vectors of different models cannot be compared with each other, however many dimensions they have. Nothing in a vector
//! shows its model, so this is only what the database and the user have recorded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Labels;
use crate::checksum::sha256_hex;

/// The row of the table `config` in which Ruvector records the embedding space, as a JSON object.
pub const SPACE_ROW: &str = "__ruvector_embedding_space__";
/// The row of the table `config` in which Ruvector records how Turbo4 has encoded the vectors, as a JSON object.
pub const PROVENANCE_ROW: &str = "turbo4_provenance";
/// A longer row is recorded as `sha256:` and the SHA-256 of its text. Ruvector writes about 1 KiB.
const ROW_BYTES_MAX: usize = 4096;
/// More than a writer stores.
const LARGE_BYTES: usize = 32 << 10;
/// Members that a sentence names.
const NAMED_MAX: usize = 3;
/// Characters of a value that a sentence has.
const SHOWN_MAX: usize = 80;

/// The embedding identity of a database: what it records itself, and what the user of a snapshot has said.
///
/// ```
/// use ruvector_snapshot_format::embedding::EmbeddingInfo;
///
/// let given = |model| EmbeddingInfo { given: [("model", model)].into(), ..EmbeddingInfo::default() };
/// assert!(given("a").differences(&given("a")).is_empty());
/// assert_eq!(given("a").differences(&given("b")), [r#"model "a" and "b""#]);
/// // What is not known differs from nothing.
/// assert!(given("a").differences(&EmbeddingInfo::default()).is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingInfo {
    /// The rows of the table `config` in which Ruvector records it, name to text, unchanged. A row of more than 4 KiB is
    /// `sha256:` and the SHA-256 of its text.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub recorded: Labels,
    /// What the user has said, for example `model`, `revision` and `normalized`.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub given: Labels,
}

impl EmbeddingInfo {
    /// Returns what a database records, from the rows of its table `config`.
    ///
    /// ```
    /// use ruvector_snapshot_format::embedding::{EmbeddingInfo, SPACE_ROW};
    ///
    /// let rows = [(SPACE_ROW.to_owned(), r#"{"model_id":"a"}"#.to_owned())].into();
    /// assert!(EmbeddingInfo::recorded_in(&rows).recorded.contains_key(SPACE_ROW));
    /// ```
    pub fn recorded_in(rows: &BTreeMap<String, String>) -> Self {
        let recorded = [SPACE_ROW, PROVENANCE_ROW].into_iter().filter_map(|name| {
            let text = rows.get(name)?;
            let is_long = text.len() > ROW_BYTES_MAX;
            let text = if is_long { format!("sha256:{}", sha256_hex(text.as_bytes())) } else { text.clone() };
            Some((name.to_owned(), text))
        });
        Self { recorded: recorded.collect::<BTreeMap<_, _>>().into(), given: Labels::default() }
    }

    /// Returns whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.recorded.is_empty() && self.given.is_empty()
    }

    /// Returns whether it is larger than what a writer stores.
    pub fn is_large(&self) -> bool {
        let bytes = |labels: &Labels| labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        bytes(&self.recorded) + bytes(&self.given) > LARGE_BYTES
    }

    /// Returns what differs from another identity, in words: of the embedding space that the databases record, of the model
    /// that the provenance of Turbo4 names, and of what the user has said. What only one of the two has is no difference.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if let (Some(own), Some(others)) = (self.recorded.get(SPACE_ROW), other.recorded.get(SPACE_ROW)) {
            differences.extend(row_differences(own, others));
        }
        let model = |info: &Self| members(info.recorded.get(PROVENANCE_ROW)?)?.get("model_id").cloned();
        if let (Some(Value::String(own)), Some(Value::String(others))) = (model(self), model(other))
            && own != others
        {
            differences.push(format!("model_id {} and {}", shown(&own.into()), shown(&others.into())));
        }
        for (key, own) in &self.given {
            if let Some(others) = other.given.get(key).filter(|others| *others != own) {
                differences.push(format!("{key} {} and {}", shown(&own.into()), shown(&others.into())));
            }
        }
        differences
    }

    /// Returns what is known, in lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let given = self.given.iter().map(|(key, value)| format!("{key}={value}"));
        let recorded = self.recorded.iter().map(|(name, text)| {
            let named = ["provider", "model_id", "normalize", "output_dimension", "codec"];
            let named = members(text).map(|members| {
                let named = named.into_iter().filter_map(|name| Some(format!("{name} {}", shown(members.get(name)?))));
                named.collect::<Vec<_>>().join(", ")
            });
            format!("recorded in {name}: {}", named.filter(|text| !text.is_empty()).unwrap_or_else(|| cut(text)))
        });
        given.chain(recorded).collect()
    }
}

/// Returns the members of a JSON object. `None` if a text is none.
fn members(text: &str) -> Option<Map<String, Value>> {
    if text.len() > ROW_BYTES_MAX { None } else { serde_json::from_str(text).ok() }
}

/// Returns what differs between two rows: the members of JSON objects, whatever their order is, or the text.
fn row_differences(own: &str, others: &str) -> Vec<String> {
    if own == others {
        return Vec::new();
    }
    let (Some(own), Some(others)) = (members(own), members(others)) else {
        return vec![format!("{SPACE_ROW} {} and {}", cut(own), cut(others))];
    };
    let names: BTreeSet<&String> = own.keys().chain(others.keys()).collect();
    let differing: Vec<_> = names.into_iter().filter(|name| own.get(*name) != others.get(*name)).collect();
    let value = |members: &Map<String, Value>, name: &String| members.get(name).map_or("nothing".to_owned(), shown);
    let named = differing.iter().take(NAMED_MAX);
    let mut named: Vec<_> =
        named.map(|name| format!("{} {} and {}", cut(name), value(&own, name), value(&others, name))).collect();
    match differing.len().saturating_sub(NAMED_MAX) {
        0 => {}
        more => named.push(format!("{more} more")),
    }
    named
}

fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_default).collect();
    cut = cut.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(SHOWN_MAX).is_some() { cut + "…" } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str, text: &str) -> EmbeddingInfo {
        EmbeddingInfo::recorded_in(&[(name.to_owned(), text.to_owned())].into())
    }

    #[test]
    fn spaces_are_compared_by_their_members() {
        let space = |text| recorded(SPACE_ROW, text);
        let same = space(r#"{ "normalize":true, "model_id":"a" }"#);
        assert!(space(r#"{"model_id":"a","normalize":true}"#).differences(&same).is_empty());
        assert_eq!(
            space(r#"{"model_id":"b"}"#).differences(&same),
            [r#"model_id "b" and "a""#, "normalize nothing and true"]
        );
        assert_eq!(space("no JSON").differences(&same).len(), 1);
        let long = "x".repeat(5000);
        assert!(space(&long).recorded.get(SPACE_ROW).is_some_and(|text| text.starts_with("sha256:")));
        assert!(space(&long).differences(&space(&long)).is_empty());
        assert_eq!(space(&long).differences(&space(&"y".repeat(5000))).len(), 1);
    }

    #[test]
    fn of_a_provenance_only_the_model_counts() {
        let codes = |text| recorded(PROVENANCE_ROW, text);
        let unnamed = codes(r#"{"model_id":null,"rotation_seed":1}"#);
        assert!(unnamed.differences(&codes(r#"{"model_id":"a","rotation_seed":2}"#)).is_empty());
        assert_eq!(codes(r#"{"model_id":"b"}"#).differences(&codes(r#"{"model_id":"a"}"#)).len(), 1);
    }
}
