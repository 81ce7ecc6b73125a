//! How fast a snapshot goes into a bucket, and with how much memory, against `mc cp` of the same five files into the
//! same MinIO on the loopback. Every time is of a whole process, from its start to its end.
//!
//!     cargo run -p test-servers -- install minio
//!     cargo bench -p ruvector-snapshot --bench bucket -- [ROWS] [ROUNDS]
//!
//! ROWS is 250,000 random vectors of 384 dimensions by default, a snapshot of 300 MB, and ROUNDS is 5. A round does
//! each piece of work once, so that a change in the machine meets all of them:
//!
//! - `create to memory` and `create to a directory`: what a create takes without a network; the second waits for the
//!   disk;
//! - `create to MinIO`: the whole, with 1, 4 and 16 requests at the same time;
//! - `upload to MinIO`: the finished files alone, through the store of this library. The library has no verb that
//!   copies a snapshot, so this is what `mc cp` is to be compared with. Also with other checksums than SHA-256, and
//!   with parts as large as those of mc;
//! - `mc cp`: with what it does by default.
//!
//! Beside the time stands the processor time of the process and of MinIO, which depends less on what else the machine
//! does. MinIO and mc are those of `RUVECTOR_SNAPSHOT_TEST_MINIO`, else of `test-servers install`.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time, and samples memory at intervals")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use ruvector_snapshot::store::{SnapshotStore, StoreConfig, StoreOptions, TransferConfig, open};
use ruvector_snapshot::{CreateOptions, SnapshotConfig, SnapshotManager};
use test_servers::Minio;

const DIMENSIONS: usize = 384;
const CONCURRENCIES: [usize; 3] = [1, 4, 16];
const PIECE_BYTES: u64 = 1 << 20;
/// A bound on the size of an object for which the store chooses parts of 16 MiB.
const BOUND_OF_LARGE_PARTS_BYTES: u64 = 9_900 * (16 << 20);
/// The unit of processor time in Linux' /proc.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["create", database, location, concurrency] => create(database, location, concurrency.parse().unwrap()),
        ["upload", directory, location, concurrency] => {
            upload(Path::new(directory), location, concurrency.parse().unwrap(), 0);
        }
        ["upload-large-parts", directory, location, concurrency] => {
            upload(Path::new(directory), location, concurrency.parse().unwrap(), BOUND_OF_LARGE_PARTS_BYTES);
        }
        _ => measure(
            arguments.first().map_or(250_000, |rows| rows.parse().expect("ROWS is a number")),
            arguments.get(1).map_or(5, |rounds| rounds.parse().expect("ROUNDS is a number")),
        ),
    }
}

fn measure(rows: usize, rounds: usize) {
    let binary = minio_binary();
    let minio = Minio::start(&binary);
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("a.db");
    test_fixtures::make_large_database(&database, rows, DIMENSIONS);
    let snapshots = dir.path().join("snapshots");
    run(&mut ours(&minio, &["create", text(&database), text(&snapshots), "4"]));
    let snapshot = only_directory_in(&snapshots);
    let sizes: Vec<u64> =
        std::fs::read_dir(&snapshot).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
    let stored_bytes: u64 = sizes.iter().sum();
    println!("{} processors, MinIO and its clients on the same machine", std::thread::available_parallelism().unwrap());
    println!("{}", version(&binary));
    println!(
        "{rows} vectors of {DIMENSIONS} dimensions, {:.0} MB of f32; {} files of {:.0} MB in all; {rounds} rounds",
        (rows * DIMENSIONS * 4) as f64 / 1e6,
        sizes.len(),
        stored_bytes as f64 / 1e6
    );

    let mut works = works(&minio, &binary, &database, &snapshot, dir.path());
    for _ in 0..rounds {
        for work in &mut works {
            let before = processor_seconds(minio.process_id());
            let mut run = run(&mut work.command);
            run.server_seconds = processor_seconds(minio.process_id()) - before;
            work.runs.push(run);
            (work.clear)();
        }
    }
    println!("{:36}{HEADER}", "");
    let rival = works.last().unwrap().median(|run| run.seconds);
    works.iter().for_each(|work| println!("{}", work.row(rival)));
}

const HEADER: &str = "  fastest   median  slowest      MB/s  of mc's time  own cpu  MinIO's cpu     peak";

/// One piece of work, and how long it took each time.
struct Work {
    name: String,
    command: Command,
    /// Removes what the work made.
    clear: Box<dyn Fn()>,
    bytes: u64,
    runs: Vec<Run>,
}

struct Run {
    seconds: f64,
    processor_seconds: f64,
    server_seconds: f64,
    peak_bytes: u64,
}

fn works(minio: &Minio, binary: &Path, database: &Path, snapshot: &Path, dir: &Path) -> Vec<Work> {
    let bytes = std::fs::read_dir(snapshot).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let work = |name: String, command: Command, clear: Box<dyn Fn()>| {
        let runs = Vec::new();
        Work { name, command, clear, bytes, runs }
    };
    let bucket = format!("s3://{}/bench", Minio::BUCKET);
    let empty_bucket = || -> Box<dyn Fn()> {
        let target = format!("test/{}/bench", Minio::BUCKET);
        let (minio, binary) = (alias(minio), binary.to_owned());
        let config = dir.join("mc");
        Box::new(move || {
            let mut remove = mc(&binary, &minio, &config);
            assert!(
                remove
                    .args(["rm", "--recursive", "--force", &target])
                    .stdout(Stdio::null())
                    .status()
                    .unwrap()
                    .success()
            );
        })
    };
    let local = dir.join("local");
    let mut works = vec![
        work(
            "create to memory".to_owned(),
            ours(minio, &["create", text(database), "memory://", "4"]),
            Box::new(|| {}),
        ),
        work(
            "create to a directory".to_owned(),
            ours(minio, &["create", text(database), text(&local), "4"]),
            Box::new(move || std::fs::remove_dir_all(&local).unwrap()),
        ),
    ];
    for (verb, from) in [("create", database), ("upload", snapshot)] {
        for concurrency in CONCURRENCIES {
            let command = ours(minio, &[verb, text(from), &bucket, &concurrency.to_string()]);
            works.push(work(format!("{verb} to MinIO, {concurrency}"), command, empty_bucket()));
        }
    }
    for checksum in ["crc64nvme", "none"] {
        let mut command = ours(minio, &["upload", text(snapshot), &bucket, "4"]);
        command.env("AWS_CHECKSUM_ALGORITHM", checksum);
        works.push(work(format!("upload to MinIO, 4, checksum {checksum}"), command, empty_bucket()));
    }
    // A part of 16 MiB counts for two, so four are in progress.
    let command = ours(minio, &["upload-large-parts", text(snapshot), &bucket, "8"]);
    works.push(work("upload to MinIO, 8, parts of 16 MiB".to_owned(), command, empty_bucket()));
    let mut copy = mc(binary, &alias(minio), &dir.join("mc"));
    copy.args(["cp", "--quiet", "--recursive", text(snapshot), &format!("test/{}/bench/", Minio::BUCKET)]);
    works.push(work("mc cp".to_owned(), copy, empty_bucket()));
    works
}

impl Work {
    fn sorted(&self, what: impl Fn(&Run) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.runs.iter().map(what).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self, what: impl Fn(&Run) -> f64) -> f64 {
        self.sorted(what)[self.runs.len() / 2]
    }

    fn row(&self, rival_seconds: f64) -> String {
        let seconds = self.sorted(|run| run.seconds);
        let (fastest, slowest, median) = (seconds[0], seconds[seconds.len() - 1], self.median(|run| run.seconds));
        format!(
            "{:36}{fastest:7.2} s{median:7.2} s{slowest:7.2} s{:10.0}{:14.2}{:7.2} s{:11.2} s{:6.0} MB",
            self.name,
            self.bytes as f64 / 1e6 / median,
            median / rival_seconds,
            self.median(|run| run.processor_seconds),
            self.median(|run| run.server_seconds),
            self.sorted(|run| run.peak_bytes as f64)[self.runs.len() - 1] / 1e6,
        )
    }
}

/// Runs a command to its end, and watches what it uses.
fn run(command: &mut Command) -> Run {
    let start = Instant::now();
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let (mut peak, mut used_seconds) = (0, 0.0f64);
    loop {
        // The system keeps sums and maxima, so that it is enough to look now and then.
        peak = peak.max(peak_bytes(process.id()));
        used_seconds = used_seconds.max(processor_seconds(process.id()));
        match process.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "{command:?}: {status}");
                let seconds = start.elapsed().as_secs_f64();
                return Run { seconds, processor_seconds: used_seconds, server_seconds: 0.0, peak_bytes: peak };
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// The most memory that a process has had; 0 where it is gone.
fn peak_bytes(process_id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The processor time that a process has used, in and for it; 0 where it is gone.
fn processor_seconds(process_id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap_or_default();
    // The name of the program may hold anything, and ends with the last bracket. The times are the 14th and 15th field.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// This program again, as a process of its own that does one thing.
fn ours(minio: &Minio, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", Minio::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", minio.secret_key())
        .env("AWS_ENDPOINT_URL", minio.endpoint())
        .env("AWS_ALLOW_HTTP", "true");
    command
}

fn create(database: &str, location: &str, concurrency: usize) {
    let config = SnapshotConfig { max_concurrent_io: concurrency, ..SnapshotConfig::default() };
    runtime().block_on(async {
        let manager = SnapshotManager::open(location, config).unwrap();
        manager.create_snapshot_of_file(database, "bench", &CreateOptions::default()).await.unwrap();
    });
}

fn upload(directory: &Path, location: &str, concurrency: usize, bound_bytes: u64) {
    let location = location.parse().unwrap();
    let options = StoreOptions::from_env(&location);
    let transfers = TransferConfig::default().max_concurrent_io(concurrency);
    runtime().block_on(async {
        let store = open(&location, &StoreConfig::default().options(options).transfers(transfers)).unwrap();
        let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
        try_join_all(files.map(|file| upload_file(store.as_ref(), file, bound_bytes))).await.unwrap();
    });
}

async fn upload_file(store: &dyn SnapshotStore, path: PathBuf, bound_bytes: u64) -> ruvector_snapshot::Result<u64> {
    let file = std::fs::File::open(&path).unwrap();
    let bound_bytes = bound_bytes.max(file.metadata().unwrap().len());
    let mut upload = store.upload(path.file_name().unwrap().to_str().unwrap(), Some(bound_bytes)).await?;
    loop {
        let mut piece = Vec::new();
        (&file).take(PIECE_BYTES).read_to_end(&mut piece).unwrap();
        if piece.is_empty() {
            return upload.finish().await;
        }
        upload.write(Bytes::from(piece)).await?;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn minio_binary() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || {
        let servers = variable("RUVECTOR_SNAPSHOT_SERVERS");
        servers.or_else(|| Some(variable("HOME")?.join(".cache/ruvector-snapshot/servers")))
    };
    let binary = variable("RUVECTOR_SNAPSHOT_TEST_MINIO").or_else(|| Some(cache()?.join("bin/minio")));
    let binary = binary.filter(|binary| binary.exists());
    binary.expect("there is no MinIO here; run test-servers install minio, or set RUVECTOR_SNAPSHOT_TEST_MINIO")
}

fn alias(minio: &Minio) -> String {
    minio.endpoint().replacen("//", &format!("//{}:{}@", Minio::ACCESS_KEY, minio.secret_key()), 1)
}

fn mc(binary: &Path, alias: &str, config: &Path) -> Command {
    let mut command = Command::new(binary.with_file_name("mc"));
    command.arg("--config-dir").arg(config).env("MC_HOST_test", alias);
    command
}

/// What MinIO and mc say of themselves.
fn version(binary: &Path) -> String {
    let first_line = |path: &Path| {
        let output = Command::new(path).arg("--version").output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
    };
    format!("{}; {}", first_line(binary), first_line(&binary.with_file_name("mc")))
}

fn only_directory_in(path: &Path) -> PathBuf {
    let mut directories = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let first = directories.next().unwrap();
    assert_eq!(directories.next(), None);
    first
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
