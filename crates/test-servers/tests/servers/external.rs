//! The program `test-servers`, with a shell script in place of Garage. CI runs it with real servers.
#![expect(clippy::disallowed_methods, reason = "the test measures or waits for real time")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use test_servers::external::running;

const TIMEOUT: Duration = Duration::from_secs(60);

/// An empty directory for servers, and one for the programs that were installed.
struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    /// The script is called as `garage -c DIR/garage.toml server`.
    fn with_garage(script: &str) -> Self {
        let sandbox = Self { dir: tempfile::tempdir().unwrap() };
        let garage = sandbox.dir.path().join("cache/bin/garage");
        fs::create_dir_all(garage.parent().unwrap()).unwrap();
        let version = "[ \"$1\" = --version ] && echo 'garage v2.5.0' && exit 0";
        fs::write(&garage, format!("#!/bin/sh\n{version}\n{script}\n")).unwrap();
        fs::set_permissions(&garage, fs::Permissions::from_mode(0o755)).unwrap();
        sandbox
    }

    fn server(&self) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join("server's directory")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_test-servers"));
        command.args(arguments).env("RUVECTOR_SNAPSHOT_SERVERS", self.dir.path().join("cache"));
        command.env("TMPDIR", self.dir.path()).stdin(Stdio::null());
        command
    }

    fn start(&self) -> Command {
        self.command(&["start", "garage", self.server().to_str().unwrap()])
    }

    /// Returns the ids of the processes that were started here.
    fn processes(&self) -> Vec<u32> {
        let root = fs::canonicalize(self.dir.path()).unwrap();
        let servers = running().into_iter().filter(|server| server.dir.starts_with(&root));
        servers.flat_map(|server| server.processes).map(|(_, id)| id).collect()
    }
}

#[track_caller]
fn assert_exit(output: &Output, code: i32, message: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(stderr.contains(message), "{message:?} is not in {stderr}");
}

#[test]
fn exit_codes_distinguish_usage_failure_and_what_is_unavailable() {
    let sandbox = Sandbox::with_garage("exit 1");
    let empty = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let run = |arguments: &[&str]| sandbox.command(arguments).output().unwrap();
    assert_exit(&run(&["start", "ceph"]), 2, "unknown server \"ceph\"");
    assert_exit(
        &run(&["start", "minio"]),
        1,
        "minio is not installed; run: cargo run -p test-servers -- install minio",
    );
    assert_exit(&run(&["start", "garage", empty.to_str().unwrap()]), 1, "is not empty");
    assert_exit(&run(&["stop", empty.to_str().unwrap()]), 1, "is not the directory of a server");
    let without_go = sandbox.command(&["install", "minio", "garage"]).env("PATH", "").output().unwrap();
    assert_exit(&without_go, 3, "test-servers: skipped: minio: it is built with Go, and there is no go command");
    assert_exit(&without_go, 3, "garage is installed: 2.5.0");
    let listed = run(&["list"]);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(text.contains("garage   2.5.0") && text.contains("minio    not installed"), "{text}");
}

#[test]
fn a_start_that_fails_leaves_no_process() {
    let sandbox = Sandbox::with_garage("sleep 1000 & echo out of luck; exit 7");
    let output = sandbox.command(&["start", "garage"]).output().unwrap();
    assert_exit(&output, 1, "garage ended by itself (exit status: 7)");
    assert_exit(&output, 1, "test-servers: out of luck");
    assert_eq!(output.stdout, b"");
    assert_eq!(sandbox.processes(), Vec::<u32>::new());
    let left: Vec<_> = fs::read_dir(sandbox.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["cache"], "the temporary directory is left");
}

#[test]
fn a_start_that_is_interrupted_leaves_no_process() {
    let sandbox = Sandbox::with_garage("sleep 1000; exit 1");
    let mut starting = sandbox.start().stderr(Stdio::null()).spawn().unwrap();
    wait_until(|| sandbox.processes().len() == 2);
    let kill = Command::new("kill").args(["-TERM", &starting.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(starting.wait().unwrap().code(), Some(128 + 15));
    assert_eq!(sandbox.processes(), Vec::<u32>::new());
}

#[test]
fn stop_ends_what_a_killed_start_left() {
    let sandbox = Sandbox::with_garage("sleep 1000; exit 1");
    let mut starting = sandbox.start().stderr(Stdio::null()).spawn().unwrap();
    wait_until(|| sandbox.processes().len() == 2);
    starting.kill().unwrap();
    starting.wait().unwrap();
    assert_eq!(sandbox.processes().len(), 2);
    let running = String::from_utf8(sandbox.command(&["list"]).output().unwrap().stdout).unwrap();
    assert!(running.contains(&format!("running: garage in {}", sandbox.server().display())), "{running}");
    assert_exit(&sandbox.start().output().unwrap(), 1, "runs in");

    let output = sandbox.command(&["stop", sandbox.server().to_str().unwrap()]).output().unwrap();
    assert_exit(&output, 0, "garage ended");
    assert_eq!(sandbox.processes(), Vec::<u32>::new());
}

#[test]
fn a_server_starts_again_with_its_port_and_its_credentials() {
    let sandbox = Sandbox::with_garage("sleep 1000; exit 1");
    let first = start_successfully(&sandbox);
    let directory = sandbox.server().to_str().unwrap().replace('\'', r"'\''");
    for line in [
        "export AWS_ALLOW_HTTP=true\n",
        "export RUVECTOR_SNAPSHOT_TEST_S3=s3://ruvector-snapshot-test/tests\n",
        &format!("export RUVECTOR_SNAPSHOT_TEST_SERVER_DIR='{directory}'\n"),
    ] {
        assert!(first.contains(line), "{line:?} is not in {first}");
    }
    assert_eq!(sandbox.processes().len(), 2);
    for _ in 0..2 {
        let output = sandbox.command(&["stop", sandbox.server().to_str().unwrap()]).output().unwrap();
        assert_exit(&output, 0, "");
        assert_eq!(sandbox.processes(), Vec::<u32>::new());
    }
    assert_eq!(start_successfully(&sandbox), first);
    assert_exit(&sandbox.command(&["stop", sandbox.server().to_str().unwrap()]).output().unwrap(), 0, "garage ended");
    assert!(sandbox.server().exists());
}

/// Answers the health check in place of the script, and returns what the program prints.
fn start_successfully(sandbox: &Sandbox) -> String {
    let starting = sandbox.start().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(|| sandbox.processes().len() == 2);
    let configuration = fs::read_to_string(sandbox.server().join("garage.toml")).unwrap();
    let (_, admin) = configuration.split_once("[admin]\napi_bind_addr = \"").unwrap();
    let listener = TcpListener::bind(admin.split('"').next().unwrap()).unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let output = starting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not become true");
        thread::sleep(Duration::from_millis(10));
    }
}
