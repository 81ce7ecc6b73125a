//! What the service manager of the system is sent: that the daemon is ready, alive, reading its configuration again, or stopping.
//! See sd_notify(3). Without a service manager, nothing is sent.
//!
//! What cannot be sent is lost: the service manager then acts as if the daemon did not respond, and no backup stops because of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use ruvector_snapshot::scheduler::JobStatus;

use crate::output::{Zone, plain};

/// The address of the service manager.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// Within how many microseconds the service manager wants to hear of the daemon, and which process that is.
const WATCHDOG_VARIABLES: [&str; 2] = ["WATCHDOG_USEC", "WATCHDOG_PID"];
/// The scheduler calls at least once a minute. A watchdog with less than twice that needs more.
const SLOW_WATCHDOG: Duration = Duration::from_secs(120);
/// How long a message may wait for room in the socket.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The service manager.
#[derive(Debug)]
pub(super) struct Service {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    /// The last status, which is not repeated.
    status: Mutex<String>,
}

impl Service {
    /// Returns the one that has started this process.
    pub(super) fn of_environment() -> Self {
        let socket = std::env::var_os(SOCKET_VARIABLE).and_then(|address| connected(&address).ok());
        let [usec, pid] = WATCHDOG_VARIABLES.map(|name| std::env::var(name).ok());
        let is_own = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let usec = usec.and_then(|usec| usec.parse().ok()).filter(|usec| *usec > 0 && is_own);
        Self { socket, watchdog: usec.map(Duration::from_micros), status: Mutex::default() }
    }

    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// The service manager waits for [`ready`](Self::ready) then.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}{:06}", now.tv_sec, now.tv_nsec / 1000));
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// Sends that the scheduler has decided what to do next, and what that is.
    pub(super) fn waiting(&self, jobs: &[JobStatus]) {
        self.alive();
        let text = status(jobs);
        let mut last = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != text {
            self.send(&format!("STATUS={text}"));
            *last = text;
        }
    }

    /// Sends that the loop of the scheduler is polled, as often as a short watchdog wants. Never ends.
    pub(super) async fn keep_alive(&self) {
        let Some(watchdog) = self.watchdog.filter(|watchdog| *watchdog < SLOW_WATCHDOG) else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval((watchdog / 2).max(Duration::from_millis(1)));
        loop {
            ticks.tick().await;
            self.alive();
        }
    }

    fn alive(&self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!(%error, "the service manager was not reached");
        }
    }
}

/// Connects to an address: a path, or after `@` a name that is no file.
fn connected(address: &OsStr) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    socket.connect_addr(&match address.as_bytes().strip_prefix(b"@") {
        Some(name) => abstract_address(name)?,
        None => SocketAddr::from_pathname(address)?,
    })?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> std::io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> std::io::Result<SocketAddr> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Returns what the jobs do, in one line.
fn status(jobs: &[JobStatus]) -> String {
    let running: Vec<&str> = jobs.iter().filter(|job| job.running_since.is_some()).map(|job| &*job.name).collect();
    let failed: Vec<&str> = jobs.iter().filter(|job| job.failures > 0).map(|job| &*job.name).collect();
    let next = jobs.iter().filter_map(|job| Some((job.next_run?, &job.name))).min();
    let running = (!running.is_empty()).then(|| format!("at work: {}", running.join(", ")));
    let next = next.map(|(time, name)| format!("next run: {name} at {}", Zone::Utc.time(time)));
    let failed = (!failed.is_empty()).then(|| format!("failed: {}", failed.join(", ")));
    let parts: Vec<String> = [running, next, failed].into_iter().flatten().collect();
    plain(&parts.join("; "))
}
