//! The applications that jobs have paused, of which a person must know if the program ends at once. Pauses nothing itself.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The jobs whose application may be paused.
static PAUSED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Notes that the application of a job may be paused from now on.
pub(crate) fn begin(job: &str) {
    paused().insert(job.to_owned());
}

/// Notes that the application of a job goes on.
pub(crate) fn end(job: &str) {
    paused().remove(job);
}

/// Returns what is to be done about the applications that may be paused. `None` if there are none.
pub(crate) fn advice() -> Option<String> {
    let jobs: Vec<String> = paused().iter().cloned().collect();
    let commands = if jobs.len() == 1 { "its command resume" } else { "their commands resume" };
    let of = if jobs.len() == 1 { "the job" } else { "the jobs" };
    (!jobs.is_empty()).then(|| format!("what {of} {} pauses may still be paused; run {commands} now", jobs.join(", ")))
}

fn paused() -> MutexGuard<'static, BTreeSet<String>> {
    PAUSED.lock().unwrap_or_else(PoisonError::into_inner)
}
