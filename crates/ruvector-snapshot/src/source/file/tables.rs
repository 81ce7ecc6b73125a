//! The tables of a Ruvector database file: opens them and reads what describes the database.
//!
//! As ruvector-core 2.4 writes them: `vectors` (&str -> bincode `Vec<f32>`: a varint length, then f32 little-endian),
//! `metadata` (&str -> JSON text) and `config` (&str -> text).

use std::collections::BTreeMap;
use std::path::Path;

use redb_live::{Table, TableInfo, View};
use ruvector_snapshot_format::model::DatabaseInfo;

use super::irregular::{IrregularSource, captured_table};
use super::rows::{live_error, vector_bytes};
use super::scan::TableCursor;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::source::description::parse_options;
use crate::source::irregular_rows::shows_dimensions;
use crate::source::{OPTIONS_ROW, database_info, foreign};

/// The tables of a database file.
pub(super) struct OpenedTables {
    pub(super) vectors: Table,
    pub(super) metadata: Table,
    pub(super) database: DatabaseInfo,
    /// The tables whose rows can be irregular, in the order of their names.
    pub(super) irregular: Vec<IrregularSource>,
    /// The tables that cannot be stored, in words.
    pub(super) not_captured: Vec<String>,
}

pub(super) fn open_all(view: &View, path: &Path) -> Result<OpenedTables> {
    let tables = view.tables().map_err(live_error)?;
    let vectors = open_table(view, path, &tables, "vectors", "&[u8]")?;
    let metadata = open_table(view, path, &tables, "metadata", "&str")?;
    let (config, config_irregular) = config_rows(view, path, &tables)?;
    let database = describe(path, &vectors, config)?;
    let (mut irregular, mut not_captured) = (Vec::new(), Vec::new());
    for info in tables.iter().filter(|info| info.name != "config" || config_irregular) {
        match captured_table(info) {
            Ok(table) => {
                let rows = view.table(&info.name).map_err(live_error)?;
                irregular.extend(rows.map(|rows| IrregularSource { table, rows }));
            }
            Err(why) => not_captured.push(format!("table {:?} ({why})", info.name)),
        }
    }
    Ok(OpenedTables { vectors, metadata, database, irregular, not_captured })
}

fn open_table(view: &View, path: &Path, tables: &[TableInfo], name: &str, value_type: &str) -> Result<Table> {
    let known = tables.iter().find(|table| table.name == name);
    if !known.is_some_and(|table| table.key_type == "&str" && table.value_type == value_type) {
        return Err(not_ruvector(path, name, tables));
    }
    let table = view.table(name).map_err(|error| match error {
        redb_live::Error::UnsupportedTable { .. } => not_ruvector(path, name, tables).with_source(error),
        error => live_error(error),
    });
    table?.ok_or_else(|| not_ruvector(path, name, tables))
}

/// Reads the config rows that are text, and returns whether there are others. Old versions of Ruvector wrote no `config`
/// table.
fn config_rows(view: &View, path: &Path, tables: &[TableInfo]) -> Result<(BTreeMap<String, String>, bool)> {
    let (mut config, mut has_other) = (BTreeMap::new(), false);
    if !tables.iter().any(|table| table.name == "config") {
        return Ok((config, has_other));
    }
    let mut rows = TableCursor::new(&open_table(view, path, tables, "config", "&str")?);
    rows.step().map_err(live_error)?;
    while let Some((key, value)) = rows.row() {
        match (std::str::from_utf8(key), std::str::from_utf8(value)) {
            (Ok(key), Ok(value)) => drop(config.insert(key.to_owned(), value.to_owned())),
            _ => has_other = true,
        }
        rows.step().map_err(live_error)?;
    }
    Ok((config, has_other))
}

/// Describes the database by its options row. A database of an old version has none: its first well-formed vector shows
/// the dimensions, and nothing shows the metric.
fn describe(path: &Path, vectors: &Table, rows: BTreeMap<String, String>) -> Result<DatabaseInfo> {
    if let Some(text) = rows.get(OPTIONS_ROW) {
        let options = parse_options(text).map_err(|error| error.with_key(path.display().to_string()))?;
        return database_info(&options, rows);
    }
    let mut cursor = TableCursor::unrecorded(vectors);
    cursor.step().map_err(live_error)?;
    let mut dimensions = 0;
    while let Some((_, value)) = cursor.row() {
        let vector = vector_bytes(value).unwrap_or_default();
        if shows_dimensions(vector) {
            dimensions = vector.len() as u64 / 4;
            break;
        }
        cursor.step().map_err(live_error)?;
    }
    Ok(DatabaseInfo { rows, ..DatabaseInfo::new(dimensions) })
}

fn not_ruvector(path: &Path, table: &str, tables: &[TableInfo]) -> SnapshotError {
    let message = foreign::describe_tables(path, tables).unwrap_or_else(|| {
        format!("not a Ruvector database: it is a redb file, but its table {table:?} is missing or of another type; pass the file \
             that Ruvector calls its storage path")
    });
    SnapshotError::new(ErrorKind::InvalidInput, message).with_key(path.display().to_string())
}
