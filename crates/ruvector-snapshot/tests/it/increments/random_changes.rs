//! Random changes of the tables of a database, including states that Ruvector itself never writes: metadata without
//! vectors and unusual ids.

use test_fixtures::encode_vector;

use super::fixture::{Random, State};

/// A change of the tables between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    RemoveAll,
    /// Keeps their metadata.
    RemoveVectors,
    RemoveMetadata,
    ReplaceVectors,
    ReplaceMetadata,
    /// Gives every vector the same metadata.
    DescribeAll,
    /// Inserts a run of neighbouring ids, some with metadata.
    PutRun,
    RemoveRun,
    /// Changes a few rows of either table or of both.
    Few,
}

impl Change {
    const ALL_AT_ONCE: [Self; 6] = [
        Self::RemoveAll,
        Self::RemoveVectors,
        Self::RemoveMetadata,
        Self::ReplaceVectors,
        Self::ReplaceMetadata,
        Self::DescribeAll,
    ];

    /// Returns a random change, mostly a small one.
    pub(crate) fn any(random: &mut Random) -> Self {
        match random.below(20) {
            at @ 0..6 => Self::ALL_AT_ONCE[at],
            6..8 => Self::PutRun,
            8 => Self::RemoveRun,
            9 => Self::Nothing,
            _ => Self::Few,
        }
    }
}

/// A generator of ids, vectors and metadata.
pub(crate) struct RowGenerator {
    pub(crate) random: Random,
    pub(crate) dimensions: usize,
    pub(crate) kinds: Kinds,
    unusual_ids: Vec<String>,
    ids: usize,
}

/// Which rows a [`RowGenerator`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// Rows that form records.
    Records,
    /// Metadata without vectors too.
    Orphans,
    /// Vectors and metadata that no record has too.
    All,
}

impl RowGenerator {
    pub(crate) fn new(seed: u64, dimensions: usize, ids: usize) -> Self {
        let unusual = ["", "\0", "a", "a\0", "a\0b", "\u{10FFFF}", "ünï", "\"q\"\\\n", "日本語", "~", "\u{7f}"];
        let long = "long/".repeat(900);
        let unusual_ids = unusual.into_iter().chain([long.as_str()]).map(str::to_owned).collect();
        Self { random: Random::new(seed), dimensions, kinds: Kinds::Orphans, unusual_ids, ids }
    }

    /// Returns the state after a change.
    pub(crate) fn changed(&mut self, state: &State, change: Change) -> State {
        let mut state = state.clone();
        match change {
            Change::Nothing => {}
            Change::RemoveAll => state = State::default(),
            Change::RemoveVectors => state.vectors.clear(),
            Change::RemoveMetadata => state.metadata.clear(),
            Change::ReplaceVectors => state.vectors.values_mut().for_each(|vector| *vector = self.vector()),
            Change::ReplaceMetadata => state.metadata.values_mut().for_each(|text| *text = self.text()),
            Change::DescribeAll => {
                state.metadata.extend(state.vectors.keys().map(|id| (id.clone(), "{}".to_owned())));
            }
            Change::PutRun => {
                let (first, count) = (self.random.below(self.ids), self.random.below(self.ids / 3));
                for number in first..(first + count).min(self.ids) {
                    state.vectors.insert(self.id(number), self.vector());
                    if self.random.below(2) == 0 {
                        state.metadata.insert(self.id(number), self.text());
                    }
                }
            }
            Change::RemoveRun => {
                let (first, count) = (self.random.below(self.ids), self.random.below(self.ids / 2));
                for number in first..(first + count).min(self.ids) {
                    state.vectors.remove(&self.id(number));
                    state.metadata.remove(&self.id(number));
                }
            }
            Change::Few => {
                for _ in 0..=self.random.below(12) {
                    self.change_one(&mut state);
                }
            }
        }
        if self.kinds == Kinds::Records { state.without_orphans() } else { state }
    }

    fn change_one(&mut self, state: &mut State) {
        let is_unusual = self.random.below(4) == 0;
        let number = self.random.below(if is_unusual { self.unusual_ids.len() } else { self.ids });
        let id = self.id(number);
        match self.random.below(6) {
            0 => drop(state.vectors.insert(id, self.vector())),
            1 => {
                state.vectors.insert(id.clone(), self.vector());
                state.metadata.insert(id, self.text());
            }
            2 => drop(state.metadata.insert(id, self.text())),
            3 => drop(state.vectors.remove(&id)),
            4 => drop(state.metadata.remove(&id)),
            _ => {
                state.vectors.remove(&id);
                state.metadata.remove(&id);
            }
        }
    }

    fn id(&self, number: usize) -> String {
        self.unusual_ids.get(number).cloned().unwrap_or_else(|| format!("id/{number:04}"))
    }

    fn is_irregular(&mut self) -> bool {
        self.kinds == Kinds::All && self.random.below(60) == 0
    }

    fn vector(&mut self) -> Vec<u8> {
        if self.is_irregular() {
            let length = self.random.below(2 * self.dimensions);
            let encoded = encode_vector(&self.random.vector(length));
            return encoded[..self.random.below(encoded.len() + 1)].to_vec();
        }
        encode_vector(&self.random.vector(self.dimensions))
    }

    /// Returns JSON in the form that the database writes, from a few bytes to several pages.
    fn text(&mut self) -> String {
        if self.is_irregular() {
            let deep = format!("{{\"a\":{}{}}}", "[".repeat(140), "]".repeat(140));
            return [deep.as_str(), "", "no JSON", "[]"][self.random.below(4)].to_owned();
        }
        let padding = [0, 3, 40, 400, 9_000][self.random.below(5)];
        format!("{{\"t\":\"{}{}\"}}", "x".repeat(padding), self.random.next())
    }
}
