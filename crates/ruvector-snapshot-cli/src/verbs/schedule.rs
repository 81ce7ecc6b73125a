//! `schedule`: runs the jobs of the configuration file when they are due (`daemon`) or now (`once`), says what they need
//! (`check`), and what their next runs would do (`next`). `jobs` makes jobs of the library of those of the file, `hooks` runs and
//! calls what a job has besides its work, `reports` prints what runs have done, `service` is the service manager of the system, and
//! `web` has the status page and the metrics of the daemon.

mod absent_store;
mod check;
mod daemon;
mod hooks;
mod jobs;
mod next;
mod once;
mod reports;
mod service;
mod web;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use jobs::file_with_jobs;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::settings::wrong;
use crate::values::{duration, listen_address};

pub(crate) const HELP: &str = "\
Without --once, --once-all, --check and --next, this is a daemon. It runs until SIGTERM or SIGINT stops it, and takes the snapshots of the jobs in the configuration file when they are \
due. It copies, prunes, verifies and drills as the jobs say.

It prints a line for each run that has ended. What fails is printed with --quiet too. With --json, each line is a document. A run that fails is tried again, and \
stops no other job. SIGHUP reads the file again. If that is wrong, a warning says so, and the jobs stay as they were. When it is stopped, runs that are at work \
have --grace to end. After that they are interrupted, and what they have not finished is removed. Under systemd, use Type=notify-reload: the command says when \
it is ready, which run is next, and that it is alive (WatchdogSec=).

With --listen, answers HTTP: / is a status page, with a timeline of the snapshots of each database and why each is kept; /metrics is for Prometheus; /healthz is \
200 while jobs are scheduled; and /readyz is 200 while every job is fresh, and else 503 with the reasons. Only GET is answered, and nothing can be changed. There is \
no password: at another address than 127.0.0.1, everyone who reaches it can read the page.

With --once or --once-all, runs the jobs now and ends, for cron or a timer. SIGHUP then stops it.

With --check, prints for each job whether its databases can be read, its stores and those of its copies can be reached, and the programs of its commands can be run. A store without snapshots \
is a note. Mistakes in the file end every command that reads it, and `config check` lists all of them.

With --next, prints the next N runs of all jobs in the order in which they start, and whether each would take full snapshots or increments. Below that, what \
the store would hold of the databases of each job after these runs. This starts from what the store holds now, and every run is taken to succeed. The \
retention policy of a job is applied after each of its runs. If a store cannot be read, its jobs start from an empty one, with a warning.

A job in the configuration file:

  [[jobs]]
  name = \"nightly\"
  databases = [\"@articles\", \"/srv/users.db\"]
  store = \"@local\"
  when = \"30 2 * * * Europe/Berlin\"
  retention = \"standard\"

A job can run commands (before, after, on_failure, on_recovery, on_stale), pause an application while its databases are read (pause, resume), and send \
requests (ping, webhook):

  ping = \"file:secrets/ping\"
  on_failure = { command = [\"/usr/local/bin/report\", \"backup\"] }

docs/OPERATIONS.md describes all keys, and deploy/ruvector-snapshot.toml is an example. Jobs use the stores that the file names, and not --store.

Examples:
  ruvector-snapshot schedule --check
  ruvector-snapshot schedule --next
  ruvector-snapshot schedule --next 30 --json \\
      --config /etc/ruvector-snapshot/ruvector-snapshot.toml
  ruvector-snapshot schedule --grace 5m --listen
  ruvector-snapshot schedule --listen 0.0.0.0:8462
  ruvector-snapshot schedule --once nightly --quiet

Exit codes: 0 done, or stopped by a signal with nothing interrupted; 1 a run has failed (--once), or a database or a store cannot be reached; 2 wrong \
usage, mistakes in the file, or no job; 3 something is corrupt (--once); 5 done, with warnings (not for the daemon). If a run, or a command or request of a job, had to be interrupted, the code is that of the signal.";

/// How long runs may go on after a signal.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);
/// Runs that are printed if no number is given.
const RUNS_DEFAULT: &str = "10";
/// Where HTTP is answered if no address is given.
const LISTEN_DEFAULT: &str = "127.0.0.1:8462";

#[derive(Debug, Args)]
pub(crate) struct Schedule {
    /// Run this job now, and not when it is due. Can be repeated: then one after the other
    #[arg(long, value_name = "JOB", conflicts_with_all = ["once_all", "check", "next", "grace"])]
    pub(crate) once: Vec<String>,
    /// Run all jobs now, one after the other
    #[arg(long, conflicts_with_all = ["check", "next", "grace"])]
    pub(crate) once_all: bool,
    /// Check that the databases and the stores of all jobs can be reached
    #[arg(long, conflicts_with_all = ["next", "grace"])]
    pub(crate) check: bool,
    /// Print the next N runs, 1 to 1000, and what would be kept [default: 10]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = RUNS_DEFAULT, value_parser = runs, conflicts_with = "grace")]
    pub(crate) next: Option<usize>,
    /// How long runs that are at work may go on when the command is stopped [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) grace: Option<Duration>,
    /// Answer HTTP with a status page, metrics and probes at this address, IP:PORT or a PORT of 127.0.0.1 [default: listen in
    /// the file; without it, there is no HTTP. Without ADDRESS: 127.0.0.1:8462]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = LISTEN_DEFAULT, value_parser = listen_address, conflicts_with_all = ["once", "once_all", "check", "next"])]
    pub(crate) listen: Option<SocketAddr>,
}

impl Schedule {
    /// Returns whether it runs until a signal stops it.
    pub(crate) fn is_daemon(&self) -> bool {
        self.once.is_empty() && !self.once_all && !self.check && self.next.is_none()
    }
}

fn runs(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
    number.ok_or_else(|| "must be a whole number from 1 to 1000".to_owned())
}

pub(crate) async fn schedule(session: &Session, args: &Schedule) -> Result<Exit, Failure> {
    if session.settings.has_typed_store() || !session.options.is_empty() {
        let message = "jobs use the stores that the configuration file names, so --store and -o have no meaning here";
        return Err(wrong(message).with_hint("leave them out, or change the store in the file"));
    }
    let file = file_with_jobs(&session.settings)?;
    match args.next {
        _ if args.is_daemon() => daemon::run(session, file, args.grace.unwrap_or(GRACE_DEFAULT), args.listen).await,
        _ if args.check => check::check(session, file).await,
        Some(runs) => next::next(session, file, runs).await,
        None => once::once(session, file, &args.once).await,
    }
}
