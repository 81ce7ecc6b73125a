//! Real object stores as processes on 127.0.0.1: installs, starts, lists and stops them. Linux only.
//!
//! Everything that a server stores is in one directory. A server that was stopped or killed starts again in its
//! directory with the same port, credentials and objects. A start that fails or is interrupted leaves no process.
//!
//! The tests that run against these servers are not here.
//!
//! | file | contents |
//! |---|---|
//! | `directory.rs` | the directory of a server: lock, credentials, port |
//! | `process.rs` | processes: launch, find, wait, end |
//! | `network.rs` | free ports, and HTTP status checks |
//! | `minio.rs`, `radosgw.rs`, `garage.rs` | how one server is installed and launched |
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod directory;
mod garage;
pub(crate) mod minio;
pub(crate) mod network;
pub(crate) mod process;
mod radosgw;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) use directory::{Directory, random_hex};

/// The bucket that [`start`] creates.
pub const BUCKET: &str = "ruvector-snapshot-test";
const REGION: &str = "us-east-1";
/// Number of ports that [`start`] tries. A port that looks free may be taken before the server listens on it.
const PORT_ATTEMPTS: usize = 5;
/// How long [`stop`] waits for another start or stop in the same directory.
const STOP_LOCK_TIMEOUT: Duration = Duration::from_secs(300);

/// An object store that can be installed and started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// MinIO and its client mc, built from source by Go.
    Minio,
    /// Ceph radosgw with one monitor and one OSD in memory, from the packages of the distribution.
    Radosgw,
    /// Garage with one node, built from source by Cargo.
    Garage,
}

impl ServerKind {
    /// All servers.
    pub const ALL: [Self; 3] = [Self::Minio, Self::Radosgw, Self::Garage];

    /// Returns the name that the command line uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minio => "minio",
            Self::Radosgw => "radosgw",
            Self::Garage => "garage",
        }
    }

    /// Returns the version if the server is installed.
    pub fn installed_version(self, context: &Context) -> Option<String> {
        match self {
            Self::Minio => minio::installed_version(context),
            Self::Radosgw => radosgw::installed_version(context),
            Self::Garage => garage::installed_version(context),
        }
    }

    fn launch(self, context: &Context, instance: &Instance) -> Result<(), ServerError> {
        match self {
            Self::Minio => minio::start(context, instance),
            Self::Radosgw => radosgw::start(context, instance),
            Self::Garage => garage::start(context, instance),
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ServerKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| format!("unknown server \"{name}\""))
    }
}

/// The reason why a server was not installed, started or stopped.
#[derive(Debug)]
pub enum ServerError {
    /// This machine lacks something that the server needs.
    Unavailable(String),
    /// Something failed.
    Failed(String),
    /// [`Context::interrupt`] was called.
    Interrupted,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(f, "skipped: {reason}"),
            Self::Failed(reason) => f.write_str(reason),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for ServerError {}

/// What all operations need: the directory of installed programs, the output for messages, and the interrupt flag.
pub struct Context {
    cache: PathBuf,
    report: Box<dyn Fn(&str) + Send + Sync>,
    is_interrupted: AtomicBool,
}

impl Context {
    /// Returns a context that passes progress messages to `report`.
    ///
    /// Programs that are built from source are kept in the directory that `RUVECTOR_SNAPSHOT_SERVERS` names. The
    /// default is `~/.cache/ruvector-snapshot/servers`.
    ///
    /// # Errors
    ///
    /// Returns [`ServerError::Failed`] if neither `RUVECTOR_SNAPSHOT_SERVERS` nor `HOME` is set.
    pub fn new(report: impl Fn(&str) + Send + Sync + 'static) -> Result<Self, ServerError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || Some(variable("HOME")?.join(".cache/ruvector-snapshot/servers"));
        let cache = variable("RUVECTOR_SNAPSHOT_SERVERS").or_else(home);
        let cache = cache.ok_or_else(|| failed("HOME is not set; set it or RUVECTOR_SNAPSHOT_SERVERS"))?;
        Ok(Self { cache, report: Box::new(report), is_interrupted: AtomicBool::new(false) })
    }

    /// Makes running operations end with [`ServerError::Interrupted`] after they have ended what they started.
    pub fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::SeqCst);
    }

    pub(crate) fn check_interrupt(&self) -> Result<(), ServerError> {
        if self.is_interrupted.load(Ordering::SeqCst) { Err(ServerError::Interrupted) } else { Ok(()) }
    }

    fn report(&self, message: impl AsRef<str>) {
        (self.report)(message.as_ref());
    }

    /// Returns the directory of programs that were built from source.
    fn bin(&self) -> PathBuf {
        self.cache.join("bin")
    }
}

/// A server as it is launched: its directory, address and credentials.
pub(crate) struct Instance {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// A server that is running.
#[derive(Debug)]
pub struct RunningServer {
    /// The directory to pass to [`stop`].
    pub dir: PathBuf,
    /// The server, if its directory still exists.
    pub kind: Option<ServerKind>,
    /// The names and ids of its processes.
    pub processes: Vec<(String, u32)>,
}

/// Installs a server, unless it is installed, and returns a sentence about the result.
///
/// # Errors
///
/// Returns [`ServerError::Unavailable`] if this machine cannot have the server.
pub fn install(context: &Context, kind: ServerKind) -> Result<String, ServerError> {
    if let Some(version) = kind.installed_version(context) {
        return Ok(format!("{kind} is installed: {version}"));
    }
    match kind {
        ServerKind::Minio => minio::install(context)?,
        ServerKind::Radosgw => radosgw::install(context)?,
        ServerKind::Garage => garage::install(context)?,
    }
    let version = kind.installed_version(context);
    let version = version.ok_or_else(|| failed(format!("{kind} was installed, but its programs do not run")))?;
    Ok(format!("installed {kind}: {version}"))
}

/// Starts a server with a bucket and returns the environment variables for the tests.
///
/// The directory is created if it does not exist. Without one, the server uses a temporary directory that [`stop`]
/// deletes. Without a port, a free one is chosen.
///
/// # Errors
///
/// Returns [`ServerError::Unavailable`] if this machine lacks something, and [`ServerError::Failed`] if the server is
/// not installed, does not start, or runs already. No process is left running in these cases.
pub fn start(
    context: &Context,
    kind: ServerKind,
    dir: Option<&Path>,
    port: Option<u16>,
) -> Result<Vec<(&'static str, String)>, ServerError> {
    if !Path::new("/proc/self/environ").exists() {
        return Err(ServerError::Unavailable(format!("{kind}: processes are found in /proc, which only Linux has")));
    }
    if kind.installed_version(context).is_none() {
        return Err(failed(format!("{kind} is not installed; run: cargo run -p test-servers -- install {kind}")));
    }
    let directory = match dir {
        Some(dir) => Directory::open_or_create(dir, kind)?,
        None => Directory::temporary(kind)?,
    };
    let _lock = directory.try_lock()?.ok_or_else(|| {
        failed(format!("cannot start in {}: another start or stop is at work there", directory.path().display()))
    })?;
    if !process::find(directory.path(), kind.name()).is_empty() {
        return Err(failed(format!("{kind} runs in {} already; stop it first", directory.path().display())));
    }
    // Ceph may still run although its radosgw was killed.
    process::end_all(context, directory.path())?;
    let started = start_on_some_port(context, kind, &directory, port);
    if started.is_err() {
        process::end_all(context, directory.path())?;
        directory.delete_if_temporary()?;
    }
    started.map(|instance| environment(&instance))
}

/// Ends all processes that were started in a directory, also after a start that failed or was killed.
///
/// # Errors
///
/// Returns [`ServerError::Failed`] if the directory is not that of a server, or if a process does not end.
pub fn stop(context: &Context, dir: &Path) -> Result<(), ServerError> {
    let directory = Directory::open(dir)?;
    let _lock = directory.lock_within(context, STOP_LOCK_TIMEOUT)?;
    process::end_all(context, directory.path())?;
    directory.delete_if_temporary()
}

/// Returns the servers that are running, including those of tests, by directory.
pub fn running() -> Vec<RunningServer> {
    let mut servers: Vec<RunningServer> = Vec::new();
    for process in process::find_all() {
        let entry = (process.name, process.id);
        match servers.iter_mut().find(|server| server.dir == process.dir) {
            Some(server) => server.processes.push(entry),
            None => {
                let kind = Directory::open(&process.dir).ok().map(|directory| directory.kind());
                servers.push(RunningServer { dir: process.dir, kind, processes: vec![entry] });
            }
        }
    }
    servers.sort_by(|one, other| one.dir.cmp(&other.dir));
    servers
}

fn start_on_some_port(
    context: &Context,
    kind: ServerKind,
    directory: &Directory,
    port: Option<u16>,
) -> Result<Instance, ServerError> {
    let (access_key, secret_key) = directory.credentials()?;
    let fixed_port = port.or_else(|| directory.port());
    let mut instance = Instance { dir: directory.path().to_owned(), port: 0, access_key, secret_key };
    let attempts = if fixed_port.is_some() { 1 } else { PORT_ATTEMPTS };
    for _ in 0..attempts {
        instance.port = fixed_port.map_or_else(network::free_port, Ok)?;
        if !network::is_free(instance.port) {
            return Err(failed(format!("port {} is in use; choose another with --port", instance.port)));
        }
        context.report(format!("starting {kind} on 127.0.0.1:{} in {}", instance.port, instance.dir.display()));
        match kind.launch(context, &instance) {
            Ok(()) => {
                directory.set_port(instance.port)?;
                return Ok(instance);
            }
            Err(ServerError::Failed(reason)) => context.report(format!("{kind} did not start: {reason}")),
            Err(other) => return Err(other),
        }
        report_logs(context, &directory.logs());
        process::end_all(context, directory.path())?;
    }
    Err(failed(format!("{kind} did not start, and none of its processes was left running")))
}

fn environment(instance: &Instance) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", instance.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", instance.secret_key.clone()),
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", instance.port)),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("RUVECTOR_SNAPSHOT_TEST_S3", format!("s3://{BUCKET}/tests")),
        ("RUVECTOR_SNAPSHOT_TEST_SERVER_DIR", instance.dir.display().to_string()),
    ]
}

/// Reports the last lines of every log.
fn report_logs(context: &Context, logs: &Path) {
    for entry in fs::read_dir(logs).into_iter().flatten().flatten() {
        let text = fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        if entry.path().extension().is_some_and(|extension| extension == "out") && !lines.is_empty() {
            context.report(format!("the end of {}:", entry.path().display()));
            lines[lines.len().saturating_sub(6)..].iter().for_each(|line| context.report(line));
        }
    }
}

fn failed(reason: impl Into<String>) -> ServerError {
    ServerError::Failed(reason.into())
}

/// Returns a function that turns an I/O error into a [`ServerError`] that says what could not be done.
fn cannot(what: impl fmt::Display) -> impl FnOnce(io::Error) -> ServerError {
    move |error| failed(format!("cannot {what}: {error}"))
}
