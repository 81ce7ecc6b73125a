//! Process groups that this program has started, one for each command: the processes of a group end together, at the latest with this program.
//! A process that leaves its group, and all of them if this program is killed, go on. What a command is started for is not known here.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// The groups whose first process was not waited for yet, so that no other process can have its number. Never locked for long.
static AT_WORK: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
/// Becomes true when all are killed: none is started any more.
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// Number of programs that are being started. One can be on a disk that does not respond.
static STARTING: AtomicUsize = AtomicUsize::new(0);
/// How often, and after which pause, it is checked whether any is being started, before the program ends without it.
const CHECKS: u32 = 10;
const CHECK_PAUSE: Duration = Duration::from_millis(10);

/// Kills all groups, because the program ends at once. None is started any more.
#[expect(clippy::disallowed_methods, reason = "nothing announces that a program has started")]
pub(crate) fn kill_all() {
    {
        let at_work = at_work();
        IS_ENDING.store(true, Ordering::SeqCst);
        for group in at_work.iter() {
            let _has_ended = kill_process_group(*group, Signal::KILL);
        }
    }
    // What has just started is killed by who has started it.
    for _ in 0..CHECKS {
        if STARTING.load(Ordering::SeqCst) == 0 {
            break;
        }
        thread::sleep(CHECK_PAUSE);
    }
}

fn at_work() -> MutexGuard<'static, Vec<Pid>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a program that is being started.
struct Starting;

impl Starting {
    fn begin() -> Self {
        STARTING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        STARTING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A command, and what it has started. All of it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    child: Child,
    id: Pid,
}

impl ProcessGroup {
    /// Starts a command as the first process of a group of its own. Waits until its program is read, from whichever disk it is on.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let ending = || io::Error::other("the program is ending");
        let _starting = Starting::begin();
        if IS_ENDING.load(Ordering::SeqCst) {
            return Err(ending());
        }
        let child = command.process_group(0).spawn()?;
        let id = Pid::from_child(&child);
        let group = Self { child, id };
        at_work().push(id);
        // All were killed meanwhile, and this one was not among them. It is killed when it is dropped.
        if IS_ENDING.load(Ordering::SeqCst) { Err(ending()) } else { Ok(group) }
    }

    /// Returns whether the first process has ended. The others may go on.
    pub(crate) fn has_ended(&self) -> bool {
        // Without waiting for it: its number stays its own.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.id), options), Ok(None))
    }

    /// Asks all processes of the group to end.
    pub(crate) fn terminate(&self) {
        let _has_ended = kill_process_group(self.id, Signal::TERM);
    }

    /// Kills all processes of the group.
    pub(crate) fn kill(&self) {
        let _has_ended = kill_process_group(self.id, Signal::KILL);
    }

    /// Kills what is left of the group, and returns how its first process has ended. `None` if it has not, for example because it waits for
    /// a disk.
    pub(crate) fn end(mut self) -> Option<ExitStatus> {
        self.reap()
    }

    fn reap(&mut self) -> Option<ExitStatus> {
        let mut at_work = at_work();
        if !at_work.contains(&self.id) {
            return None;
        }
        self.kill();
        let status = self.child.try_wait().ok().flatten()?;
        at_work.retain(|id| *id != self.id);
        Some(status)
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.reap();
    }
}
