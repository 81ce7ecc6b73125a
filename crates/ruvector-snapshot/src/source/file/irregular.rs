//! The second pass over a database file: yields its irregular rows, table by table in the order of their names. Decides
//! nothing: `rows` says which rows form a record.

use redb_live::{Table, TableInfo};
use ruvector_snapshot_format::irregular::{ColumnType, IrregularItem, IrregularTable, TypeOrigin};

use super::FileReader;
use super::rows::{IdRows, live_error};
use super::scan::TableCursor;
use crate::error::Result;
use crate::source::raw_table::check_restorable;

/// A table with rows to yield.
#[derive(Debug, Clone)]
pub(super) struct IrregularSource {
    pub(super) table: IrregularTable,
    pub(super) rows: Table,
}

/// Where the second pass is.
#[derive(Debug, Default)]
pub(super) struct IrregularPass {
    /// The number of the next table.
    next: usize,
    current: Option<Walk>,
}

/// A walk through one table.
#[derive(Debug)]
struct Walk {
    table: IrregularTable,
    rows: Rows,
    state: WalkState,
}

#[derive(Debug)]
enum WalkState {
    Start,
    /// The table has been yielded. Its first row is found, but was not yielded.
    FirstRowFound,
    InRows,
}

#[derive(Debug)]
enum Rows {
    /// All rows.
    All(TableCursor),
    /// The rows of `config` that are not text.
    NotText(TableCursor),
    /// The rows of `vectors` or `metadata` of ids whose rows do not form a record.
    OfIds(Box<IdWalk>),
}

/// Walks `vectors` and `metadata` id by id, and stops at the irregular rows of one of them.
#[derive(Debug)]
struct IdWalk {
    vectors: TableCursor,
    metadata: TableCursor,
    /// Whether `vectors` and `metadata` have a row of the current id. Before the first id: both.
    of_current: [bool; 2],
    wants_vectors: bool,
    dimensions: u64,
}

/// What a walk is on.
#[derive(Clone, Copy)]
enum Position {
    Table,
    Row,
}

impl FileReader {
    /// Returns the next irregular row, see [`SourceReader`](crate::source::SourceReader).
    pub(super) fn next_irregular_item(&mut self) -> Result<Option<IrregularItem<'_>>> {
        let position = self.advance_irregular()?;
        let Some(Walk { table, rows, .. }) = &self.pass.current else { return Ok(None) };
        Ok(match position {
            None => None,
            Some(Position::Table) => Some(IrregularItem::Table(table)),
            Some(Position::Row) => rows.row().map(|(key, value)| IrregularItem::Row { table, key, value }),
        })
    }

    fn advance_irregular(&mut self) -> Result<Option<Position>> {
        loop {
            if let Some(walk) = &mut self.pass.current
                && let Some(position) = walk.advance().map_err(live_error)?
            {
                return Ok(Some(position));
            }
            let Some(source) = self.irregular_sources.get(self.pass.next) else {
                self.pass.current = None;
                return Ok(None);
            };
            self.pass.current = self.walk(source);
            self.pass.next += 1;
        }
    }

    /// Starts a walk through a table, if it can have irregular rows.
    fn walk(&self, source: &IrregularSource) -> Option<Walk> {
        let rows = match source.table.name.as_str() {
            "config" => Rows::NotText(TableCursor::unrecorded(&source.rows)),
            "vectors" | "metadata" if self.irregular.count == 0 => return None,
            name @ ("vectors" | "metadata") => Rows::OfIds(Box::new(IdWalk {
                vectors: self.vectors.another(),
                metadata: self.metadata.another(),
                of_current: [true, true],
                wants_vectors: name == "vectors",
                dimensions: self.database.dimensions,
            })),
            _ => Rows::All(TableCursor::unrecorded(&source.rows)),
        };
        Some(Walk { table: source.table.clone(), rows, state: WalkState::Start })
    }
}

impl Walk {
    /// Moves to the table itself, or to its next row. A table of Ruvector counts only if it has an irregular row.
    fn advance(&mut self) -> Result<Option<Position>, redb_live::Error> {
        match (&self.state, &self.rows) {
            (WalkState::Start, Rows::All(_)) => {
                self.state = WalkState::InRows;
                return Ok(Some(Position::Table));
            }
            (WalkState::FirstRowFound, _) => {
                self.state = WalkState::InRows;
                return Ok(Some(Position::Row));
            }
            _ => {}
        }
        self.rows.step()?;
        let is_on_row = self.rows.row().is_some();
        Ok(match std::mem::replace(&mut self.state, WalkState::FirstRowFound) {
            _ if !is_on_row => None,
            WalkState::Start => Some(Position::Table),
            _ => {
                self.state = WalkState::InRows;
                Some(Position::Row)
            }
        })
    }
}

impl Rows {
    fn step(&mut self) -> Result<(), redb_live::Error> {
        match self {
            Self::All(rows) => rows.step(),
            Self::NotText(rows) => loop {
                rows.step()?;
                if rows.row().is_none_or(|(name, text)| !is_text_row(name, text)) {
                    return Ok(());
                }
            },
            Self::OfIds(walk) => walk.step(),
        }
    }

    fn row(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Self::All(rows) | Self::NotText(rows) => rows.row(),
            Self::OfIds(walk) => {
                if walk.wants_vectors {
                    walk.vectors.row()
                } else {
                    walk.metadata.row()
                }
            }
        }
    }
}

impl IdWalk {
    /// Moves to the next irregular row of the wanted table.
    fn step(&mut self) -> Result<(), redb_live::Error> {
        loop {
            let [of_vectors, of_metadata] = self.of_current;
            if of_vectors {
                self.vectors.step()?;
            }
            if of_metadata {
                self.metadata.step()?;
            }
            let (vector, metadata) = (self.vectors.row(), self.metadata.row());
            let (vector_key, metadata_key) = (vector.map(|(key, _)| key), metadata.map(|(key, _)| key));
            let Some(key) = [vector_key, metadata_key].into_iter().flatten().min() else { return Ok(()) };
            let of_current = [vector_key == Some(key), metadata_key == Some(key)];
            let rows = IdRows {
                key,
                vector: vector.filter(|_| of_current[0]).map(|(_, value)| value),
                metadata: metadata.filter(|_| of_current[1]).map(|(_, value)| value),
            };
            let is_wanted = of_current[usize::from(!self.wants_vectors)];
            let stops = is_wanted && rows.record(self.dimensions).is_err();
            self.of_current = of_current;
            if stops {
                return Ok(());
            }
        }
    }
}

/// Returns whether a row of `config` is text, as Ruvector writes it.
pub(super) fn is_text_row(name: &[u8], text: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok() && std::str::from_utf8(text).is_ok()
}

/// Returns the table as it is stored, or why it cannot be.
pub(super) fn captured_table(info: &TableInfo) -> Result<IrregularTable, &'static str> {
    if info.multimap {
        return Err("a multimap table");
    }
    let column = |origin, name: &str, width| {
        let origin = match origin {
            redb_live::TypeOrigin::Redb => TypeOrigin::Redb,
            redb_live::TypeOrigin::Application => TypeOrigin::Application,
            _ => return None,
        };
        Some(ColumnType { origin, name: name.to_owned(), width })
    };
    let key = column(info.key_origin, &info.key_type, info.key_width);
    let value = column(info.value_origin, &info.value_type, info.value_width);
    let table = key.zip(value).map(|(key, value)| IrregularTable { name: info.name.clone(), key, value });
    // What could not be restored must not be stored as if it could.
    table.filter(|table| check_restorable(table).is_ok()).ok_or("its types cannot be restored")
}
