//! `create`: a database file into a new snapshot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruvector_snapshot::format::metadata::check_name;
use ruvector_snapshot::source::file::{FileOptions, FileSource};
use ruvector_snapshot::{CreateOptions, ErrorKind, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager};
use serde_json::json;

use crate::args::Create;
use crate::attempts::Attempts;
use crate::failure::{Exit, Failure, kind_name};
use crate::output::{changes, counted, moment, pace, quoted_path, ratio, shape, share};
use crate::progress::Shown;
use crate::session::Session;

pub(crate) async fn create(session: &Session, args: Create) -> Result<Exit, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => default_name(&args.db),
    };
    check_name(&name).map_err(Failure::typed)?;
    let location = session.location()?;
    let labels = labels(args.labels)?;
    check_scratch_dir(args.scratch_dir.as_deref())?;
    check_database(&args.db, args.scratch_dir.as_deref()).await?;
    let config = SnapshotConfig {
        compression: !args.no_compression,
        compression_level: args.compression_level,
        scratch_dir: args.scratch_dir,
        verify_after_write: args.verify_after_write,
        max_chain_length: args.max_chain.unwrap_or(SnapshotConfig::default().max_chain_length),
        ..session.config()
    };
    let (manager, chain) = match &args.base {
        None => (session.open_or_make(config)?, Vec::new()),
        Some(base) => {
            let opened = open_on(session, config, base).await;
            opened.map_err(|failure| without_base(session, failure, &args.db))?
        }
    };
    let attempts = Arc::new(Attempts::default());
    let manager = manager.with_clock(attempts.clone());
    let began = Instant::now();
    let created = {
        let progress = Shown::new(session.output);
        let base_id = chain.first().map(|base| base.id.clone());
        let options = CreateOptions { labels, base_id, progress: progress.listener(), ..CreateOptions::default() };
        let aftermath = {
            let manager = manager.clone();
            move || attempts.aftermath(&manager, &location)
        };
        session.run(&manager, manager.create_snapshot_of_file(&args.db, &name, &options), aftermath).await
    };
    let snapshot = created.map_err(|failure| match chain.len() >= manager.config().max_chain_length {
        true => failure.with_hint("--max-chain lets it become longer, which makes restores slower"),
        false => hinted(failure),
    })?;
    print(session, &snapshot, &chain, &args.db, began.elapsed())?;
    Ok(Exit::Done)
}

/// What an increment is to stand on, the newest first. The store that holds it is there, and is not made.
async fn open_on(
    session: &Session,
    config: SnapshotConfig,
    base: &str,
) -> Result<(SnapshotManager, Vec<Snapshot>), Failure> {
    let manager = session.open_with(config)?;
    let id = session.resolve(&manager, base).await?;
    let chain = session.read(&manager, manager.chain(&id)).await?;
    Ok((manager, chain))
}

fn without_base(session: &Session, failure: Failure, db: &Path) -> Failure {
    let full = session.command(&format!("create --db {}", quoted_path(db)));
    match failure.kind() {
        kind if kind == kind_name(ErrorKind::NotFound) => failure.with_hint(format!(
            "an increment stands on a snapshot that is there: look at --base and --store, or take a full one first: {full}"
        )),
        kind if kind == kind_name(ErrorKind::Damaged) => {
            failure.with_hint(format!("nothing can stand on what is damaged; take a full one: {full}"))
        }
        _ => failure,
    }
}

fn hinted(failure: Failure) -> Failure {
    match failure.kind() {
        kind if kind == kind_name(ErrorKind::Busy) => {
            failure.with_hint("the database is being changed faster than it can be read; try again at a quieter moment")
        }
        _ => failure,
    }
}

fn print(
    session: &Session,
    snapshot: &Snapshot,
    chain: &[Snapshot],
    db: &Path,
    taken: Duration,
) -> Result<(), Failure> {
    let output = session.output;
    let chain_ids: Vec<&str> = chain.iter().map(|below| below.id.as_str()).collect();
    output.document(&json!({
        "snapshot": snapshot, "base_id": chain_ids.first(), "chain": chain_ids,
        "full_size_bytes": chain.last().map(|full| full.size_bytes),
        "store": session.store, "seconds": taken.as_secs_f64(),
    }))?;
    output.line(format_args!("created {}", snapshot.id))?;
    output.field("name", &snapshot.name)?;
    output.field("database", format_args!("{}, as of {}", db.display(), moment(snapshot.created_at)))?;
    if let Some(base) = chain.first() {
        let length = counted(chain.len() as u64 + 1, "snapshot");
        output.field("stands on", format_args!("{}, a chain of {length} with this one", base.id))?;
    }
    if let Some(stored) = &snapshot.changes {
        output.field("changes", changes(stored))?;
    }
    output.field("vectors", shape(snapshot))?;
    match chain.last() {
        Some(full) => output.field("size", share(snapshot, full))?,
        None => output.field("size", ratio(snapshot))?,
    }
    output.field("time", pace(taken, snapshot.raw_bytes))?;
    output.field("checksum", &snapshot.checksum)?;
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    let verify = session.command(&format!("verify {}", snapshot.id));
    output.line(format_args!("next: {verify}, or restore {} --to FILE", snapshot.id))
}

fn labels(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        if labels.contains_key(&key) {
            let message = format!("the label {key:?} is given twice; a key has one value");
            return Err(Failure::typed(SnapshotError::new(ErrorKind::Invalid, message)));
        }
        labels.insert(key, value);
    }
    Ok(labels)
}

/// It may not be needed for a long time, and a mistyped one should not show on the busiest day.
fn check_scratch_dir(scratch_dir: Option<&Path>) -> Result<(), Failure> {
    match scratch_dir {
        Some(path) if !path.is_dir() => {
            let message = format!("--scratch-dir {}: there is no such directory", path.display());
            Err(Failure::new(ErrorKind::NotFound, message))
        }
        _ => Ok(()),
    }
}

/// Looks at the database before anything is made in the store: a mistyped path leaves nothing behind.
async fn check_database(path: &Path, scratch_dir: Option<&Path>) -> Result<(), Failure> {
    let options = FileOptions { scratch_dir: scratch_dir.map(Path::to_owned), ..FileOptions::default() };
    let place: PathBuf = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || FileSource::open(&place, &options).map(drop)).await;
    match opened {
        Ok(Err(error)) if error.kind() != ErrorKind::Busy => Err(explained(path, error)),
        _ => Ok(()),
    }
}

fn explained(path: &Path, error: SnapshotError) -> Failure {
    let (kind, shown) = (error.kind(), quoted_path(path));
    let failure = Failure::from(error);
    match kind {
        ErrorKind::NotFound => failure.with_hint(format!("check --db {shown}")),
        ErrorKind::Invalid => failure.with_hint("--db takes the file that Ruvector calls its storage path"),
        ErrorKind::Damaged => {
            failure.with_hint("no snapshot was made; the last one that was made before is listed by list")
        }
        _ => failure,
    }
}

/// The stem of the file's name, where that can be a name.
fn default_name(db: &Path) -> String {
    let stem = db.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if check_name(&stem).is_ok() { stem } else { "database".to_owned() }
}
