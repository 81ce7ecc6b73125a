//! A daemon that is left alone with a database that is written, and with a MinIO that is killed and started again and again: every
//! failure is reported, memory stays flat, and every snapshot can be restored.
#![expect(clippy::disallowed_methods, reason = "runs for as long as it is asked to")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ruvector_core::{VectorDB, VectorEntry};
use serde_json::Value;
use test_fixtures::{TestDir, make_large_database, options};
use test_servers::Minio;

use super::{MINIO, setting};

/// How long the daemon runs, in seconds. 600 is worth a note.
const SECONDS: &str = "RUVECTOR_SNAPSHOT_TEST_UNATTENDED_SECONDS";
const ROWS: usize = 5_000;
const DIMENSIONS: usize = 64;
/// Runs that succeed before the server is killed again.
const RUNS_BETWEEN: usize = 6;
/// By how much more memory the program may have in the last third of the time than in the second one.
const GROWTH_PERCENT_MAX: u64 = 20;

#[test]
fn a_daemon_outlives_a_server_that_is_killed_again_and_again() {
    let test = "a_daemon_outlives_a_server_that_is_killed_again_and_again";
    let (Some(binary), Some(seconds)) = (setting(MINIO, test), setting(SECONDS, test)) else { return };
    let mut unattended = Unattended::new(Minio::start(Path::new(&binary)));
    let writer = Writer::start(&unattended.dir.path("a.db"));
    let end = Instant::now() + Duration::from_secs(seconds.parse().unwrap());
    unattended.run_until(end);
    let written = writer.stop();
    unattended.assert_all_is_well(written);
}

/// What the daemon has said.
#[derive(Default)]
struct Heard {
    succeeded: usize,
    failed: usize,
    kills: usize,
    created: BTreeSet<String>,
    /// Resident bytes of the program after each run.
    resident_bytes: Vec<u64>,
}

struct Unattended {
    dir: TestDir,
    minio: Minio,
    heard: Heard,
}

impl Unattended {
    fn new(minio: Minio) -> Self {
        let dir = TestDir::new();
        make_large_database(&dir.path("a.db"), ROWS, DIMENSIONS);
        let (endpoint, bucket, key) = (minio.endpoint(), Minio::BUCKET, Minio::ACCESS_KEY);
        let file = format!(
            r#"store = "@minio"
[stores.minio]
location = "s3://{bucket}/unattended"
options = {{ endpoint = "{endpoint}", allow_http = "true", access_key_id = "{key}", secret_access_key = "env:SECRET", retry_timeout = "2s" }}
[retention.few]
keep_last = 12
[[jobs]]
name = "often"
databases = ["a.db"]
when = "every 3s"
retry_first = "1s"
retry_longest = "2s"
full_every = 5
retention = "few"
verify_parts = 1
drill = "*/5 * * * *"
"#
        );
        fs::write(dir.path("ruvector-snapshot.toml"), file).unwrap();
        Self { dir, minio, heard: Heard::default() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_program-under-test"));
        command.args(["--config", "ruvector-snapshot.toml"]).args(args).current_dir(self.dir.path("."));
        command.env_clear().env("SECRET", self.minio.secret_key()).env("TMPDIR", std::env::temp_dir());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the daemon. Each time some runs have succeeded, the server is killed, until two runs have failed.
    fn run_until(&mut self, end: Instant) {
        let mut daemon = self.command(&["schedule", "--json"]).spawn().unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        while Instant::now() < end {
            self.hear_success(&daemon, &mut lines, RUNS_BETWEEN);
            self.minio.kill();
            self.heard.kills += 1;
            let failed = self.heard.failed;
            while self.heard.failed < failed + 2 {
                let run = next_run(&mut lines);
                self.hear(&daemon, &run);
            }
            self.minio.restart();
        }
        // A server that is back is used again.
        self.hear_success(&daemon, &mut lines, 1);
        assert!(Command::new("kill").args(["-TERM", &daemon.id().to_string()]).status().unwrap().success());
        for line in lines {
            self.hear(&daemon, &serde_json::from_str(&line.unwrap()).unwrap());
        }
        assert_eq!(daemon.wait().unwrap().code(), Some(0));
    }

    fn hear_success(&mut self, daemon: &Child, lines: &mut impl Iterator<Item = std::io::Result<String>>, runs: usize) {
        let wanted = self.heard.succeeded + runs;
        while self.heard.succeeded < wanted {
            let run = next_run(lines);
            self.hear(daemon, &run);
        }
    }

    fn hear(&mut self, daemon: &Child, line: &Value) {
        let run = &line["run"];
        let steps = run["steps"].as_array().unwrap();
        match run["outcome"].as_str().unwrap() {
            "succeeded" | "warnings" => self.heard.succeeded += 1,
            "failed" => {
                assert!(steps.iter().any(|step| !step["error"].is_null()), "it does not say why: {line}");
                self.heard.failed += 1;
            }
            _ => {}
        }
        let created =
            steps.iter().filter(|step| step["step"] == "create").filter_map(|step| step["snapshot_id"].as_str());
        self.heard.created.extend(created.map(str::to_owned));
        self.heard.resident_bytes.extend(resident_bytes(daemon.id()));
    }

    fn assert_all_is_well(&self, written: u64) {
        let Heard { succeeded, failed, kills, created, resident_bytes } = &self.heard;
        let [middle, end] = [false, true].map(|is_last| median_of_third(resident_bytes, is_last));
        println!(
            "{succeeded} runs succeeded, {failed} failed, the server was killed {kills} times, {written} records were written; \
             memory of the program: {} KiB in the middle, {} KiB at the end, {:?} after each tenth of the runs",
            middle >> 10,
            end >> 10,
            resident_bytes
                .chunks(resident_bytes.len().div_ceil(10))
                .map(|tenth| tenth[tenth.len() - 1] >> 10)
                .collect::<Vec<_>>()
        );
        assert!(end * 100 <= middle * (100 + GROWTH_PERCENT_MAX), "the memory grows: {resident_bytes:?}");
        let document: Value = serde_json::from_str(&self.ok(&["list", "--json"])).unwrap();
        let ids: Vec<&str> =
            document["snapshots"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert!(ids.len() >= 12 && document["unusable"].as_array().unwrap().is_empty(), "{document}");
        let unreported: Vec<_> = ids.iter().filter(|id| !created.contains(**id)).collect();
        assert!(unreported.is_empty(), "no run has reported {unreported:?}");
        self.ok(&["verify", "--all", "-q"]);
        for id in &ids {
            let to = format!("{id}.db");
            self.ok(&["restore", id, "--to", &to, "-q"]);
            fs::remove_file(self.dir.path(&to)).unwrap();
        }
        println!("{} snapshots verified and restored", ids.len());
    }
}

/// Writes records one after the other, each in a commit of its own.
struct Writer {
    is_done: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let database = VectorDB::new(options(path, DIMENSIONS)).unwrap();
        let is_done = Arc::new(AtomicBool::new(false));
        let stop = is_done.clone();
        let thread = thread::spawn(move || {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let vector = (0..DIMENSIONS).map(|at| (written as f32 + at as f32).sin()).collect();
                let id = Some(format!("w{:04}", written % 1000));
                database.insert(VectorEntry { id, vector, metadata: None }).unwrap();
                written += 1;
                // Leaves the processors to the others.
                thread::sleep(Duration::from_millis(20));
            }
            written
        });
        Self { is_done, thread }
    }

    fn stop(self) -> u64 {
        self.is_done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn next_run(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Value {
    let line = lines.next().expect("the daemon has ended").unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn resident_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Returns the median of the second third, when each step of a job has had its turn, or of the last one.
fn median_of_third(bytes: &[u64], is_last: bool) -> u64 {
    let third = bytes.len() / 3;
    let from = if is_last { bytes.len() - third } else { third };
    let mut third = bytes[from..from + third.max(1)].to_vec();
    third.sort_unstable();
    third[third.len() / 2]
}
