//! What a path is that is no Ruvector database, as far as one can tell, and what to do about it. Used for errors only.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use redb_live::TableInfo;

use super::{COLLECTION_FILE, database_path};

/// The first bytes of a redb file.
const REDB: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
/// Number of database files that a message names.
const SHOWN_MAX: usize = 8;
/// Number of entries of a directory that are read.
const ENTRIES_MAX: usize = 10_000;

/// The tables of the second file of AgenticDB.
const AGENTIC_TABLES: [&str; 4] = ["reflexion_episodes", "skills_library", "causal_edges", "learning_sessions"];
/// The tables of a graph database.
const GRAPH_TABLES: [&str; 3] = ["nodes", "edges", "hyperedges"];

/// Describes a path that is not a redb file. `None` if nothing is known of it.
pub(super) fn describe_path(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok()?;
    if metadata.is_dir() {
        return Some(describe_directory(path));
    }
    // Opening anything else than a file can block.
    let start = metadata.is_file().then(|| first_bytes(path)).flatten()?;
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let what = if start.starts_with(b"SFVR") || name.ends_with(".rvf") {
        "this is an RVF file of the npm package ruvector, which this program cannot read; copy it while nothing writes to it"
    } else if start.starts_with(b"\x93NUMPY") {
        "this is a numpy array, and not a database; copy the file itself"
    } else if start.starts_with(b"rbpx0001") {
        "this is a file of the Python package ruvector, which this program cannot read; copy it while nothing writes to it, with \
         the file .meta.json beside it"
    } else if start.starts_with(&[0x1f, 0x8b]) && name.ends_with(".snapshot.gz") {
        "this is a snapshot of the older crate ruvector-snapshot 2, and not a database; restore it with that crate, and pass the \
         database file"
    } else if start.starts_with(&[0x1f, 0x8b]) {
        "this is a compressed file (gzip), and not a database; if it is a file of a snapshot, use restore"
    } else if start.starts_with(b"SQLite format 3\0") {
        "this is an SQLite database; this program takes snapshots of Ruvector's databases, which are redb files"
    } else if name.ends_with(".json") {
        "this is a JSON file, and not a database; pass the database file beside it"
    } else {
        return None;
    };
    Some(what.to_owned())
}

/// Describes a redb file without Ruvector's tables. `None` if nothing is known of it.
pub(super) fn describe_tables(path: &Path, tables: &[TableInfo]) -> Option<String> {
    let find = |name: &str| tables.iter().find(|table| table.name == name);
    if AGENTIC_TABLES.iter().any(|name| find(name).is_some()) {
        let vectors = match path.extension() {
            Some(extension) if extension == "agentic" => database_path::text(&path.with_extension("")),
            _ => "of the same name without .agentic".to_owned(),
        };
        return Some(format!(
            "this is the second file of AgenticDB, with its episodes, skills, causal edges and learning sessions; pass the vector \
             file {vectors}, and copy this file after it, while AgenticDB is stopped"
        ));
    }
    if GRAPH_TABLES.iter().all(|name| find(name).is_some()) {
        let what = "this is a graph database (@ruvector/graph-node), which this program cannot read; copy the file while nothing \
                    writes to it";
        return Some(what.to_owned());
    }
    let is_router = |table: &TableInfo| table.key_type == "&str" && table.value_type == "&[u8]";
    (find("vectors").is_some_and(is_router) && find("metadata").is_some_and(is_router)).then(|| {
        "this is a database of @ruvector/router, whose metadata is stored in another way; this program cannot read it: copy the \
         file while nothing writes to it"
            .to_owned()
    })
}

fn describe_directory(directory: &Path) -> String {
    let own = directory.join(COLLECTION_FILE);
    if own.is_file() {
        let file = database_path::text(&own);
        return format!("this is the directory of a collection, and a database is a file; pass {file}");
    }
    let mut entries: Vec<PathBuf> = match directory.read_dir() {
        Ok(entries) => entries.flatten().take(ENTRIES_MAX).map(|entry| entry.path()).collect(),
        Err(error) => {
            return format!("this is a directory, and a database is a file; the directory cannot be listed ({error})");
        }
    };
    entries.sort();
    let collections: Vec<PathBuf> =
        entries.iter().map(|entry| entry.join(COLLECTION_FILE)).filter(|file| file.is_file()).collect();
    if !collections.is_empty() {
        let count = counted(collections.len(), "collection");
        let files = shown(&collections);
        return format!(
            "this is a directory of {count}, and a snapshot is of one database file; pass one of them: {files}"
        );
    }
    let is_redb = |file: &PathBuf| file.is_file() && first_bytes(file).is_some_and(|start| start.starts_with(REDB));
    entries.retain(is_redb);
    match entries.as_slice() {
        [] => "this is a directory, and a database is a file; there is no database file in it".to_owned(),
        files => format!("this is a directory, and a database is a file; pass one of its files: {}", shown(files)),
    }
}

fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn shown(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().take(SHOWN_MAX).map(|file| database_path::text(file)).collect();
    let more = match files.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(16).read_to_end(&mut start).ok()?;
    Some(start)
}
