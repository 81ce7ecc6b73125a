//! The directory of a server: which server it belongs to, its lock, credentials and port.
//!
//! Files: `server` (the name), `credentials` (access key and secret key), `port`, `lock`, `temporary` (present if the
//! directory is deleted on stop), `run/NAME.pid`, `log/NAME.out`. The rest belongs to the server.
#![expect(clippy::disallowed_methods, reason = "waits for other processes, and needs random names")]

use std::fs::{self, File, Permissions, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{Context, ServerError, ServerKind, cannot, failed};

pub(crate) struct Directory {
    path: PathBuf,
    kind: ServerKind,
}

impl Directory {
    /// Opens the directory of a server.
    pub(crate) fn open(path: &Path) -> Result<Self, ServerError> {
        let not_a_server = || failed(format!("{} is not the directory of a server", path.display()));
        let name = fs::read_to_string(path.join("server")).map_err(|_| not_a_server())?;
        let kind = name.trim().parse().map_err(|_| not_a_server())?;
        // The absolute path identifies the processes of the server.
        let path = fs::canonicalize(path).map_err(cannot(format_args!("resolve {}", path.display())))?;
        Ok(Self { path, kind })
    }

    /// Opens the directory of a server, or makes a new or empty directory one.
    pub(crate) fn open_or_create(path: &Path, kind: ServerKind) -> Result<Self, ServerError> {
        if path.join("server").exists() {
            let directory = Self::open(path)?;
            if directory.kind != kind {
                return Err(failed(format!(
                    "{} is the directory of {}, not of {kind}",
                    path.display(),
                    directory.kind
                )));
            }
            return Ok(directory);
        }
        if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            let message = format!("{} is not empty and not the directory of a server; choose another", path.display());
            return Err(failed(message));
        }
        for path in [path.to_owned(), path.join("run"), path.join("log")] {
            fs::create_dir_all(&path).map_err(cannot(format_args!("create {}", path.display())))?;
        }
        // Only the user may read the credentials and the objects.
        let private = Permissions::from_mode(0o700);
        fs::set_permissions(path, private).map_err(cannot(format_args!("change the mode of {}", path.display())))?;
        write(&path.join("server"), kind.name())?;
        Self::open(path)
    }

    /// Creates a temporary directory, which [`Directory::delete_if_temporary`] deletes.
    pub(crate) fn temporary(kind: ServerKind) -> Result<Self, ServerError> {
        let created = tempfile::Builder::new().prefix(&format!("ruvector-snapshot-{kind}.")).tempdir();
        let path = created.map_err(cannot("create a temporary directory"))?.keep();
        let directory = Self::open_or_create(&path, kind)?;
        write(&path.join("temporary"), "")?;
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn kind(&self) -> ServerKind {
        self.kind
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn delete_if_temporary(&self) -> Result<(), ServerError> {
        if self.path.join("temporary").exists() {
            fs::remove_dir_all(&self.path).map_err(cannot(format_args!("delete {}", self.path.display())))?;
        }
        Ok(())
    }

    /// Locks the directory until the returned file is dropped. Returns `None` if another process holds the lock.
    pub(crate) fn try_lock(&self) -> Result<Option<File>, ServerError> {
        try_lock_file(&self.path.join("lock"))
    }

    pub(crate) fn lock_within(&self, context: &Context, timeout: Duration) -> Result<File, ServerError> {
        lock_file_within(context, &self.path.join("lock"), timeout)
    }

    /// Returns the access key and the secret key, which are created on first use.
    ///
    /// They are random, so that no client mistakes another server for this one. Their form is the one that Garage
    /// requires; the other servers accept any.
    pub(crate) fn credentials(&self) -> Result<(String, String), ServerError> {
        let path = self.path.join("credentials");
        if !path.exists() {
            let new = self.path.join("credentials.new");
            write(&new, &format!("GK{} {}", random_hex(12)?, random_hex(32)?))?;
            fs::rename(&new, &path).map_err(cannot(format_args!("rename {}", new.display())))?;
        }
        let text = fs::read_to_string(&path).map_err(cannot(format_args!("read {}", path.display())))?;
        let pair = text.trim().split_once(' ').ok_or_else(|| failed(format!("{} is corrupt", path.display())))?;
        Ok((pair.0.to_owned(), pair.1.to_owned()))
    }

    /// Returns the port of the last start.
    pub(crate) fn port(&self) -> Option<u16> {
        fs::read_to_string(self.path.join("port")).ok()?.trim().parse().ok()
    }

    pub(crate) fn set_port(&self, port: u16) -> Result<(), ServerError> {
        write(&self.path.join("port"), &port.to_string())
    }
}

/// Locks a file until the returned handle is dropped or the process ends, however it ends.
pub(crate) fn lock_file_within(context: &Context, path: &Path, timeout: Duration) -> Result<File, ServerError> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(lock) = try_lock_file(path)? {
            return Ok(lock);
        }
        context.check_interrupt()?;
        if Instant::now() > deadline {
            return Err(failed(format!("{} is locked by another process for {} s", path.display(), timeout.as_secs())));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn try_lock_file(path: &Path) -> Result<Option<File>, ServerError> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(cannot(format_args!("open {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(cannot(format_args!("lock {}", path.display()))(error)),
    }
}

pub(crate) fn random_hex(bytes: usize) -> Result<String, ServerError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| failed(format!("cannot get random bytes: {error}")))?;
    Ok(crate::bucket::hex(&random))
}

fn write(path: &Path, line: &str) -> Result<(), ServerError> {
    fs::write(path, format!("{line}\n")).map_err(cannot(format_args!("write {}", path.display())))
}
