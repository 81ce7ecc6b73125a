//! Too few threads and too few open files: every command ends, and either succeeds or names the limit. Nothing panics,
//! waits for ever, or takes the lack for a property of a snapshot.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::thread;

use test_servers::{Fault, Request, S3Server};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

/// Ends a command that hangs, in seconds. The exit code is then none of those that are expected.
const TIMEOUT: &str = "120";
/// From this on, there is enough of everything.
const ENOUGH_THREADS: u64 = 6;
const ENOUGH_FILES: u64 = 24;

/// A store, and who uses it.
struct Place {
    sandbox: Sandbox,
    bucket: Option<Bucket>,
    user: Option<u32>,
}

impl Place {
    /// Returns a place with a directory, and one with a bucket. Each has a full snapshot `one` and an increment `two` that
    /// depends on it, both pinned.
    fn both() -> [Self; 2] {
        let bucket = Bucket::s3(S3Server::start());
        let places = [
            Self { sandbox: Sandbox::with_rows(300), bucket: None, user: None },
            Self { sandbox: Sandbox::empty(), bucket: Some(bucket), user: None },
        ];
        for place in &places {
            for args in [
                &["create", "--db", "a.db", "--name", "one"][..],
                &["create", "--db", "a.db", "--name", "two", "--base", "one"],
                &["pin", "one", "two"],
            ] {
                let result = place.run("--nofile=1024", args);
                assert_eq!(result.exit_code, Some(0), "{result:?}");
            }
        }
        places
    }

    fn sandbox(&self) -> &Sandbox {
        self.bucket.as_ref().map_or(&self.sandbox, |bucket| &bucket.sandbox)
    }

    /// Gives everything to a user.
    fn given_to(self, user: u32) -> Self {
        let owner = format!("{user}:{user}");
        let given = Command::new("chown").args(["-R", &owner]).arg(self.sandbox().path(".")).status();
        assert!(given.unwrap().success());
        Self { user: Some(user), ..self }
    }

    /// Runs the program with a limit, as an option of `prlimit`.
    fn run(&self, limit: &str, args: &[&str]) -> RunResult {
        let mut command = self.command(&["timeout", "--signal=KILL", TIMEOUT], limit, args);
        RunResult::from(command.output().unwrap())
    }

    /// Returns a command that runs the program with a limit. Its process is that of the program, if nothing launches it.
    fn command(&self, launcher: &[&str], limit: &str, args: &[&str]) -> Command {
        let inner = self.bucket.as_ref().map_or_else(|| self.sandbox().command(args), |bucket| bucket.command(args));
        let user = self.user.map(|user| format!("setpriv --reuid={user} --regid={user} --clear-groups"));
        let words = user.iter().flat_map(|user| user.split(' ')).chain(["prlimit", limit]);
        let words: Vec<&str> = launcher.iter().copied().chain(words).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        command.current_dir(inner.get_current_dir().unwrap()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // How many threads there are does not depend on it.
        command.env("TOKIO_WORKER_THREADS", "64");
        command
    }

    /// Runs every command with a limit. Asserts that each succeeds, or names the limit unless there is enough.
    #[track_caller]
    fn run_all(&self, limit: &str, name: &str, is_enough: bool) {
        for args in [
            &["create", "--db", "a.db"][..],
            &["create", "--db", "a.db", "--base", "one"],
            &["list"],
            &["show", "two"],
            &["verify", "--all"],
            &["restore", "two", "--to", "b.db", "--force"],
            &["compact", "two"],
            &["prune", "--keep-last", "1"],
        ] {
            let result = self.run(limit, args);
            assert_ends_properly(&result, name);
            assert!(!is_enough || result.exit_code == Some(0), "{limit}, {args:?}: {result:?}");
        }
    }
}

#[track_caller]
fn assert_ends_properly(result: &RunResult, name: &str) {
    match result.exit_code {
        Some(0) => {}
        Some(1) => {
            assert!(result.stderr.contains("error: ") && result.stderr.contains(name), "{result:?}");
            assert!(result.stderr.contains("hint: raise the limit"), "{result:?}");
        }
        _ => panic!("{result:?}"),
    }
    for word in ["panicked", "bug in this program", "UNREADABLE", "CORRUPT"] {
        assert!(!result.stderr.contains(word) && !result.stdout.contains(word), "{word}: {result:?}");
    }
}

/// Returns a user who runs no other process. The system counts the threads of all processes of a user.
fn unused_user() -> Option<u32> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    is_root.then(|| 1_000_000 + std::process::id())
}

#[test]
fn with_too_few_threads_every_command_ends_and_names_the_limit() {
    // The limit is not for root, and only root can run the program as a user without other processes.
    let Some(user) = unused_user() else { return };
    let places = Place::both().map(|place| place.given_to(user));
    for threads in (1..=10).chain([20, 40]) {
        for place in &places {
            place.run_all(&format!("--nproc={threads}"), "RLIMIT_NPROC", threads >= ENOUGH_THREADS);
        }
    }
    assert_eq!(places[0].run("--nproc=2", &["list"]).exit_code, Some(1));
}

#[test]
fn with_too_few_open_files_every_command_ends_and_names_the_limit() {
    let places = Place::both();
    // With 3, the system itself cannot load the program.
    for files in 4..=40 {
        for place in &places {
            place.run_all(&format!("--nofile={files}"), "RLIMIT_NOFILE", files >= ENOUGH_FILES);
        }
    }
    assert_eq!(places[0].run("--nofile=10", &["list"]).exit_code, Some(1));
}

/// The clean-up, and the question what is left, need no other threads.
#[test]
fn with_few_threads_a_signal_still_interrupts_and_the_command_cleans_up() {
    let Some(user) = unused_user() else { return };
    let [_, place] = Place::both().map(|place| place.given_to(user + 1));
    let bucket = place.bucket.as_ref().unwrap();
    let before = bucket.server.keys();
    let writes_vectors: fn(&Request) -> bool = |request| request.is_put() && request.key().ends_with("vectors.bin.gz");
    for (signal, exit_code) in [("-INT", 130), ("-TERM", 143)] {
        let wire = bucket.server.wire();
        wire.reset_log();
        let mut is_held = false;
        wire.set(move |request, _| {
            let holds = writes_vectors(request) && !is_held;
            is_held |= holds;
            holds.then_some(Fault::Hang)
        });
        let args = ["create", "--db", "a.db", "-o", "stall_timeout=3s"];
        let mut command = place.command(&[], &format!("--nproc={ENOUGH_THREADS}"), &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !wire.requests().iter().any(writes_vectors) {
            assert_eq!(child.try_wait().unwrap(), None);
            thread::yield_now();
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let result = RunResult::from(child.wait_with_output().unwrap());
        wire.clear();
        assert_eq!(result.exit_code, Some(exit_code), "{result:?}");
        assert!(result.stderr.contains("no snapshot was created, and no object was left"), "{result:?}");
        assert_eq!(bucket.server.keys(), before);
    }
}

/// Many connections reach the limit in the middle of the work.
#[test]
fn a_limit_that_is_reached_at_work_is_no_property_of_a_snapshot() {
    let places = Place::both();
    for place in &places {
        for _ in 0..20 {
            assert_eq!(place.run("--nofile=1024", &["create", "--db", "a.db"]).exit_code, Some(0));
        }
        for files in 21..=36 {
            for args in [&["list"][..], &["verify", "--all"], &["prune", "--keep-last", "30", "--dry-run"]] {
                let result = place.run(&format!("--nofile={files}"), &[&["--connections", "64"], args].concat());
                assert_ends_properly(&result, "RLIMIT_NOFILE");
            }
        }
    }
}
