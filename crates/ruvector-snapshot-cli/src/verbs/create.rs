//! `create`: takes a snapshot of a database file. With `--dry-run` it only says what it would store, see `plan`.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

pub(crate) mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ruvector_snapshot::{
    Changes, CreateOptions, EarlierSnapshots, ErrorKind, Remedy, Snapshot, SnapshotConfig, SnapshotError,
    SnapshotManager, SourceInfo, Transferred, check_embedding, check_label, check_name, check_note, check_source_name,
    default_name,
};

use crate::documents::CreateDocument;
use crate::failure::{Exit, Failure, kind_name};
use crate::global::SOURCE_VARIABLE;
use crate::interrupted::Attempts;
use crate::near_store::store_around;
use crate::output::{
    changes, counted, pace, print_embedding, print_irregular, print_transferred, quoted, quoted_path, ratio, shape,
    share,
};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::values::{Pairs, compression_level, label, max_chain, new_path, pairs};

pub(crate) const HELP: &str = "\
The database can be open and in use. A snapshot always contains exactly one committed state. If the file changes too quickly to be read in place, a \
private copy is made in --scratch-dir first, and removed afterwards.

A snapshot holds the database file and nothing else. Files beside it that belong to the database, such as FILE.agentic of AgenticDB, FILE.meta.json of the \
npm command line, or metadata.json and ../aliases.json of a collection, are named in a warning as `not captured`, with exit code 5. `show` and `restore` repeat that. If these files are kept in another way, give \
--allow-not-captured. With --strict and without that, the command fails instead.

Rows of the file that do not form a record, for example metadata that is not JSON, and tables of other programs are kept byte for byte, and named as \
`irregular`. Multimap tables cannot be kept and are `not captured`, too.

A directory that does not exist is created, for its owner only, if the directory above it exists; a bucket is not. A create prints that the store is \
new if it has no snapshots yet. With --require-store it fails instead, with exit code 4, or 1 if the directory or the bucket does not exist: use it for scheduled \
backups, where no snapshots mean a mistyped store or a disk that is not mounted. A create that fails or is interrupted leaves no snapshot.

With --base, only records that changed since the base snapshot are stored. The result can be listed, verified and restored like a full snapshot. \
The base cannot be deleted while the new snapshot exists. If the base is missing or found corrupt, or has other dimensions or another metric, the command \
fails. It never falls back to a full snapshot. A restore reads the whole chain, so take a full snapshot from time to time, or use `compact`.

Of the base and each snapshot that it depends on, create checks metadata.json with its seal, and the sizes of the data files. It reads the leaf tables, \
and the ids and the metadata of records where the database may have changed, and checks those. It does not read the vectors or the rest of the base, so \
corruption there is not found: run `verify` regularly, or use --verify-base, which reads and verifies the whole chain before anything is stored. That \
takes as long as a `verify` of the base; in a bucket it downloads the chain. --verify-after-write includes it. A base that was found corrupt before, itself or \
a snapshot that it depends on, is refused until `verify` finds it intact.

A snapshot records its source: the host and the absolute path of the database, or the name that --source or RUVECTOR_SNAPSHOT_SOURCE gives. Use a name \
in containers, whose host names change. With --base, `latest` and names mean snapshots of the same source. A base of another source is refused, unless \
--base-from-elsewhere is given, for example after the database was moved. If only the host differs, or the database has lost half of its records, the \
command prints a warning.

A snapshot records the embedding space that the database records in its table `config`, and what --embedding says of the model. `show` prints both. With \
--base, a base of another identity is refused, unless --other-embedding is given.

With --dry-run the command reads the database as usual, makes all checks, and says what the snapshot would hold, and how many bytes the store would take at \
most. It writes nothing to the store and creates no directory. It checks whether a \
directory can be written to, and warns if its file system, or that of the scratch directory, may have too little space. In a bucket neither is tried; the compression never is.

Examples:
  ruvector-snapshot create --db vectors.db
  ruvector-snapshot create --db vectors.db --base latest
  ruvector-snapshot create --db vectors.db --base latest --verify-base
  ruvector-snapshot create --db /srv/vectors.db --name nightly \\
      --label host=db1 --store /mnt/backup
  ruvector-snapshot create --db /data/vectors.db --source articles \\
      --base latest
  ruvector-snapshot create --db vectors.db --store s3://bucket/backups \\
      --limit-upload 20MiB
  ruvector-snapshot create --db vectors.db --base latest --dry-run
  ruvector-snapshot create --db @articles --store @offsite

Exit codes: 0 the snapshot is stored; 1 failure, there is no snapshot, unless the error says that there may be one, or only the output could not be \
written; 2 wrong usage; 3 the database or the base is corrupt; 4 there is no such base, or, with --require-store, no snapshot in the store; 5 the snapshot is \
stored, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Database file to back up, or @NAME for a database of the configuration file, with its name, source, labels,
    /// embedding and scratch directory, unless they are given here
    #[arg(long, value_name = "FILE")]
    pub(crate) db: PathBuf,
    /// Name of the snapshot; need not be unique [default: the file name without its extension, or the name of the
    /// directory of a file vectors.db]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Create an incremental snapshot based on this one: an id, a prefix, a name, or latest
    #[arg(long, value_name = "ID")]
    pub(crate) base: Option<String>,
    /// Name of the database, wherever it is. Without it, the path and the host identify the database
    #[arg(long, value_name = "NAME", env = SOURCE_VARIABLE, hide_env_values = true)]
    pub(crate) source: Option<String>,
    /// Accept a base of another database or path
    #[arg(long, requires = "base")]
    pub(crate) base_from_elsewhere: bool,
    /// What is known of the embedding model of the vectors, for example model=all-MiniLM-L6-v2,normalized=true. Can be
    /// repeated. An increment without it has that of its base
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = pairs)]
    pub(crate) embedding: Vec<Pairs>,
    /// Accept a base of another embedding model
    #[arg(long, requires = "base")]
    pub(crate) other_embedding: bool,
    /// Maximum number of snapshots in the chain, including this one, 1 to 1000 [default: 32]
    #[arg(long, value_name = "N", requires = "base", value_parser = max_chain)]
    pub(crate) max_chain: Option<usize>,
    /// Read and verify the whole chain of the base first, as `verify` does. It takes as long as a `verify` of the base
    #[arg(long, requires = "base")]
    pub(crate) verify_base: bool,
    /// Label to store with the snapshot. Can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Note to store with the snapshot: a text of at most 4096 bytes, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Compression level, from 0 (none) to 9 (smallest and slowest)
    #[arg(long, value_name = "0-9", default_value_t = 6, value_parser = compression_level)]
    pub(crate) compression_level: u32,
    /// Store without compression
    #[arg(long, conflicts_with = "compression_level")]
    pub(crate) no_compression: bool,
    /// Verify the base as with --verify-base, and read the stored data back and compare it before the commit. It
    /// downloads as much as it uploads
    #[arg(long)]
    pub(crate) verify_after_write: bool,
    /// Fail if the store has no snapshots yet. For scheduled backups: the disk may not be mounted
    #[arg(long)]
    pub(crate) require_store: bool,
    /// Accept that something that belongs to the database is not captured: list it, without a warning
    #[arg(long)]
    pub(crate) allow_not_captured: bool,
    /// Directory for a private copy of a database that is being written [default: the system's temporary
    /// directory]
    #[arg(long, value_name = "DIR", value_parser = new_path())]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Read the database and print what would be stored. Writes nothing to the store
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn create(session: &Session, args: Create) -> Result<Exit, Failure> {
    let args = with_database(session, args)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => default_name(&args.db),
    };
    check_name(&name).map_err(Failure::usage)?;
    args.note.as_deref().map_or(Ok(()), check_note).map_err(Failure::usage)?;
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
    // What is accepted is no reason to fail.
    let strict = session.strict && !args.allow_not_captured;
    let mut options =
        CreateOptions::default().labels(labels).base_from_elsewhere(args.base_from_elsewhere).strict(strict);
    (options.source_name, options.note) = (source_name, args.note);
    options = embedding(options, args.embedding)?.other_embedding(args.other_embedding);
    // Before anything is created in the store: a mistyped path leaves nothing behind.
    let checked = SnapshotManager::check_source_with(&args.db, &config, &options).await;
    checked.map_err(|error| explained(session, &args.db, error))?;
    let scratch_dir = config.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
    let (manager, chain) = match &args.base {
        None => (open_for_full(session, config, args.dry_run)?, Vec::new()),
        Some(base) => open_with_base(session, config, base, &args.db, &options).await?,
    };
    if manager.check_outside(&args.db, "a database").is_err() {
        session.warnings.add(&format!(
            "the database {} is inside of a store: no snapshot can be restored to this path; keep the store in a directory of its own",
            quoted_path(&args.db)
        ));
    }
    if let Some(base) = chain.first() {
        options = options.base_id(base.id.as_str()).verify_base(args.verify_base);
    }
    let not_created = |failure| not_created(session, failure, chain.first());
    let earlier = match chain.is_empty() {
        true => earlier(session, &manager, &args.db, &options, args.dry_run).await?,
        false => EarlierSnapshots::default(),
    };
    if args.dry_run {
        let plan = plan::plan(session, &manager, &args.db, &name, options).await.map_err(not_created)?;
        warn_of_differences(session, &earlier, &plan.source, plan.records);
        plan::print(session, &plan, &args.db, &scratch_dir, args.allow_not_captured)?;
        return Ok(Exit::Success);
    }
    // The base of an increment is there, and --require-store is checked by the create.
    let store_is_new = chain.is_empty() && !args.require_store && earlier.is_new_store();
    if store_is_new && let Some(warning) = store_around(&location) {
        session.warnings.add(&warning);
    }
    let started = Instant::now();
    let attempts = Attempts::default();
    let (created, transferred) = {
        let progress = ProgressDisplay::new(session, &attempts);
        let options = options.progress(progress.listener());
        let after_interrupt = attempts.report(&manager, location);
        let work = manager.create_snapshot_of_file(&args.db, &name, &options);
        (session.run(&manager, work, after_interrupt).await, progress.transferred())
    };
    let snapshot = created.map_err(not_created)?;
    session.ids.add(&snapshot.id);
    warn_of_differences(session, &earlier, &snapshot.source, snapshot.vector_count as u64);
    let allows_not_captured = args.allow_not_captured;
    let created = Created { snapshot: &snapshot, chain: &chain, store_is_new, transferred, allows_not_captured };
    print(session, &created, &args.db, started.elapsed()).map_err(|failure| failure.after_create(&snapshot.id))?;
    Ok(Exit::Success)
}

/// Returns what a full snapshot is compared with, and learns how short ids can be. It is read before, because the store may not
/// answer any more when the snapshot is there.
async fn earlier(
    session: &Session,
    manager: &SnapshotManager,
    db: &Path,
    options: &CreateOptions,
    dry_run: bool,
) -> Result<EarlierSnapshots, Failure> {
    let source = manager.source_of_file(db, options).map_err(Failure::usage)?;
    let read = async {
        match manager.earlier_of_source(&source).await {
            // A dry run creates no directory.
            Err(error) if dry_run && error.kind() == ErrorKind::NotFound => Ok(EarlierSnapshots::default()),
            earlier => earlier,
        }
    };
    let earlier = session.read(manager, read).await?;
    session.learn_listed(earlier.ids.iter().cloned());
    if earlier.unread > 0 {
        let unread = counted(earlier.unread, "snapshot");
        let list = session.command("list");
        let message =
            format!("the new snapshot is not compared with {unread} that could not be read; `{list}` prints why");
        match earlier.forbidden == earlier.unread {
            // Credentials that may only write are no mistake.
            true if session.output.quiet => {}
            true => session.output.notice(message),
            false => session.warnings.add(&message),
        }
    }
    Ok(earlier)
}

fn warn_of_differences(session: &Session, earlier: &EarlierSnapshots, source: &SourceInfo, records: u64) {
    earlier.differences(source, records).iter().for_each(|difference| session.warnings.add(difference));
}

/// Adds what can be done about a failed create.
fn not_created(session: &Session, failure: Failure, base: Option<&Snapshot>) -> Failure {
    match (failure.remedy(), base) {
        (Some(Remedy::FullSnapshot), Some(base)) => {
            let verify = session.command(&format!("verify {}", base.id));
            failure.with_hint(format!(
                "{WITHOUT_BASE}; `{verify}` shows all that is corrupt, and if it finds nothing, the snapshot can be a base"
            ))
        }
        (Some(Remedy::NewStore), _) => without_store(session, failure),
        (Some(_), _) => failure,
        // Of the base, the remedy would be another.
        (None, _) if failure.kind() == kind_name(ErrorKind::Corrupt) => failure.with_hint(OLDER),
        (None, _) => busy_explained(failure),
    }
}

/// Replaces `@NAME` by the database of the configuration file, with what it says and the options do not.
fn with_database(session: &Session, args: Create) -> Result<Create, Failure> {
    let Some(database) = session.settings.database(&args.db, "--db")? else { return Ok(args) };
    if let (Some(given), Some(own)) = (&args.source, &database.source)
        && given.trim() != own.value
        && std::env::var_os(SOURCE_VARIABLE).is_some_and(|variable| variable == given.as_str())
    {
        session.warnings.add(&format!(
            "the environment variable {SOURCE_VARIABLE} replaces the source {:?} of {} by {:?}",
            own.value,
            args.db.display(),
            given.trim()
        ));
    }
    let is_typed = |key: &str| args.embedding.iter().flat_map(|pairs| &pairs.0).any(|(typed, _)| typed == key);
    let embedding = database.embedding.into_iter().filter(|(key, _)| !is_typed(key)).collect();
    let is_typed = |key: &str| args.labels.iter().any(|(typed, _)| typed == key);
    let labels: Vec<_> = database.labels.into_iter().filter(|(key, _)| !is_typed(key)).collect();
    Ok(Create {
        db: database.path.value,
        name: args.name.or(database.name.map(|name| name.value)),
        source: args.source.or(database.source.map(|source| source.value)),
        scratch_dir: args.scratch_dir.or(database.scratch_dir.map(|path| path.value)),
        labels: args.labels.into_iter().chain(labels).collect(),
        embedding: args.embedding.into_iter().chain([Pairs(embedding)]).collect(),
        ..args
    })
}

/// Adds what was said of the embedding model.
fn embedding(mut options: CreateOptions, given: Vec<Pairs>) -> Result<CreateOptions, Failure> {
    for (key, value) in given.into_iter().flat_map(|pairs| pairs.0) {
        if options.embedding.insert(key.clone(), value).is_some() {
            let message = format!("--embedding gives {key} twice");
            return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)));
        }
    }
    check_embedding(&options.embedding).map_err(Failure::usage)?;
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

/// Opens the store for a full snapshot, and creates its directory unless it must exist already or this is a dry run.
fn open_for_full(session: &Session, config: SnapshotConfig, dry_run: bool) -> Result<SnapshotManager, Failure> {
    match config.require_store {
        true => session.open_with(config).map_err(|failure| without_store(session, failure)),
        false if dry_run => session.open_planned(config),
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
    let id = match session.resolve_base(&manager, base, &source).await {
        Err(failure) if failure.kind() == kind_name(ErrorKind::NotFound) => {
            let is_empty = !session.read(&manager, manager.has_snapshots()).await?;
            return Err(if is_empty { without_snapshots(session, failure) } else { without_base(failure, options) });
        }
        resolved => resolved.map_err(|failure| without_base(failure, options))?,
    };
    let chain = session.read(&manager, manager.chain(&id)).await.map_err(|failure| without_base(failure, options))?;
    Ok((manager, chain))
}

const WITHOUT_BASE: &str = "take a full snapshot first: repeat this command without --base";

/// Says that there is no base yet.
fn without_snapshots(session: &Session, failure: Failure) -> Failure {
    failure
        .with_hint(format!("{WITHOUT_BASE}; if there should be snapshots at {}, check --store", quoted(&session.store)))
}

fn without_base(failure: Failure, options: &CreateOptions) -> Failure {
    let accepts_elsewhere = options.base_from_elsewhere;
    match failure.kind() {
        kind if kind == kind_name(ErrorKind::NotFound) && accepts_elsewhere => failure.with_hint(format!(
            "check --base and --store: --base-from-elsewhere needs the ID of the base, because latest and names mean only snapshots of this source; or {WITHOUT_BASE}"
        )),
        kind if kind == kind_name(ErrorKind::NotFound) => {
            failure.with_hint(format!(
                "check --base and --store; if the database was moved, give the ID of the base and --base-from-elsewhere; or {WITHOUT_BASE}"
            ))
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
        _ => failure,
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
    /// Whether what is not captured is listed, without a warning.
    allows_not_captured: bool,
}

fn print(session: &Session, created: &Created<'_>, db: &Path, taken: Duration) -> Result<(), Failure> {
    let output = session.output;
    let Created { snapshot, chain, store_is_new, transferred, allows_not_captured } = *created;
    let listed = session.warnings.not_captured(&snapshot.source.not_captured, allows_not_captured);
    session.document(&CreateDocument::new(snapshot, chain, store_is_new, transferred))?;
    let id = session.short(&snapshot.id);
    output.line(format_args!("created {id}"))?;
    if store_is_new {
        output.field(
            "store",
            format_args!("NEW: there were no snapshots at {} before{}", session.store, session.store_inside()),
        )?;
    }
    output.field("name", &snapshot.name)?;
    if let Some(source) = &snapshot.source.name {
        output.field("source", source)?;
    }
    output.field("database", format_args!("{}, as of {}", db.display(), output.time(snapshot.created_at)))?;
    if let Some(base) = chain.first() {
        let length = counted(chain.len() as u64 + 1, "snapshot");
        output.field("base", format_args!("{}; the chain has {length} now", session.short(&base.id)))?;
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
    print_embedding(&output, snapshot.embedding.as_ref())?;
    for what in listed {
        output.field("not captured", what)?;
    }
    // Whole: a short id can mean several by the time that the command is used.
    output.next(&session.command(&format!("verify {}", snapshot.id)))
}

pub(crate) fn labels(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        if labels.contains_key(&key) {
            let message = format!("the label {key:?} is given twice, but a label has one value");
            return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)));
        }
        check_label(&key, &value).map_err(Failure::usage)?;
        labels.insert(key, value);
    }
    Ok(labels)
}

/// Checks a directory that may not be needed for a long time: a mistyped one should not show on the busiest day.
pub(crate) fn check_scratch_dir(scratch_dir: Option<&Path>) -> Result<(), Failure> {
    match scratch_dir {
        Some(path) if !path.is_dir() => {
            let why =
                if path.exists() { "this is a file, and not a directory" } else { "the directory does not exist" };
            Err(Failure::new(ErrorKind::NotFound, format!("--scratch-dir {}: {why}", path.display())))
        }
        _ => Ok(()),
    }
}

/// What is left if the database is corrupt.
const OLDER: &str = "no snapshot was created; `list` shows the newest one from before";

fn explained(session: &Session, path: &Path, error: SnapshotError) -> Failure {
    let (kind, shown) = (error.kind(), quoted_path(path));
    let failure = Failure::from(error);
    match kind {
        ErrorKind::NotFound if session.settings.is_database(path) => {
            failure.with_hint(format!("the configuration file has a database of this name: write --db @{shown}"))
        }
        ErrorKind::NotFound => failure.with_hint(format!("check --db {shown}")),
        ErrorKind::Corrupt => failure.with_hint(OLDER),
        _ => failure,
    }
}
