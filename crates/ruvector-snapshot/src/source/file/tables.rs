//! The tables of a Ruvector database file: opens them and reads what describes the database.
//!
//! As ruvector-core 2.4 writes them: `vectors` (&str -> bincode `Vec<f32>`: a varint length, then f32 little-endian),
//! `metadata` (&str -> JSON text) and `config` (&str -> text).

use std::collections::BTreeMap;
use std::path::Path;

use redb_live::{Table, TableInfo, View};
use ruvector_snapshot_format::model::DatabaseInfo;

use super::rows::{corrupt_database, live_error, vector_bytes};
use super::scan::TableCursor;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::source::description::parse_options;
use crate::source::{OPTIONS_ROW, database_info, foreign};

/// The tables of a database file.
pub(super) struct OpenedTables {
    pub(super) vectors: Table,
    pub(super) metadata: Table,
    pub(super) database: DatabaseInfo,
    /// Names of tables that are not Ruvector's.
    pub(super) other_tables: Vec<String>,
}

pub(super) fn open_all(view: &View, path: &Path) -> Result<OpenedTables> {
    let tables = view.tables().map_err(live_error)?;
    let vectors = open_table(view, path, &tables, "vectors", "&[u8]")?;
    let metadata = open_table(view, path, &tables, "metadata", "&str")?;
    let is_other = |name: &String| !matches!(name.as_str(), "vectors" | "metadata" | "config");
    let other_tables = tables.iter().map(|table| table.name.clone()).filter(is_other).collect();
    let database = describe(path, &vectors, config_rows(view, path, &tables)?)?;
    Ok(OpenedTables { vectors, metadata, database, other_tables })
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

/// Reads the config rows. Old versions of Ruvector wrote no `config` table.
fn config_rows(view: &View, path: &Path, tables: &[TableInfo]) -> Result<BTreeMap<String, String>> {
    let mut config = BTreeMap::new();
    if !tables.iter().any(|table| table.name == "config") {
        return Ok(config);
    }
    let mut rows = TableCursor::new(&open_table(view, path, tables, "config", "&str")?);
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|error| corrupt_database(path, "a config row is not UTF-8").with_source(error))
    };
    rows.step().map_err(live_error)?;
    while let Some((key, value)) = rows.row() {
        config.insert(text(key)?, text(value)?);
        rows.step().map_err(live_error)?;
    }
    Ok(config)
}

/// Describes the database by its options row. A database of an old version has none: its first vector shows the
/// dimensions, and nothing shows the metric.
fn describe(path: &Path, vectors: &Table, rows: BTreeMap<String, String>) -> Result<DatabaseInfo> {
    if let Some(text) = rows.get(OPTIONS_ROW) {
        let options = parse_options(text).map_err(|error| error.with_key(path.display().to_string()))?;
        return database_info(&options, rows);
    }
    let mut first = TableCursor::new(vectors);
    first.step().map_err(live_error)?;
    let dimensions = match first.row() {
        Some((_, value)) => {
            let vector = vector_bytes(value).ok_or_else(|| corrupt_database(path, "the first vector is malformed"))?;
            vector.len() as u64 / 4
        }
        None => 0,
    };
    Ok(DatabaseInfo { rows, ..DatabaseInfo::new(dimensions) })
}

fn not_ruvector(path: &Path, table: &str, tables: &[TableInfo]) -> SnapshotError {
    let message = foreign::describe_tables(path, tables).unwrap_or_else(|| {
        format!("not a Ruvector database: it is a redb file, but its table {table:?} is missing or of another type; pass the file \
             that Ruvector calls its storage path")
    });
    SnapshotError::new(ErrorKind::InvalidInput, message).with_key(path.display().to_string())
}
