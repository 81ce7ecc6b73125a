//! Process groups that this program has started, one for each command: the processes of a group end together, at the latest with this program.
//! A process that leaves its group, and all of them if this program is killed, go on. What a command is started for is not known here.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// The groups whose first process was not waited for yet, so that no other process can have its number.
static AT_WORK: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
/// How often, and after which pause, the groups are asked for before the program ends without them.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Kills all groups, because the program ends at once. None is started any more.
pub(crate) fn kill_all() {
    let Some(at_work) = at_work_soon() else { return };
    for group in at_work.iter() {
        let _has_ended = kill_process_group(*group, Signal::KILL);
    }
    // It stays locked.
    std::mem::forget(at_work);
}

/// Waits for the groups, but not for ever: a program that is being started may be on a disk that does not respond.
#[expect(clippy::disallowed_methods, reason = "nothing announces that the program has started")]
fn at_work_soon() -> Option<MutexGuard<'static, Vec<Pid>>> {
    (0..LOCK_ATTEMPTS).find_map(|attempt| {
        if attempt > 0 {
            thread::sleep(LOCK_PAUSE);
        }
        match AT_WORK.try_lock() {
            Ok(groups) => Some(groups),
            Err(TryLockError::Poisoned(groups)) => Some(groups.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    })
}

fn at_work() -> MutexGuard<'static, Vec<Pid>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command, and what it has started. All of it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    child: Child,
    id: Pid,
}

impl ProcessGroup {
    /// Starts a command as the first process of a group of its own.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        // A program that ends at once must not miss a group that has just started.
        let mut at_work = at_work();
        let child = command.process_group(0).spawn()?;
        let id = Pid::from_child(&child);
        at_work.push(id);
        Ok(Self { child, id })
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
