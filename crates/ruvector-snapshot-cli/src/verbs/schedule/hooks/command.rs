//! Runs a command of a job: without a shell, in a process group of its own, within a time, and without waiting for what it leaves. When a
//! command is run, and what its end means, is not decided here.

use std::any::Any;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config_file::{JobCommand, problem_of_program};
use crate::output::plain;
use crate::process_group::ProcessGroup;

/// What the service manager sends to this program, and to no other.
const NOT_INHERITED: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// How much of the end of the output is kept.
const OUTPUT_BYTES_MAX: usize = 4 << 10;
const READ_BYTES: usize = 16 << 10;
/// How much is read of what was not read when the command has ended.
const REST_BYTES_MAX: usize = 1 << 20;
/// How long a command has to end after SIGTERM, and the system to end what was killed.
const TERM_TIMEOUT: Duration = Duration::from_secs(5);
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a command is checked whose end was not announced.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A call of a command.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) command: &'a JobCommand,
    pub(super) environment: Vec<(&'static str, String)>,
    /// What the command can read from standard input.
    pub(super) input: Vec<u8>,
}

/// Runs a command until it has ended, or until `end` says that it has to. If this future is dropped, the command is asked to end, and
/// killed if it does not. `held` is dropped when nothing is left of the command.
///
/// # Errors
///
/// Returns why it has failed, and the end of its output.
pub(super) async fn run(
    Call { command, environment, input }: Call<'_>,
    end: BoxFuture<'static, ()>,
    held: Box<dyn Any + Send>,
) -> Result<(), String> {
    let (caller, is_dropped) = oneshot::channel::<Infallible>();
    let command = command.clone();
    // A task of its own: it goes on if nothing polls this future any more.
    let task = tokio::spawn(async move {
        let end = async {
            tokio::select! {
                () = end => {}
                _ = is_dropped => {}
            }
        };
        let answer = supervise(&command, environment, input, end).await;
        drop(held);
        answer
    });
    let answer = task.await;
    drop(caller);
    answer.unwrap_or_else(|_| Err("the program is ending".to_owned()))
}

/// Why a command was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Exit,
    Timeout,
    Stop,
}

async fn supervise(
    command: &JobCommand,
    environment: Vec<(&'static str, String)>,
    input: Vec<u8>,
    end: impl Future<Output = ()>,
) -> Result<(), String> {
    // Before the start, so that the end is not missed.
    let mut exits = signal(SignalKind::child()).map_err(|error| format!("it cannot be waited for: {error}"))?;
    let mut end = pin!(end);
    let started = tokio::select! {
        started = timeout(command.timeout, start(command, environment, input)) => started,
        () = &mut end => return Err("it was not started, because the program is ending".to_owned()),
    };
    let late =
        || format!("it could not be started within {} s; check the disk of the program", command.timeout.as_secs());
    let (group, mut pipes) = started.map_err(|_| late())?.map_err(|error| why_not_started(command, &error))?;
    let exit = timeout(command.timeout, ended(&group, &mut exits));
    let cause = tokio::select! {
        biased;
        exit = exit => if exit.is_ok() { Cause::Exit } else { Cause::Timeout },
        () = &mut end => Cause::Stop,
        never = pipes.serve() => match never {},
    };
    if cause != Cause::Exit {
        group.terminate();
        ended_within(TERM_TIMEOUT, &group, &mut exits, &mut pipes).await;
        group.kill();
        ended_within(KILL_TIMEOUT, &group, &mut exits, &mut pipes).await;
    }
    let status = group.end();
    pipes.output.read_rest();
    let output = pipes.said();
    if let (Cause::Exit, true) = (cause, status.is_some_and(|status| status.success())) {
        tracing::debug!(program = %command.program.display(), output, "a command of a job is done");
        return Ok(());
    }
    let how = match cause {
        Cause::Exit => how_ended(status),
        Cause::Timeout => format!("it was killed, because it had not ended after {} s", command.timeout.as_secs()),
        Cause::Stop => "it was killed, because the program is ending".to_owned(),
    };
    Err(if output.is_empty() { how } else { format!("{how}; its last output: {output}") })
}

/// Waits until the first process of a group has ended.
async fn ended(group: &ProcessGroup, exits: &mut Signal) {
    while !group.has_ended() {
        let _announced = timeout(CHECK_INTERVAL, exits.recv()).await;
    }
}

/// Waits for the same, but not for ever. What it writes is read meanwhile.
async fn ended_within(limit: Duration, group: &ProcessGroup, exits: &mut Signal, pipes: &mut Pipes) {
    tokio::select! {
        _ = timeout(limit, ended(group, exits)) => {}
        never = pipes.serve() => match never {},
    }
}

/// Starts a command on a thread of its own: the program may be on a disk that does not respond.
async fn start(
    command: &JobCommand,
    environment: Vec<(&'static str, String)>,
    input: Vec<u8>,
) -> io::Result<(ProcessGroup, Pipes)> {
    let (output, written) = io::pipe()?;
    let (read, to_command) = io::pipe()?;
    let mut process = Command::new(&command.program);
    process.args(&command.args).envs(environment);
    for variable in NOT_INHERITED {
        process.env_remove(variable);
    }
    process.stdin(read).stdout(written.try_clone()?).stderr(written);
    let started = spawn_blocking(move || ProcessGroup::start(&mut process)).await;
    let group = started.map_err(io::Error::other)??;
    let input = Input { pipe: Some(Sender::from_owned_fd(OwnedFd::from(to_command))?), bytes: input, written: 0 };
    let output = Receiver::from_owned_fd(OwnedFd::from(output))?;
    Ok((group, Pipes { input, output: Tail { pipe: Some(output), end: Vec::new(), is_cut: false } }))
}

fn why_not_started(command: &JobCommand, error: &io::Error) -> String {
    let why = problem_of_program(&command.program);
    why.unwrap_or_else(|| format!("cannot start {}: {error}", command.program.display()))
}

fn how_ended(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("it ended with exit code {code}"),
        Some((None, Some(signal))) => format!("it was ended by signal {signal}"),
        _ => "it was killed, and does not end".to_owned(),
    }
}

/// The pipes to a command and from it.
struct Pipes {
    input: Input,
    output: Tail,
}

struct Input {
    /// `None` when everything is written, or the command has closed its end.
    pipe: Option<Sender>,
    bytes: Vec<u8>,
    written: usize,
}

/// The end of what a command has written.
struct Tail {
    /// `None` when the end was read.
    pipe: Option<Receiver>,
    end: Vec<u8>,
    is_cut: bool,
}

impl Pipes {
    /// Writes and reads as long as this is polled.
    async fn serve(&mut self) -> Infallible {
        tokio::join!(self.input.write(), self.output.read());
        pending().await
    }

    /// Returns the end of the output in one line.
    fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.output.end);
        let lines: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(plain).collect();
        format!("{}{}", if self.output.is_cut { "… " } else { "" }, lines.join(" | "))
    }
}

impl Input {
    async fn write(&mut self) {
        while let Some(pipe) = &self.pipe {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            if rest.is_empty() || pipe.writable().await.is_err() {
                break;
            }
            match pipe.try_write(rest) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It need not read what it is given.
                Err(_) => break,
            }
            tokio::task::yield_now().await;
        }
        self.pipe = None;
    }
}

impl Tail {
    async fn read(&mut self) {
        while let Some(pipe) = &self.pipe {
            let is_open = pipe.readable().await.is_ok();
            let mut bytes = [0; READ_BYTES];
            match pipe.try_read(&mut bytes) {
                Ok(read @ 1..) => self.keep(bytes.get(..read).unwrap_or_default()),
                Err(error) if is_open && error.kind() == io::ErrorKind::WouldBlock => {}
                _ => self.pipe = None,
            }
            // One that never stops writing must not keep the others from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Reads what is there, but not for ever: another process may still write.
    fn read_rest(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let (mut bytes, mut rest) = ([0; READ_BYTES], Vec::new());
        // Not by the pipe of the runtime, which may not have heard yet that there is something.
        while let Ok(read @ 1..) = rustix::io::read(pipe, &mut bytes)
            && rest.len() < REST_BYTES_MAX
        {
            rest.extend_from_slice(bytes.get(..read).unwrap_or_default());
        }
        self.keep(&rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.end.extend_from_slice(bytes);
        let more = self.end.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.is_cut |= more > 0;
        self.end.drain(..more);
    }
}
