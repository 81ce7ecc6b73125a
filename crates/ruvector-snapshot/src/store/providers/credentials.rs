//! Credentials that a client of `object_store` gets while it runs: from files that other programs renew, and from
//! services. The client puts them into URLs and headers, and panics at what neither can hold. Here they are checked
//! first, every time.

#![cfg_attr(not(all(feature = "aws", feature = "gcp")), allow(dead_code, reason = "each provider uses a part of it"))]

use std::fmt;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use tokio::sync::Mutex;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::http::rejection::ProviderRejection;
use crate::store::options::Settings;
use crate::store::value::ValueKind;

/// Credentials of a provider whose values can be sent.
pub(super) struct CheckedCredentials<C> {
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    /// Locked while the client may read the file.
    token_file: Option<Mutex<TokenFile>>,
    /// Returns the values that are sent.
    values: fn(&C) -> Vec<&str>,
}

impl<C> CheckedCredentials<C> {
    pub(super) fn new(
        inner: Arc<dyn CredentialProvider<Credential = C>>,
        token_file: Option<TokenFile>,
        values: fn(&C) -> Vec<&str>,
    ) -> Self {
        Self { inner, token_file: token_file.map(Mutex::new), values }
    }

    async fn current(&self) -> object_store::Result<Arc<C>> {
        let Some(file) = &self.token_file else { return self.inner.get_credential().await };
        let mut file = file.lock().await;
        file.refresh().map_err(|error| rejected(error.kind(), error.to_string()))?;
        self.inner.get_credential().await
    }
}

impl<C> fmt::Debug for CheckedCredentials<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedCredentials").finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for CheckedCredentials<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let credential = self.current().await?;
        let values = (self.values)(&credential);
        match values.into_iter().filter(|value| !value.is_empty()).find_map(|value| ValueKind::Header.problem(value)) {
            None => Ok(credential),
            Some(problem) => {
                let reason = format!(
                    "the service that provides the credentials returned some that cannot be sent: a value {problem}"
                );
                Err(rejected(ErrorKind::InvalidInput, reason))
            }
        }
    }
}

fn rejected(kind: ErrorKind, reason: String) -> object_store::Error {
    object_store::Error::Generic { store: "credentials", source: Box::new(ProviderRejection { kind, reason }) }
}

/// A file with a token that another program renews. The client would send the token with the line end at its end.
/// Therefore the client reads a copy in memory, without white space around it.
#[derive(Debug)]
pub(super) struct TokenFile {
    option: &'static str,
    path: PathBuf,
    copy: Option<File>,
}

impl TokenFile {
    /// Returns the token file that an option names, and the path that the client is to read; `None` if the option is not
    /// set.
    pub(super) fn new(settings: &Settings, option: &'static str) -> Option<(Self, String)> {
        let path = settings.get(option)?;
        let (copy, client_path) = in_memory().map_or((None, path.to_owned()), |(copy, path)| (Some(copy), path));
        Some((Self { option, path: path.into(), copy }, client_path))
    }

    /// Reads the token again, and makes it what the client reads.
    fn refresh(&mut self) -> Result<()> {
        let text = read(&self.path, self.option)?;
        let token = text.trim();
        let problem = match &self.copy {
            None if token != text => Some("begins or ends with white space".to_owned()),
            _ => ValueKind::Header.problem(token),
        };
        if let Some(problem) = problem {
            let message = format!("the token in the file of the option {} {problem}", self.option);
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(self.path.display().to_string()));
        }
        let Some(copy) = &mut self.copy else { return Ok(()) };
        let written = copy.set_len(0).and_then(|()| copy.rewind()).and_then(|()| copy.write_all(token.as_bytes()));
        written.map_err(|error| {
            SnapshotError::io(&self.path, &format!("use the file of the option {}", self.option), error)
        })
    }
}

/// Creates an empty file in memory. Returns it with a path under which this process can read it.
#[cfg(target_os = "linux")]
fn in_memory() -> Option<(File, String)> {
    use std::os::fd::AsRawFd as _;
    let file = File::from(rustix::fs::memfd_create("token", rustix::fs::MemfdFlags::CLOEXEC).ok()?);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(&path).ok()?;
    Some((file, path))
}

#[cfg(not(target_os = "linux"))]
fn in_memory() -> Option<(File, String)> {
    None
}

/// Reads a text file that an option names.
pub(super) fn read(path: &Path, option: &str) -> Result<String> {
    let text = std::fs::read(path)
        .map_err(|error| SnapshotError::io(path, &format!("read the file of the option {option}"), error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
