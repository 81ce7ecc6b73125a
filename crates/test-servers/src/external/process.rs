//! The processes of servers: launches, finds and ends them, and runs programs with a time limit.
//!
//! Every process that is launched here has an environment variable that names its pid file. It is found by this
//! variable, so that no process goes unnoticed, even if the program that launched it is killed at once.
#![expect(clippy::disallowed_methods, reason = "waits for other processes, with a timeout")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::{Context, ServerError, cannot, failed};

/// Set in every process that is launched: `DIR/run/NAME.pid`.
const PID_FILE_VARIABLE: &str = "TEST_SERVERS_PID_FILE";
/// The names of all processes of all servers, each before those that it depends on.
const STOP_ORDER: [&str; 5] = ["minio", "garage", "radosgw", "osd", "mon"];
/// How long a process has to end after a signal.
const END_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A process that was launched here.
pub(crate) struct ServerProcess {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) id: u32,
}

/// Launches a process in the group of this one, so that Ctrl-C ends it too. Its output goes to `DIR/log/NAME.out`.
pub(crate) fn launch(dir: &Path, name: &str, command: &mut Command) -> Result<Child, ServerError> {
    let pid_file = dir.join("run").join(format!("{name}.pid"));
    let log = dir.join("log").join(format!("{name}.out"));
    let log = open_log(&log)?;
    let second = log.try_clone().map_err(cannot("duplicate the handle of a log"))?;
    command.env(PID_FILE_VARIABLE, &pid_file).stdin(Stdio::null()).stdout(log).stderr(second);
    let child = command.spawn().map_err(cannot(format_args!("start {name}")))?;
    fs::write(&pid_file, format!("{}\n", child.id())).map_err(cannot(format_args!("write {}", pid_file.display())))?;
    Ok(child)
}

/// Launches a process that outlives this one.
pub(crate) fn launch_detached(dir: &Path, name: &str, command: &mut Command) -> Result<Child, ServerError> {
    launch(dir, name, command.process_group(0))
}

/// Opens a log for appending.
pub(crate) fn open_log(path: &Path) -> Result<File, ServerError> {
    File::options().create(true).append(true).open(path).map_err(cannot(format_args!("open {}", path.display())))
}

/// Waits until `is_ready` returns true.
pub(crate) fn wait_until_ready(
    context: &Context,
    name: &str,
    child: &mut Child,
    timeout: Duration,
    mut is_ready: impl FnMut() -> bool,
) -> Result<(), ServerError> {
    let deadline = Instant::now() + timeout;
    while !is_ready() {
        context.check_interrupt()?;
        if let Some(status) = child.try_wait().map_err(cannot(format_args!("wait for {name}")))? {
            return Err(failed(format!("{name} ended by itself ({status})")));
        }
        if Instant::now() > deadline {
            return Err(failed(format!("{name} was not ready within {} s", timeout.as_secs())));
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Runs a program to its end. It is killed if it exceeds the timeout or if the context is interrupted.
pub(crate) fn run(context: &Context, command: &mut Command, timeout: Duration) -> Result<ExitStatus, ServerError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.stdin(Stdio::null()).spawn().map_err(cannot(format_args!("run {program}")))?;
    let deadline = Instant::now() + timeout;
    let reason = loop {
        if let Some(status) = child.try_wait().map_err(cannot(format_args!("wait for {program}")))? {
            return Ok(status);
        }
        if let Err(interrupted) = context.check_interrupt() {
            break interrupted;
        }
        if Instant::now() > deadline {
            break failed(format!("{program} did not end within {} s", timeout.as_secs()));
        }
        thread::sleep(POLL_INTERVAL);
    };
    child.kill().map_err(cannot(format_args!("kill {program}")))?;
    child.wait().map_err(cannot(format_args!("wait for {program}")))?;
    Err(reason)
}

/// Runs a program that must succeed, and returns its standard output.
pub(crate) fn output(context: &Context, command: &mut Command, timeout: Duration) -> Result<String, ServerError> {
    // A file takes any amount of output. A pipe that nobody reads would block the program.
    let file = tempfile::NamedTempFile::new().map_err(cannot("create a temporary file"))?;
    let stdout = file.reopen().map_err(cannot("open a temporary file"))?;
    let status = run(context, command.stdout(stdout), timeout)?;
    if !status.success() {
        return Err(failed(format!("{} failed ({status})", command.get_program().to_string_lossy())));
    }
    let bytes = fs::read(file.path()).map_err(cannot("read a temporary file"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns true if a program is on the `PATH`.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Returns the ids of the processes `name` of the server in a directory.
pub(crate) fn find(dir: &Path, name: &str) -> Vec<u32> {
    let processes = find_all().into_iter().filter(|process| process.dir == dir && process.name == name);
    processes.map(|process| process.id).collect()
}

/// Returns the processes of all servers of this user.
pub(crate) fn find_all() -> Vec<ServerProcess> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| identify(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Ends all processes of the server in a directory. It is not interruptible, since it cleans up after an interrupt.
pub(crate) fn end_all(context: &Context, dir: &Path) -> Result<(), ServerError> {
    for name in STOP_ORDER {
        if find(dir, name).is_empty() {
            continue;
        }
        if !end(dir, name, Signal::TERM) && !end(dir, name, Signal::KILL) {
            return Err(failed(format!("{name} in {} does not end", dir.display())));
        }
        context.report(format!("{name} ended"));
    }
    Ok(())
}

/// Sends a signal. Returns true if the processes have ended before the timeout.
fn end(dir: &Path, name: &str, signal: Signal) -> bool {
    let deadline = Instant::now() + END_TIMEOUT;
    let mut signalled = Vec::new();
    loop {
        let ids = find(dir, name);
        if ids.is_empty() {
            return true;
        }
        for id in ids.into_iter().filter_map(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            if !signalled.contains(&id) {
                // An error means that the process has just ended, which the next round shows.
                let _ended = rustix::process::kill_process(id, signal);
                signalled.push(id);
            }
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Returns the process if it was launched here. The environment of a process that has ended is empty.
fn identify(id: u32) -> Option<ServerProcess> {
    let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let value =
        variables.find_map(|variable| variable.strip_prefix(PID_FILE_VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    let pid_file = Path::new(OsStr::from_bytes(value));
    let dir = pid_file.parent()?.parent()?.to_owned();
    Some(ServerProcess { dir, name: pid_file.file_stem()?.to_str()?.to_owned(), id })
}
