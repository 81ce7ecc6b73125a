//! A MinIO process for tests that kill it. It is launched by `external/minio.rs`, like the one of the command line.
//!
//! Its process is a child of the test, and a failure is a panic. What a test does with it is not here.
#![expect(clippy::disallowed_methods, reason = "waits for another process, with a timeout")]

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::external::{Context, Directory, Instance, ServerError, ServerKind, minio, network, process, random_hex};

/// Longer than a client takes to reconnect, even on a busy machine.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A MinIO with one bucket and a data directory of its own. Dropping it kills the process and deletes the directory.
pub struct Minio {
    context: Context,
    binary: PathBuf,
    instance: Instance,
    process: Option<Child>,
    /// Deleted after the process was killed.
    _dir: TempDir,
}

impl Minio {
    /// The access key that the server accepts.
    pub const ACCESS_KEY: &str = "AKIDTESTSERVERS";
    /// The name of the only bucket.
    pub const BUCKET: &str = "snapshots-test";

    /// Starts the `minio` at this path with an empty bucket. An `mc` must be beside it.
    pub fn start(binary: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open_or_create(dir.path(), ServerKind::Minio).unwrap();
        let instance = Instance {
            dir: directory.path().to_owned(),
            port: network::free_port().unwrap(),
            access_key: Self::ACCESS_KEY.to_owned(),
            secret_key: format!("test-servers-{}", random_hex(8).unwrap()),
        };
        let context = Context::new(|_| ()).unwrap();
        let mut minio = Self { context, binary: binary.to_owned(), instance, process: None, _dir: dir };
        minio.launch();
        minio.client(&["mb", &format!("test/{}", Self::BUCKET)]);
        minio
    }

    /// Returns the URL of the server: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.instance.port)
    }

    /// Returns the secret key of [`Minio::ACCESS_KEY`]. It differs between servers, so that none is mistaken for
    /// another.
    pub fn secret_key(&self) -> &str {
        &self.instance.secret_key
    }

    /// Returns the process id.
    ///
    /// # Panics
    ///
    /// Panics if the server was killed.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("MinIO is running").id()
    }

    /// Kills the server (SIGKILL) and waits until it has ended.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("MinIO is running");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// After a kill: waits until a client connects to the port, and disconnects it.
    pub fn wait_for_connection(&self) {
        assert!(self.process.is_none(), "MinIO is running and would accept the connection");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.instance.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + CONNECTION_TIMEOUT;
        loop {
            match listener.accept() {
                Ok(_) => return,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("cannot accept a connection: {error}"),
            }
            assert!(Instant::now() < deadline, "no client connected");
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// After a kill: starts the server again with the same port and the same objects.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "MinIO is running");
        self.launch();
    }

    /// Returns the keys of the multipart uploads in progress, as MinIO lists them.
    pub fn open_uploads(&self) -> Vec<String> {
        let listing = self.client(&["ls", "--incomplete", "--recursive", "--json", &format!("test/{}", Self::BUCKET)]);
        // Each line is a JSON document. The keys of the tests contain nothing that JSON escapes.
        let key = |line: &str| line.split_once("\"key\":\"")?.1.split_once('"').map(|(key, _)| key.to_owned());
        listing.lines().filter_map(key).collect()
    }

    /// Returns the storage class of an object. MinIO lists none for the standard class.
    pub fn storage_class(&self, key: &str) -> String {
        let object = self.client(&["stat", "--json", &format!("test/{}/{key}", Self::BUCKET)]);
        let class = object.split_once("\"X-Amz-Storage-Class\":\"").and_then(|(_, rest)| rest.split_once('"'));
        class.map_or_else(|| "STANDARD".to_owned(), |(class, _)| class.to_owned())
    }

    /// Returns the number of parts of multipart uploads on its disk. The server need not be running.
    pub fn parts_on_disk(&self) -> usize {
        let multipart = minio::data_dir(&self.instance).join(".minio.sys").join("multipart");
        files_below(&multipart).iter().filter(|name| name.starts_with("part.") && !name.ends_with(".meta")).count()
    }

    fn launch(&mut self) {
        match minio::launch(&self.context, &self.binary, &self.instance, process::launch) {
            Ok(process) => self.process = Some(process),
            Err(error) => panic!("MinIO did not start: {error}\n{}", self.log()),
        }
    }

    fn client(&self, arguments: &[&str]) -> String {
        let output: Result<String, ServerError> = minio::client(&self.context, &self.binary, &self.instance, arguments);
        output.unwrap_or_else(|error| panic!("mc {arguments:?}: {error}"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.instance.dir.join("log/minio.out")).unwrap_or_default()
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// Returns the names of all files below a directory, which may change during the walk.
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
