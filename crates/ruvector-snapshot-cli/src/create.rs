//! `create`: takes a snapshot of a database file.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ruvector_snapshot::{
    Changes, CreateOptions, ErrorKind, Remedy, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager, Transferred,
    check_name, check_source_name, default_name,
};
use serde_json::json;

use crate::args::{Create, Pairs, SOURCE_VARIABLE};
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{
    changes, counted, pace, print_irregular, print_transferred, quoted, quoted_path, ratio, shape, share, timestamp,
};
use crate::progress::ProgressDisplay;
use crate::session::Session;

pub(crate) async fn create(session: &Session, args: Create) -> Result<Exit, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => default_name(&args.db),
    };
    check_name(&name).map_err(Failure::usage)?;
    let source_name = source_name(args.source)?;
    let location = session.location()?;
    let labels = labels(args.labels)?;
    check_scratch_dir(args.scratch_dir.as_deref())?;
    let config = SnapshotConfig {
        compression: !args.no_compression,
        compression_level: args.compression_level,
        scratch_dir: args.scratch_dir,
        verify_after_write: args.verify_after_write,
        require_store: args.require_store,
        max_chain_length: args.max_chain.unwrap_or(SnapshotConfig::default().max_chain_length),
        ..session.config()
    };
    let mut options =
        CreateOptions::default().labels(labels).base_from_elsewhere(args.base_from_elsewhere).strict(args.strict);
    options.source_name = source_name;
    options = embedding(options, args.embedding)?.other_embedding(args.other_embedding);
    // Before anything is created in the store: a mistyped path leaves nothing behind.
    let checked = SnapshotManager::check_source_with(&args.db, &config, &options).await;
    checked.map_err(|error| explained(&args.db, error))?;
    let (manager, chain) = match &args.base {
        None => (open_for_full(session, config)?, Vec::new()),
        Some(base) => {
            let opened = open_with_base(session, config, base, &args.db, &options).await;
            opened.map_err(|failure| without_base(failure, args.base_from_elsewhere))?
        }
    };
    // The base of an increment is there, and --require-store is checked by the create.
    let may_be_new = chain.is_empty() && !args.require_store;
    let store_is_new = may_be_new && !session.read(&manager, manager.has_snapshots()).await?;
    let started = Instant::now();
    let attempts = Attempts::default();
    let (created, transferred) = {
        let progress = ProgressDisplay::new(session, &attempts);
        let mut options = options.progress(progress.listener());
        if let Some(base) = chain.first() {
            options = options.base_id(base.id.as_str()).verify_base(args.verify_base);
        }
        let after_interrupt = attempts.report(&manager, location);
        let work = manager.create_snapshot_of_file(&args.db, &name, &options);
        (session.run(&manager, work, after_interrupt).await, progress.transferred())
    };
    let snapshot = created.map_err(|failure| match (failure.remedy(), chain.first()) {
        (Some(Remedy::FullSnapshot), Some(base)) => {
            let verify = session.command(&format!("verify {}", base.id));
            failure.with_hint(format!("{WITHOUT_BASE}; `{verify}` shows all that is corrupt"))
        }
        (Some(_), _) => failure,
        (None, None) if args.require_store => without_store(session, failure),
        (None, _) => busy_explained(failure),
    })?;
    let created = Created { snapshot: &snapshot, chain: &chain, store_is_new, transferred };
    print(session, &created, &args.db, started.elapsed()).map_err(|failure| failure.after_create(&snapshot.id))?;
    Ok(Exit::Success)
}

/// Adds what was said of the embedding model.
fn embedding(mut options: CreateOptions, given: Vec<Pairs>) -> Result<CreateOptions, Failure> {
    for (key, value) in given.into_iter().flat_map(|pairs| pairs.0) {
        if options.embedding.insert(key.clone(), value).is_some() {
            let message = format!("--embedding gives {key} twice");
            return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)));
        }
    }
    Ok(options)
}

/// Returns the name of the source. White space around a name of the environment, such as a line end, is no part of it.
pub(crate) fn source_name(source: Option<String>) -> Result<Option<String>, Failure> {
    let Some(name) = source else { return Ok(None) };
    if std::env::var_os(SOURCE_VARIABLE).is_none_or(|variable| variable != name.as_str()) {
        check_source_name(&name).map_err(Failure::usage)?;
        return Ok(Some(name));
    }
    let name = name.trim();
    check_source_name(name).map_err(|error| {
        Failure::usage(SnapshotError::new(error.kind(), format!("{SOURCE_VARIABLE}: {}", error.message())))
    })?;
    Ok(Some(name.to_owned()))
}

/// Opens the store for a full snapshot, and creates its directory unless it must exist already.
fn open_for_full(session: &Session, config: SnapshotConfig) -> Result<SnapshotManager, Failure> {
    match config.require_store {
        true => session.open_with(config).map_err(|failure| without_store(session, failure)),
        false => session.open_or_create(config),
    }
}

/// Opens an existing store and returns the chain of the base, the newest first.
async fn open_with_base(
    session: &Session,
    config: SnapshotConfig,
    base: &str,
    db: &Path,
    options: &CreateOptions,
) -> Result<(SnapshotManager, Vec<Snapshot>), Failure> {
    let manager = session.open_with(config)?;
    let source = manager.source_of_file(db, options).map_err(Failure::usage)?;
    let id = session.resolve_base(&manager, base, &source).await?;
    let chain = session.read(&manager, manager.chain(&id)).await?;
    Ok((manager, chain))
}

const WITHOUT_BASE: &str = "take a full snapshot first: repeat this command without --base";

fn without_base(failure: Failure, accepts_elsewhere: bool) -> Failure {
    match failure.kind() {
        kind if kind == kind_name(ErrorKind::NotFound) && accepts_elsewhere => failure.with_hint(format!(
            "check --base and --store: --base-from-elsewhere needs the ID of the base, because latest and names mean only snapshots of this source; or {WITHOUT_BASE}"
        )),
        kind if kind == kind_name(ErrorKind::NotFound) => {
            failure.with_hint(format!("check --base and --store, or {WITHOUT_BASE}"))
        }
        kind if kind == kind_name(ErrorKind::Corrupt) => {
            failure.with_hint(format!("a corrupt snapshot cannot be a base; {WITHOUT_BASE}"))
        }
        _ => failure,
    }
}

/// Explains why a store that must have snapshots was not found.
fn without_store(session: &Session, failure: Failure) -> Failure {
    match failure.kind() {
        kind if kind == kind_name(ErrorKind::NotFound) => failure.with_hint(format!(
            "check --store {}, and that the disk is mounted; without --require-store, create starts a new store",
            quoted(&session.store)
        )),
        _ => busy_explained(failure),
    }
}

fn busy_explained(failure: Failure) -> Failure {
    match failure.kind() {
        kind if kind == kind_name(ErrorKind::Busy) => {
            failure.with_hint("the database changes faster than it can be read; try again when there are fewer writes")
        }
        _ => failure,
    }
}

/// What was created.
struct Created<'a> {
    snapshot: &'a Snapshot,
    /// The ancestors, the base first.
    chain: &'a [Snapshot],
    /// Whether the store had no snapshots before.
    store_is_new: bool,
    transferred: Transferred,
}

fn print(session: &Session, created: &Created<'_>, db: &Path, taken: Duration) -> Result<(), Failure> {
    let output = session.output;
    let Created { snapshot, chain, store_is_new, transferred } = *created;
    let chain_ids: Vec<&str> = chain.iter().map(|ancestor| ancestor.id.as_str()).collect();
    output.document_of(
        snapshot,
        &json!({
            "base_id": chain_ids.first(), "chain": chain_ids,
            "full_size_bytes": chain.last().map(|full| full.size_bytes),
            "store": session.store, "store_is_new": store_is_new, "seconds": taken.as_secs_f64(),
            "store_read_bytes": transferred.store_read_bytes, "store_written_bytes": transferred.store_written_bytes,
            "warnings": session.warnings.list(),
            "not_captured": snapshot.source.not_captured,
        }),
    )?;
    output.line(format_args!("created {}", snapshot.id))?;
    if store_is_new {
        output.field("store", format_args!("NEW: there were no snapshots at {} before", session.store))?;
    }
    output.field("name", &snapshot.name)?;
    output.field("database", format_args!("{}, as of {}", db.display(), timestamp(snapshot.created_at)))?;
    if let Some(base) = chain.first() {
        let length = counted(chain.len() as u64 + 1, "snapshot");
        output.field("base", format_args!("{}; the chain has {length} now", base.id))?;
    }
    if let Some(stored) = &snapshot.changes {
        output.field("changes", changes(stored))?;
    }
    output.field("vectors", shape(snapshot))?;
    match chain.last() {
        Some(full) => output.field("size", share(snapshot, full))?,
        None => output.field("size", ratio(snapshot))?,
    }
    let (number, things) = match &snapshot.changes {
        Some(Changes { added, changed, removed, .. }) => (added + changed + removed, "changes"),
        None => (snapshot.vector_count as u64, "records"),
    };
    output.field("time", pace(taken, number, things))?;
    print_transferred(&output, transferred, taken)?;
    output.field("checksum", &snapshot.checksum)?;
    if let Some(irregular) = &snapshot.irregular {
        print_irregular(&output, irregular)?;
    }
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    let verify = session.command(&format!("verify {}", snapshot.id));
    output.line(format_args!("next: {verify}, or restore {} --to FILE", snapshot.id))
}

pub(crate) fn labels(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        if labels.contains_key(&key) {
            let message = format!("the label {key:?} is given twice, but a label has one value");
            return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)));
        }
        labels.insert(key, value);
    }
    Ok(labels)
}

/// Checks a directory that may not be needed for a long time: a mistyped one should not show on the busiest day.
pub(crate) fn check_scratch_dir(scratch_dir: Option<&Path>) -> Result<(), Failure> {
    match scratch_dir {
        Some(path) if !path.is_dir() => {
            let message = format!("--scratch-dir {}: the directory does not exist", path.display());
            Err(Failure::new(ErrorKind::NotFound, message))
        }
        _ => Ok(()),
    }
}

fn explained(path: &Path, error: SnapshotError) -> Failure {
    let (kind, shown) = (error.kind(), quoted_path(path));
    let failure = Failure::from(error);
    match kind {
        ErrorKind::NotFound => failure.with_hint(format!("check --db {shown}")),
        ErrorKind::Corrupt => failure.with_hint("no snapshot was created; `list` shows the newest one from before"),
        _ => failure,
    }
}
