//! TOML with positions: takes keys out of tables, and collects everything that is wrong. Knows no key.
//!
//! No message repeats a value: it may be a secret that was written in the wrong place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use ruvector_snapshot::closest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{At, ShownValue};

/// Something in the file that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    pub(crate) message: String,
    /// What may have been meant, or what to do.
    pub(crate) advice: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.advice.iter().try_for_each(|advice| write!(f, "; {advice}"))
    }
}

/// Reads one document.
pub(super) struct Reader<'t> {
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    pub(super) problems: Vec<Problem>,
    pub(super) shown: Vec<ShownValue>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines, problems: Vec::new(), shown: Vec::new() }
    }

    /// Parses the document. If it is not TOML, there are only problems.
    pub(super) fn parse(&mut self) -> Option<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            // Its text names characters and kinds, and repeats keys, but no value.
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            self.problem(at, format!("this is not TOML: {message}"), None);
        }
        errors.is_empty().then(|| table.into_inner())
    }

    pub(super) fn problem(&mut self, at: usize, message: impl Into<String>, advice: Option<String>) {
        let (line, column) = self.position(at);
        self.problems.push(Problem { line, column, message: message.into(), advice });
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.position(at).0
    }

    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|begin| *begin <= at);
        let begin = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(0);
        let column = self.text.get(begin..at).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// Notes a value as it may be shown.
    pub(super) fn show(&mut self, key: &str, text: impl Into<String>, at: usize) {
        let line = self.line(at);
        self.shown.push(ShownValue { key: key.to_owned(), text: text.into(), line });
    }
}

/// A table whose keys are known.
pub(super) struct Section<'d, 't> {
    /// The path of its key, such as `stores.offsite`. Empty for the document.
    name: String,
    /// Where it begins.
    pub(super) at: usize,
    rest: BTreeMap<&'d str, (usize, &'d Spanned<DeValue<'t>>)>,
    known: Vec<&'static str>,
}

impl<'d, 't> Section<'d, 't> {
    pub(super) fn new(name: impl Into<String>, at: usize, table: &'d DeTable<'t>) -> Self {
        let rest = table.iter().map(|(key, value)| (key.get_ref().as_ref(), (key.span().start, value)));
        Self { name: name.into(), at, rest: rest.collect(), known: Vec::new() }
    }

    /// Returns the path of this table.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of a key of this table.
    pub(super) fn key(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Returns whether a key is there that was not taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.rest.contains_key(key)
    }

    /// Returns where a key is that was not taken.
    pub(super) fn position(&self, key: &str) -> Option<usize> {
        self.rest.get(key).map(|(at, _)| *at)
    }

    /// Takes a key out of the table: where it is, and its value.
    pub(super) fn take(&mut self, key: &'static str) -> Option<(usize, &'d Spanned<DeValue<'t>>)> {
        self.known.push(key);
        self.rest.remove(key)
    }

    /// Takes a text.
    pub(super) fn text(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<(usize, &'d str)> {
        let (at, value) = self.take(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            let table = value.get_ref().is_table() && key == "store";
            let meant = table.then(|| "a profile of a store is a table [stores.NAME]".to_owned());
            reader.problem(value.span().start, format!("{} must be a text in quotes", self.key(key)), meant);
        }
        text.map(|text| (at, text))
    }

    /// Takes a value that is written as an option of the command line is: as text, or as a number.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        self.parsed_and_shown(reader, key, |text| parse(text).map(|parsed| (parsed, text.to_owned())))
    }

    /// Takes a path, and notes it as it was parsed.
    pub(super) fn path<E: fmt::Display>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<PathBuf, E>,
    ) -> Option<At<PathBuf>> {
        let shown = |path: PathBuf| {
            let shown = path.display().to_string();
            (path, shown)
        };
        self.parsed_and_shown(reader, key, |text| parse(text).map(shown))
    }

    /// Takes a value. `parse` also returns it as it may be shown.
    pub(super) fn parsed_and_shown<T, E: fmt::Display>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<(T, String), E>,
    ) -> Option<At<T>> {
        let (at, value) = self.take(key)?;
        let Some(text) = scalar(value.get_ref()) else {
            reader.problem(value.span().start, format!("{} must be a single value", self.key(key)), None);
            return None;
        };
        match parse(&text) {
            Ok((parsed, shown)) => {
                reader.show(&self.key(key), shown, at);
                Some(At { value: parsed, line: reader.line(at) })
            }
            Err(problem) => {
                reader.problem(value.span().start, format!("{}: {problem}", self.key(key)), None);
                None
            }
        }
    }

    /// Takes a table of tables by name, such as `[stores.offsite]`.
    pub(super) fn named_tables(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Vec<(&'d str, Section<'d, 't>)> {
        let Some(tables) = self.table(reader, key) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, (at, value)) in tables.rest {
            let path = format!("{key}.{name}");
            if !is_name(name) {
                reader.problem(at, format!("{name:?} is no name; a name has letters, digits, -, _ and ."), None);
                continue;
            }
            match value.get_ref().as_table() {
                Some(table) => named.push((name, Section::new(path, at, table))),
                None => reader.problem(at, format!("{path} must be a table; write [{path}]"), None),
            }
        }
        named
    }

    /// Takes an array of tables, such as `[[jobs]]`: where each is, and the table. `form` is how one is written.
    pub(super) fn tables(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        form: &str,
    ) -> Vec<(usize, &'d DeTable<'t>)> {
        let Some((at, value)) = self.take(key) else { return Vec::new() };
        let tables = value.get_ref().as_array().map(|array| array.iter());
        let tables: Option<Vec<_>> =
            tables.and_then(|tables| tables.map(|one| Some((one.span().start, one.get_ref().as_table()?))).collect());
        if tables.is_none() {
            reader.problem(at, format!("{} must be a list of tables; write {form}", self.key(key)), None);
        }
        tables.unwrap_or_default()
    }

    /// Takes one text or a list of them: where each is, and the text. `None` if the key is not there, or has another value.
    pub(super) fn list(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Vec<(usize, &'d str)>> {
        let (_, value) = self.take(key)?;
        let text = |one: &'d Spanned<DeValue<'t>>| Some((one.span().start, one.get_ref().as_str()?));
        let texts: Option<Vec<_>> = match value.get_ref().as_array() {
            Some(array) => array.iter().map(text).collect(),
            None => text(value).map(|text| vec![text]),
        };
        if texts.is_none() {
            let message = format!("{} must be a text in quotes, or a list of them", self.key(key));
            reader.problem(value.span().start, message, None);
        }
        texts
    }

    pub(super) fn table(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Section<'d, 't>> {
        let (at, value) = self.take(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(self.key(key), at, table)),
            None => {
                let path = self.key(key);
                reader.problem(
                    value.span().start,
                    format!("{path} must be a table, such as {{ key = \"value\" }}"),
                    None,
                );
                None
            }
        }
    }

    /// Takes a table of texts under any keys. `problem` returns why one of them cannot be used.
    pub(super) fn texts(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        problem: impl Fn(&str, &str) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let Some(table) = self.table(reader, key) else { return BTreeMap::new() };
        let mut texts = BTreeMap::new();
        for (name, at, value) in table.entries() {
            match scalar(value.get_ref()) {
                Some(text) => {
                    reader.show(&table.key(name), text.as_str(), at);
                    if let Some(problem) = problem(name, &text) {
                        reader.problem(at, format!("{}: {problem}", table.name), None);
                    }
                    texts.insert(name.to_owned(), text);
                }
                None => reader.problem(at, format!("{} must be a single value", table.key(name)), None),
            }
        }
        texts
    }

    /// Returns the keys that were not taken, where they are, and their values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'d str, usize, &'d Spanned<DeValue<'t>>)> {
        self.rest.iter().map(|(key, (at, value))| (*key, *at, *value))
    }

    /// Reports the keys that were not taken.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for (key, at, _) in self.entries() {
            let within = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let advice = match closest(key, self.known.iter().copied()) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("known keys are {}", self.known.join(", ")),
            };
            reader.problem(at, format!("unknown key {key:?}{within}"), Some(advice));
        }
    }
}

/// Returns a single value as text.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        // The numbers as they are written, without the separators of their digits.
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "")),
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}
