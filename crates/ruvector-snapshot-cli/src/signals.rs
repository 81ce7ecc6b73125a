//! The signals that stop the program, those that must not, and the one by which a daemon reads its configuration again. What a
//! command does when it is stopped is in `session`.

use std::thread;
use std::time::Duration;

use ruvector_snapshot::{ErrorKind, SnapshotError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Exit;
use crate::output::Output;
use crate::paused;
use crate::process_group::kill_all;
use crate::session::{Interrupts, Reloads};

/// How long the last notice may take.
const NOTICE_TIMEOUT: Duration = Duration::from_millis(200);

/// Listens for signals that stop a program, as long as the process lives. The first one is passed on, the second one
/// ends the process at once. With `hangup_reloads`, SIGHUP stops nothing, and is passed on apart from the others.
pub(crate) fn listen(output: Output, hangup_reloads: bool) -> Result<(Interrupts, Reloads), SnapshotError> {
    let failed = |error| SnapshotError::new(ErrorKind::Unavailable, "cannot receive signals").with_source(error);
    let (sender, receiver) = watch::channel(None);
    let (reload, reloads) = watch::channel(());
    let reload = hangup_reloads.then_some(reload);
    let (ready, is_ready) = std::sync::mpsc::channel();
    // With a thread and a runtime of its own, so that it works while the runtime of the command is shutting down.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let listening = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut signals = match Signals::new(reload) {
                Ok(signals) => signals,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _received = ready.send(Ok(()));
            let _received = sender.send(Some(signals.next().await));
            signals.ignore_repeated().await;
            let exit = signals.next().await;
            kill_and_print_stopped(output);
            std::process::exit(exit as i32);
        });
    });
    listening.map_err(|error| SnapshotError::thread("start the threads of the program", error))?;
    match is_ready.recv() {
        Ok(ready) => ready.map_err(failed)?,
        Err(ended) => return Err(failed(std::io::Error::other(ended))),
    }
    Ok((receiver, reloads))
}

/// Kills what the program has started, and prints that it ends at once. On a thread of its own: a program may be on a disk that does not
/// respond, and standard error a full pipe that is not read.
fn kill_and_print_stopped(output: Output) {
    let (printed, is_printed) = std::sync::mpsc::channel();
    let printing = thread::Builder::new().spawn(move || {
        kill_all();
        output.notice("stopped at once; parts of files or uploads may be left, which are not snapshots");
        if let Some(advice) = paused::advice() {
            output.message(format_args!("warning: {advice}"));
        }
        let _printed = printed.send(());
    });
    if printing.is_ok() {
        let _printed = is_printed.recv_timeout(NOTICE_TIMEOUT);
    }
}

/// Within this time after the first signal, others are the same one.
const REPEATED_WITHIN: Duration = Duration::from_millis(100);

struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    /// Receives SIGHUP, if it stops nothing.
    reload: Option<watch::Sender<()>>,
}

impl Signals {
    fn new(reload: Option<watch::Sender<()>>) -> std::io::Result<Self> {
        // Signals that were ignored at the start, for example SIGHUP under nohup, stay ignored.
        let ignored = ignored_signals();
        let heard =
            |kind: SignalKind| (ignored >> (kind.as_raw_value() - 1) & 1 == 0).then(|| signal(kind)).transpose();
        // Once it has been received like this, it never ends the process any more: a file that reaches the limit of
        // `ulimit -f` is an error of the write, after which everything is cleaned up.
        heard(SignalKind::from_raw(libc::SIGXFSZ))?;
        Ok(Self {
            interrupt: heard(SignalKind::interrupt())?,
            terminate: heard(SignalKind::terminate())?,
            hangup: heard(SignalKind::hangup())?,
            reload,
        })
    }

    /// Ignores what arrives at nearly the same moment: `timeout` sends its signal to the process and to its group.
    async fn ignore_repeated(&mut self) {
        let repeated = async {
            loop {
                self.next().await;
            }
        };
        let _elapsed = tokio::time::timeout(REPEATED_WITHIN, repeated).await;
    }

    /// Waits for the next signal that stops the program, and returns how the program ends because of it.
    async fn next(&mut self) -> Exit {
        loop {
            tokio::select! {
                () = received(&mut self.interrupt) => return Exit::Interrupted,
                () = received(&mut self.terminate) => return Exit::Terminated,
                () = received(&mut self.hangup) => match &self.reload {
                    Some(reload) => reload.send_replace(()),
                    None => return Exit::Hangup,
                },
            }
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Returns the signals that this process ignores, one bit each from the lowest. None if the system does not report
/// them.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
