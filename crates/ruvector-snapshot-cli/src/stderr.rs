//! Standard error, if it is a pipe whose reader does not read: what can be lost does not wait for it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the log waits for a reader that is slow. One that does not read at all is waited for once.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Whether the log has waited, and in vain.
static IS_STUCK: AtomicBool = AtomicBool::new(false);

/// Returns whether standard error takes a line at once. A full pipe that is not read never does. O_NONBLOCK is no way out:
/// it would also apply to the other processes that have the pipe.
pub(crate) fn is_ready() -> bool {
    is_ready_within(&Timespec::default())
}

fn is_ready_within(time: &Timespec) -> bool {
    let stderr = io::stderr();
    let mut waited = [PollFd::new(&stderr, PollFlags::OUT)];
    poll(&mut waited, Some(time)).is_ok_and(|ready| ready > 0)
}

/// Writes to standard error, unless that would wait for its reader. A pipe that is ready takes `PIPE_BUF` bytes.
pub(crate) fn write_if_ready(bytes: &[u8]) {
    let mut stderr = io::stderr().lock();
    if bytes.len() <= libc::PIPE_BUF && is_ready() {
        let _printed = stderr.write_all(bytes);
    }
}

/// Standard error as a log has it. What its reader does not take in time is lost: a log stops no backup.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        for part in buffer.chunks(libc::PIPE_BUF) {
            let time = if IS_STUCK.load(Ordering::Relaxed) { Timespec::default() } else { PATIENCE };
            let is_ready = is_ready_within(&time);
            IS_STUCK.store(!is_ready, Ordering::Relaxed);
            if !is_ready {
                break;
            }
            stderr.write_all(part)?;
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
