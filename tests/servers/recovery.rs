//! The page docs/RECOVERY.md, run as it stands: on a machine that has nothing but Rust, Python and the AWS CLI, from
//! snapshots in MinIO.
//!
//! Every `sh` block is run, and every command of a `console` block. They are one session of bash, in the order of the
//! page. Each line of output that the page shows must be in what its command printed, with any numbers. A line
//! `NAME=…` is a value that a person fills in: the test has one for each.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ruvector_core::VectorDB;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{CreateOptions, SnapshotManager};
use test_fixtures::{Records, TestDir, encode_vector, entry, options, records_of_file};
use test_servers::Minio;

use super::{MINIO, setting};

const ROWS: usize = 12_000;
const DIMENSIONS: usize = 64;
/// The record that the page merges back.
const LOST: &str = "doc-00017";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_recovery_brings_the_data_back() {
    let Some(binary) = setting(MINIO, "the_page_about_recovery_brings_the_data_back") else { return };
    let minio = tokio::task::block_in_place(|| Minio::start(Path::new(&binary)));
    let backed_up = back_up_and_lose_the_machine(&minio).await;

    let machine = tempfile::tempdir().unwrap();
    let page = Page::read();
    let output = tokio::task::block_in_place(|| page.run(machine.path(), &backed_up.values));
    page.assert_shows(&output);

    let recovered = |path: &str| records_of_file(&machine.path().join(path));
    assert_eq!(recovered("by-hand/vectors.db"), backed_up.newest);
    let mut merged = backed_up.newest.clone();
    merged.0.insert(LOST.to_owned(), backed_up.nightly.0[LOST].clone());
    merged.1.insert(LOST.to_owned(), backed_up.nightly.1[LOST].clone());
    assert_ne!(merged, backed_up.newest);
    assert_eq!(recovered("recovery/vectors.db"), merged);
    assert_eq!(recovered("recovery/part.db"), first_hundred(&backed_up.nightly));
    assert_eq!(read_by_hand(&machine.path().join("by-hand")), backed_up.newest);
}

/// What was in the database, and what a person has to fill in to get it back.
struct BackedUp {
    nightly: Records,
    newest: Records,
    values: BTreeMap<&'static str, String>,
}

async fn back_up_and_lose_the_machine(minio: &Minio) -> BackedUp {
    let dir = TestDir::new();
    let file = dir.path("vectors.db");
    let (manager, create) = (manager(minio, &dir), CreateOptions::default());
    let db = VectorDB::new(options(&file, DIMENSIONS)).unwrap();
    let record = |row: usize, seed| entry(format!("doc-{row:05}"), row, DIMENSIONS, seed);
    db.insert_batch((0..ROWS).map(|row| record(row, 1)).collect::<Vec<_>>()).unwrap();
    let full = manager.create_snapshot_of_file(&file, "nightly", &create).await.unwrap();
    let nightly = records_of_file(&file);

    db.insert_batch((0..ROWS).step_by(17).map(|row| record(row, 2)).collect::<Vec<_>>()).unwrap();
    db.delete("doc-00018").unwrap();
    let increment = create.base_id(&full.id);
    let newest = manager.create_snapshot_of_file(&file, "hourly", &increment).await.unwrap();
    let values = [
        ("RUVECTOR_SNAPSHOT_STORE", format!("s3://{}/prod", Minio::BUCKET)),
        ("AWS_ACCESS_KEY_ID", Minio::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", minio.secret_key().to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT_URL", minio.endpoint()),
        ("id", newest.id),
    ];
    BackedUp { nightly, newest: records_of_file(&file), values: values.into() }
}

fn manager(minio: &Minio, dir: &TestDir) -> SnapshotManager {
    let location: Location = format!("s3://{}/prod", Minio::BUCKET).parse().unwrap();
    let options: StoreOptions = [
        ("access_key_id", Minio::ACCESS_KEY),
        ("secret_access_key", minio.secret_key()),
        ("endpoint", &minio.endpoint()),
        ("allow_http", "true"),
    ]
    .into_iter()
    .collect();
    let store: Arc<dyn SnapshotStore> = open(&location, &StoreConfig::default().options(options)).unwrap();
    SnapshotManager::with_store(dir.config(), store).unwrap()
}

/// Returns the records that fulfil the condition `n<100`.
fn first_hundred((vectors, metadata): &Records) -> Records {
    let metadata: BTreeMap<_, _> =
        metadata.iter().filter(|(_, value)| value["n"].as_u64().unwrap() < 100).map(owned).collect();
    let vectors = vectors.iter().filter(|(id, _)| metadata.contains_key(*id)).map(owned).collect();
    (vectors, metadata)
}

fn owned<V: Clone>((id, value): (&String, &V)) -> (String, V) {
    (id.clone(), value.clone())
}

/// Returns the records in the files that the reader in Python has written.
fn read_by_hand(directory: &Path) -> Records {
    let matrix = fs::read(directory.join("vectors.npy")).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([matrix[8], matrix[9]]));
    let rows = matrix[header..].chunks_exact(DIMENSIONS * 4);
    let lines = fs::read_to_string(directory.join("records.jsonl")).unwrap();
    assert_eq!(rows.len(), lines.lines().count());
    let (mut vectors, mut metadata) = Records::default();
    for (row, line) in rows.zip(lines.lines()) {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = record["id"].as_str().unwrap();
        let values: Vec<f32> = row.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect();
        vectors.insert(id.to_owned(), encode_vector(&values));
        if !record["metadata"].is_null() {
            metadata.insert(id.to_owned(), record["metadata"].clone());
        }
    }
    (vectors, metadata)
}

/// The commands of the page, in their order.
struct Page {
    steps: Vec<Step>,
}

/// What a person types, and the lines that the page says will be printed.
struct Step {
    input: String,
    shown: Vec<String>,
}

impl Page {
    fn read() -> Self {
        let text = fs::read_to_string(sources().join("docs/RECOVERY.md")).unwrap();
        let mut steps = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let block = lines.by_ref();
            match line {
                "```sh" => {
                    let input: Vec<&str> = block.take_while(|line| *line != "```").collect();
                    steps.push(Step { input: input.join("\n"), shown: Vec::new() });
                }
                "```console" => console(block.take_while(|line| *line != "```"), &mut steps),
                "```" => panic!("the page has a block of another kind than sh and console"),
                _ => {}
            }
        }
        assert!(steps.len() > 10, "{} commands", steps.len());
        Self { steps }
    }

    /// Runs the commands in a new home directory, and returns what each one printed.
    fn run(&self, home: &Path, values: &BTreeMap<&'static str, String>) -> Vec<String> {
        symlink(sources(), home.join("ruvector-snapshot")).unwrap();
        let mut script = "set -eu\n".to_owned();
        for (number, step) in self.steps.iter().enumerate() {
            let input: Vec<String> = step.input.lines().map(|line| filled_in(line, values)).collect();
            script += &format!("echo '@@ {number}'\n{}\n", input.join("\n"));
        }
        fs::write(home.join("page.sh"), script).unwrap();
        let printed = home.join("page.out");
        let output = File::create(&printed).unwrap();
        let status = machine(home).stdout(output.try_clone().unwrap()).stderr(output).status().unwrap();
        let printed = fs::read_to_string(printed).unwrap();
        println!("{printed}");
        assert!(status.success(), "a command of docs/RECOVERY.md failed: {printed}");
        let outputs: Vec<String> = printed.split("@@ ").skip(1).map(str::to_owned).collect();
        assert_eq!(outputs.len(), self.steps.len());
        outputs
    }

    /// Asserts that each command printed the lines that the page shows, in their order.
    fn assert_shows(&self, outputs: &[String]) {
        for (step, output) in self.steps.iter().zip(outputs) {
            let mut printed = output.lines().map(without_numbers);
            for line in step.shown.iter().filter(|line| line.trim() != "...") {
                let line = without_numbers(line);
                assert!(
                    printed.any(|printed| printed == line),
                    "docs/RECOVERY.md shows {line:?}, but {:?} printed:\n{output}",
                    step.input
                );
            }
        }
    }
}

fn console<'a>(lines: impl Iterator<Item = &'a str>, steps: &mut Vec<Step>) {
    for line in lines {
        match line.strip_prefix("$ ") {
            Some(input) => steps.push(Step { input: input.to_owned(), shown: Vec::new() }),
            None => steps.last_mut().expect("a console block begins with a command").shown.push(line.to_owned()),
        }
    }
}

/// Returns a line with the value of `NAME=…`, if it has one.
fn filled_in(line: &str, values: &BTreeMap<&'static str, String>) -> String {
    let Some((before, after)) = line.split_once("=…") else { return line.to_owned() };
    let name = before.trim_start_matches("export ");
    let value = values.get(name).unwrap_or_else(|| panic!("the test has no value for {name}"));
    format!("{before}='{value}'{after}")
}

/// Returns the words of a line, with one sign for every path, every word that has a digit and every unit of size.
fn without_numbers(line: &str) -> String {
    let word = |word: &str| match word.trim_end_matches([',', ';', ':']) {
        "B" | "bytes" | "KiB" | "MiB" | "GiB" | "B/s" | "KiB/s" | "MiB/s" | "GiB/s" => "UNIT".to_owned(),
        bare if bare.contains('/') => "PATH".to_owned(),
        bare if bare.contains(|letter: char| letter.is_ascii_digit()) => "NUMBER".to_owned(),
        _ => word.to_owned(),
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Returns a shell on a machine that has only programs: no settings, no credentials, no files.
fn machine(home: &Path) -> Command {
    let mut command = Command::new("bash");
    command.arg("page.sh").current_dir(home).stdin(Stdio::null()).env_clear();
    let path = std::env::var("PATH").unwrap();
    command.env("HOME", home).env("PATH", format!("{}/.cargo/bin:{path}", home.display()));
    // The compiler and its caches are in the home of the user, and what was built for the tests is not built again.
    let user = std::env::var("HOME").unwrap();
    for (name, default) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        command.env(name, std::env::var(name).unwrap_or_else(|_| format!("{user}/{default}")));
    }
    for name in ["CARGO_TARGET_DIR", "CARGO_PROFILE_RELEASE_LTO"] {
        if let Ok(value) = std::env::var(name) {
            command.env(name, value);
        }
    }
    command.env("CARGO_INSTALL_ROOT", home.join(".cargo"));
    // The server of the test has no TLS.
    command.env("AWS_ALLOW_HTTP", "true").env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn sources() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}
