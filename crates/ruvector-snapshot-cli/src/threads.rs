//! The threads and the open files without which no command works: made sure of before a command begins, so that their
//! lack is an error and no panic or deadlock in the middle of it.
//!
//! tokio panics if it cannot start the first thread of a kind, and a task waits for ever if all threads that could run it
//! wait for that task. If there are some threads that never end, it makes do with them when no more can be started.

use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use ruvector_snapshot::{ErrorKind, SnapshotError};
use tokio::runtime::{Builder, Runtime};

/// Threads that run what does not block: more do not make a command faster, since what computes runs elsewhere.
const WORKERS_MAX: usize = 8;
/// Threads for what blocks or computes that are started at once: one reads the database all the time, and waits for the
/// others.
const BLOCKING_MIN: usize = 3;
/// Threads for what blocks or computes that are started when they are needed, besides one for each processor.
const BLOCKING_MORE: usize = 64;
/// Files and connections, two each, that a command needs at the same time at least.
const PAIRS_OF_FILES: usize = 10;
/// Ends a wait for threads that cannot be started after all.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long threads that have ended may take to vanish, in pauses of a millisecond.
const PAUSES_MAX: usize = 1000;
/// The main thread and that of the signals.
const OWN_THREADS: usize = 2;
/// Threads that wait for work do not end.
const KEEP_ALIVE: Duration = Duration::from_secs(u32::MAX as u64);

/// Checks that so many files can be opened as every command needs.
pub(crate) fn check_open_files() -> Result<(), SnapshotError> {
    let opened: io::Result<Vec<_>> = (0..PAIRS_OF_FILES).map(|_| UnixStream::pair()).collect();
    let failed = |error| SnapshotError::new(ErrorKind::Unavailable, "cannot start").with_source(error);
    opened.map(drop).map_err(failed)
}

/// Starts the runtime of a command and the threads that it needs. How many there are does not depend on the environment.
pub(crate) fn runtime() -> Result<Runtime, SnapshotError> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let workers = workers(processors.clamp(1, WORKERS_MAX))?;
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).max_blocking_threads(processors + BLOCKING_MORE);
    let runtime = unless_panicked(|| builder.enable_all().thread_keep_alive(KEEP_ALIVE).build())?;
    match unless_panicked(|| start_blocking_threads(&runtime)) {
        Ok(()) => Ok(runtime),
        Err(error) => {
            // It may wait for threads that cannot be started.
            runtime.shutdown_background();
            Err(error)
        }
    }
}

/// Runs work after a command has ended, when its runtime has gone. `None` if this is not possible any more.
pub(crate) fn run_afterwards<T>(work: impl Future<Output = T>) -> Option<T> {
    wait_for_ended_threads(OWN_THREADS);
    unless_panicked(|| Ok(Builder::new_current_thread().enable_all().build()?.block_on(work))).ok()
}

/// Returns how many threads can run what does not block, at most `wanted`, if there are enough for the rest.
fn workers(wanted: usize) -> Result<usize, SnapshotError> {
    let before = own_threads();
    let may_end = Arc::new(AtomicBool::new(false));
    let (mut probes, mut refused) = (Vec::new(), None);
    while probes.len() < wanted + BLOCKING_MIN && refused.is_none() {
        let may_end = may_end.clone();
        let probe = move || {
            while !may_end.load(Ordering::Acquire) {
                thread::park();
            }
        };
        match thread::Builder::new().spawn(probe) {
            Ok(probe) => probes.push(probe),
            Err(error) => refused = Some(error),
        }
    }
    may_end.store(true, Ordering::Release);
    probes.iter().for_each(|probe| probe.thread().unpark());
    let found = probes.into_iter().map(thread::JoinHandle::join).filter(Result::is_ok).count();
    before.into_iter().for_each(wait_for_ended_threads);
    match (found.saturating_sub(BLOCKING_MIN), refused) {
        (0, Some(error)) => Err(not_started(error)),
        (workers, _) => Ok(workers.max(1)),
    }
}

/// Starts threads that run what blocks, and waits until all of them run.
fn start_blocking_threads(runtime: &Runtime) -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    // Held until all have arrived: none of them can do the work of two.
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let (arrived, arrivals) = mpsc::channel();
    for _ in 0..BLOCKING_MIN {
        let (gate, arrived) = (gate.clone(), arrived.clone());
        drop(runtime.spawn_blocking(move || {
            let _waiting = arrived.send(());
            drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
        }));
    }
    let all = (0..BLOCKING_MIN).try_for_each(|_| arrivals.recv_timeout(START_TIMEOUT));
    drop(closed);
    all.map_err(|_| io::ErrorKind::WouldBlock.into())
}

/// Runs work in which tokio panics if it cannot start a thread. Between the check and this, other processes of the user
/// may have started theirs.
fn unless_panicked<T>(work: impl FnOnce() -> io::Result<T>) -> Result<T, SnapshotError> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let answer = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    answer.unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into())).map_err(not_started)
}

fn not_started(error: io::Error) -> SnapshotError {
    SnapshotError::thread("start the threads of the program", error)
}

/// Waits until this process has no more threads than that. The system counts a thread for a moment after it has ended.
#[expect(clippy::disallowed_methods, reason = "no event says that the system does not count a thread any more")]
fn wait_for_ended_threads(threads: usize) {
    let mut pauses = 0;
    while own_threads().is_some_and(|own| own > threads) && pauses < PAUSES_MAX {
        thread::sleep(Duration::from_millis(1));
        pauses += 1;
    }
}

/// Returns the number of threads of this process, if the system reports it.
fn own_threads() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}
