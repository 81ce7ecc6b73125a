//! A real MinIO as a process of its own, for tests that kill it: started from a binary, killed without warning, started
//! again on the same port and directory. What a test does with it does not belong here.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start, and a client to come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that does not tell when it happens.
const PAUSE: Duration = Duration::from_millis(10);

/// A MinIO with one bucket and a data directory of its own. It is killed when it is dropped, and the directory is
/// removed.
pub struct Minio {
    binary: PathBuf,
    dir: TempDir,
    port: u16,
    secret_key: String,
    process: Option<Child>,
}

impl Minio {
    /// The access key that it knows.
    pub const ACCESS_KEY: &str = "AKIDTESTSERVERS";
    /// The bucket that exists.
    pub const BUCKET: &str = "snapshots-test";

    /// Starts the `minio` at this path, with an empty bucket. The `mc` beside it makes the bucket.
    pub fn start(binary: &Path) -> Self {
        let secret_key = format!("test-servers-{:016x}", random());
        let dir = tempfile::tempdir().unwrap();
        let mut minio = Self { binary: binary.to_owned(), dir, port: 0, secret_key, process: None };
        // MinIO shares a port with another MinIO without a word, so one at a time looks for a free one and takes it.
        let alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        minio.port = free_port();
        minio.launch();
        drop(alone);
        minio.client(&["mb", &format!("test/{}", Self::BUCKET)]);
        minio
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The secret that belongs to [`Minio::ACCESS_KEY`]: another in each server, so that one cannot be taken for
    /// another.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The process id, while it runs.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("MinIO runs").id()
    }

    /// Ends it at once, as a loss of power does to a process (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("MinIO runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// While it is killed: waits until somebody connects to its port, and hangs up on them.
    pub fn wait_for_a_knock(&self) {
        assert!(self.process.is_none(), "MinIO runs, and would open the door itself");
        let door = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        door.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match door.accept() {
                Ok(_) => return,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("nobody can knock: {error}"),
            }
            assert!(Instant::now() < deadline, "nobody knocked");
            thread::sleep(PAUSE);
        }
    }

    /// After a kill: starts it again on the same port, with the same objects.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "MinIO runs already");
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        self.launch();
    }

    /// The keys of the uploads in parts that are neither completed nor aborted, as MinIO tells them.
    pub fn open_uploads(&self) -> Vec<String> {
        let listing = self.client(&["ls", "--incomplete", "--recursive", "--json", &format!("test/{}", Self::BUCKET)]);
        // One JSON document a line; the names in it are those of the tests, which need no unescaping.
        let key = |line: &str| line.split_once("\"key\":\"")?.1.split_once('"').map(|(key, _)| key.to_owned());
        listing.lines().filter_map(key).collect()
    }

    /// How many parts of uploads lie on its disk, whether it runs or not.
    pub fn parts_on_disk(&self) -> usize {
        let multipart = self.data().join(".minio.sys").join("multipart");
        files_below(&multipart).iter().filter(|name| name.starts_with("part.") && !name.ends_with(".meta")).count()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn launch(&mut self) {
        assert!(is_free(self.port), "port {} is taken", self.port);
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        // An environment of its own: neither settings nor certificates of the user's have a say.
        let process = Command::new(&self.binary)
            .args(["server", "--address", &format!("127.0.0.1:{}", self.port)])
            .arg(self.data())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("MINIO_ROOT_USER", Self::ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", &self.secret_key)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.binary.display()));
        let process = self.process.insert(process);
        let deadline = Instant::now() + PATIENCE;
        while !is_ready(self.port) {
            if process.try_wait().unwrap().is_some() || Instant::now() > deadline {
                panic!("MinIO did not start: {}", fs::read_to_string(self.log()).unwrap_or_default());
            }
            thread::sleep(PAUSE);
        }
    }

    /// Runs the `mc` beside the server, and gives what it printed.
    fn client(&self, arguments: &[&str]) -> String {
        let alias = format!("http://{}:{}@127.0.0.1:{}", Self::ACCESS_KEY, self.secret_key, self.port);
        let ran = Command::new(self.binary.with_file_name("mc"))
            .arg("--config-dir")
            .arg(self.dir.path().join("mc"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.dir.path())
            .env("MC_HOST_test", alias)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("mc beside {} cannot be run: {error}", self.binary.display()));
        assert!(ran.status.success(), "mc {arguments:?}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// Held while one looks for a free port and takes it.
static STARTING: Mutex<()> = Mutex::new(());

/// Below the range from which Linux takes the ports of outgoing connections, so that it is free after a kill, too.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + (random() % 12_000) as u16;
        if is_free(port) {
            return port;
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Another number each time, as the standard library's hash tables are seeded.
fn random() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /minio/health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b"200"))
    };
    ask().unwrap_or(false)
}

/// The names of all files below a directory, which may change meanwhile.
fn files_below(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.fold(Vec::new(), |mut names, entry| {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => names.extend(files_below(&entry.path())),
            _ => names.push(entry.file_name().to_string_lossy().into_owned()),
        }
        names
    })
}
