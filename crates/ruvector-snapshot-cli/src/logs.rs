//! Where the log of a run goes: to standard error with `-v` or `RUST_LOG`, where lines that are not read are lost, and to the file of `--log-file`. What is logged
//! are the events of the library, and, in a file, what the program prints to standard error as well. Results are not logged.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use ruvector_snapshot::{ErrorKind, SnapshotError};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::Failure;
use crate::global::{Global, LogFormat};
use crate::stderr;
use crate::values::DIRECTORY_PREFIX;

/// The environment variable with the levels of the log, as many programs have it.
const VARIABLE: &str = "RUST_LOG";
/// The crates whose events are logged. Those of others are not: events of HTTP libraries can contain credentials.
const CRATES: [&str; 4] = ["ruvector_snapshot", "ruvector_snapshot_cli", "ruvector_snapshot_format", "redb_live"];
/// The target of what is printed to standard error anyway, and so goes only to a file.
pub(crate) const PRINTED: &str = "ruvector_snapshot_cli::printed";

/// Returns whether the log goes to standard error, where a progress bar would overwrite it.
pub(crate) fn is_on_stderr(global: &Global) -> bool {
    global.log_file.is_none() && (global.verbose > 0 || levels().is_some())
}

/// Starts the log, if there is one.
pub(crate) fn start(global: &Global) -> Result<(), Failure> {
    if global.log_file.is_none() && !is_on_stderr(global) {
        return Ok(());
    }
    let filter = filter(global.verbose, levels().as_deref());
    let layer = match &global.log_file {
        Some(path) => layer(global.log_format, Mutex::new(LogFile(open(path)?)), filter, |_| true),
        None => layer(global.log_format, || stderr::Log, filter, |metadata| metadata.target() != PRINTED),
    };
    // It fails only if a program that contains this one has a log of its own.
    let _started = tracing_subscriber::registry().with(layer).try_init();
    Ok(())
}

/// Whether something could not be written to the file of the log.
static IS_INCOMPLETE: AtomicBool = AtomicBool::new(false);

/// Returns whether the file of the log lacks something, for example because the disk is full. What a pipe had no room for
/// does not count.
pub(crate) fn is_incomplete() -> bool {
    IS_INCOMPLETE.load(Ordering::Relaxed)
}

/// The file of the log. A failure stops no backup, but is remembered.
struct LogFile(File);

impl Write for LogFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer).inspect_err(|error| {
            if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                IS_INCOMPLETE.store(true, Ordering::Relaxed);
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Returns the levels that the environment gives.
fn levels() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|levels| !levels.trim().is_empty())
}

/// `-v` counts before the variable. A file without either has what a person would want to know later.
fn filter(verbose: u8, variable: Option<&str>) -> EnvFilter {
    let level = match (verbose, variable) {
        (0, Some(levels)) => return EnvFilter::builder().parse_lossy(levels),
        (0 | 1, _) => LevelFilter::INFO,
        (2, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    EnvFilter::default().add_directive(level.into())
}

fn layer<S, W>(
    format: LogFormat,
    writer: W,
    filter: EnvFilter,
    is_wanted: fn(&Metadata<'_>) -> bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let is_own = move |metadata: &Metadata<'_>| {
        let root = metadata.target().split("::").next().unwrap_or_default();
        CRATES.contains(&root) && is_wanted(metadata)
    };
    let filter = filter.and(filter_fn(is_own));
    // A log that cannot be written, for example because the disk is full, does not stop a backup.
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).log_internal_errors(false);
    match format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

/// Digits with which every id begins: its date.
const ID_DATE: usize = 8;
/// How much of a file shows whether it is text.
const TEXT_BYTES: u64 = 512;

/// Returns what a file is that is no log, and that a log must not be appended to: a file of a store, a database, or
/// anything else that is not text.
fn other_use(path: &Path) -> Option<&'static str> {
    let real = path.canonicalize().ok()?;
    if !real.is_file() {
        return None;
    }
    let directory = real.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let id = directory.as_deref().and_then(|name| name.strip_prefix(DIRECTORY_PREFIX));
    if id.is_some_and(|id| id.len() > ID_DATE && id.chars().take(ID_DATE).all(|c| c.is_ascii_digit())) {
        return Some("a file of a snapshot");
    }
    if real.extension().is_some_and(|extension| extension == "toml") {
        return Some("a configuration file");
    }
    let mut beginning = Vec::new();
    File::open(&real).and_then(|file| file.take(TEXT_BYTES).read_to_end(&mut beginning)).ok()?;
    // A character can end after the part that was read.
    let is_text = match std::str::from_utf8(&beginning) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    (!is_text || beginning.contains(&0)).then_some("no text file, for example a database")
}

fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Opens the file of the log, which only its owner can read, and appends to it.
fn open(path: &Path) -> Result<File, Failure> {
    if let Some(what) = other_use(path) {
        let message = format!("{} is {what}, and a log there would damage it", path.display());
        return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message))
            .with_hint("nothing was done and nothing was written; choose another file for --log-file"));
    }
    // A pipe without a reader would keep a backup waiting for ever: it is refused, and what does not fit into it is lost.
    let flags = if is_pipe(path) { libc::O_NONBLOCK } else { 0 };
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    opened.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "nothing was done; the directory of --log-file must exist",
            std::io::ErrorKind::IsADirectory => {
                "nothing was done; --log-file is a directory: give the name of a file in it"
            }
            std::io::ErrorKind::PermissionDenied => {
                "nothing was done; check the owner and the permissions of --log-file, and which user runs this program"
            }
            _ => "nothing was done; check --log-file",
        };
        Failure::from(SnapshotError::io(path, "open the log file", error)).with_hint(hint)
    })
}
