//! Credentials that a client of `object_store` gets while it runs: from files that other programs renew, and from
//! services. The client puts them into URLs and headers, and panics at what neither can hold. Here they are checked
//! first, every time. If a server refuses them, they are read again.

#![cfg_attr(not(all(feature = "aws", feature = "gcp")), allow(dead_code, reason = "each provider uses a part of it"))]

use std::fmt;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::client::HttpRequest;
use tokio::sync::Mutex;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::http::rejection::ProviderRejection;
use crate::store::http::renewal::Renewal;
use crate::store::options::Settings;
use crate::store::value::ValueKind;

/// Gets the credentials of one provider.
pub(super) type Provider<C> = Arc<dyn CredentialProvider<Credential = C>>;

/// How the credentials of a provider are used.
pub(super) struct Usage<C> {
    /// Returns the values that are sent.
    pub(super) values: fn(&C) -> Vec<&str>,
    /// Signs a request that was signed with other credentials. Returns false if that is not possible.
    pub(super) sign: fn(&C, &mut HttpRequest) -> bool,
}

/// Credentials of a provider whose values can be sent.
pub(super) struct CheckedCredentials<C> {
    current: StdMutex<Provider<C>>,
    /// Locked while the client may read the file.
    token_file: Option<Mutex<TokenFile>>,
    usage: Usage<C>,
    /// Reads all files again, and returns what gets the credentials anew.
    read_again: Box<dyn Fn() -> Result<Provider<C>> + Send + Sync>,
    /// Locked while the credentials are renewed.
    renewing: Mutex<()>,
    /// Whether the present credentials were read again, and no request has succeeded since.
    is_untried: AtomicBool,
    /// Whether credentials were replaced by others of which the same values are sent, such as a key with a new secret.
    is_ambiguous: AtomicBool,
}

/// What a request was signed with that was signed again.
struct SignedWith<C>(Arc<C>);

impl<C> Clone for SignedWith<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> CheckedCredentials<C> {
    pub(super) fn new(
        current: Provider<C>,
        token_file: Option<TokenFile>,
        usage: Usage<C>,
        read_again: impl Fn() -> Result<Provider<C>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            current: StdMutex::new(current),
            token_file: token_file.map(Mutex::new),
            usage,
            read_again: Box::new(read_again),
            renewing: Mutex::default(),
            is_untried: AtomicBool::new(false),
            is_ambiguous: AtomicBool::new(false),
        }
    }

    fn current(&self) -> MutexGuard<'_, Provider<C>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the credentials of a provider, which may read the token file.
    async fn get(&self, provider: Provider<C>) -> object_store::Result<Arc<C>> {
        let credential = match &self.token_file {
            None => provider.get_credential().await?,
            Some(file) => {
                let mut file = file.lock().await;
                file.refresh().map_err(|error| rejected(error.kind(), error.to_string()))?;
                provider.get_credential().await?
            }
        };
        let values = (self.usage.values)(&credential);
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

    /// Returns whether the values of these credentials are in a request.
    fn is_sent(&self, credential: &C, request: &HttpRequest) -> bool {
        let headers: Vec<&str> = request.headers().values().filter_map(|value| value.to_str().ok()).collect();
        let values = (self.usage.values)(credential);
        values.iter().all(|value| headers.iter().any(|header| header.contains(value)))
    }
}

impl<C: fmt::Debug + PartialEq + Send + Sync + 'static> CheckedCredentials<C> {
    /// Returns whether a request was signed with these credentials. Where that cannot be seen, a refused one was not.
    fn is_signed_with(&self, credential: &C, request: &HttpRequest, is_refused: bool) -> bool {
        match request.extensions().get::<SignedWith<C>>() {
            Some(SignedWith(with)) => **with == *credential,
            None if is_refused && self.is_ambiguous.load(Ordering::Relaxed) => false,
            None => self.is_sent(credential, request),
        }
    }

    fn sign_again(&self, credential: Arc<C>, request: &mut HttpRequest) -> bool {
        let is_signed = (self.usage.sign)(&credential, request);
        request.extensions_mut().insert(SignedWith(credential));
        is_signed
    }

    /// Replaces the credentials, and returns the new ones; `None` if those that can be read now are the same.
    async fn replace(&self, present: &C) -> object_store::Result<Option<Arc<C>>> {
        // What was read again and refused at once is not read once more: some services return others every time.
        if self.is_untried.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let provider = (self.read_again)().map_err(|error| rejected(error.kind(), error.to_string()))?;
        let credential = self.get(provider.clone()).await?;
        if *credential == *present {
            return Ok(None);
        }
        *self.current() = provider;
        let values = self.usage.values;
        self.is_ambiguous.fetch_or(values(&credential) == values(present), Ordering::Relaxed);
        self.is_untried.store(true, Ordering::Relaxed);
        Ok(Some(credential))
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
        let provider = self.current().clone();
        self.get(provider).await
    }
}

#[async_trait]
impl<C: fmt::Debug + PartialEq + Send + Sync + 'static> Renewal for CheckedCredentials<C> {
    async fn sign(&self, request: &mut HttpRequest) -> bool {
        match self.get_credential().await {
            Ok(credential) => (self.usage.sign)(&credential, request),
            Err(_) => false,
        }
    }

    async fn renew(&self, request: &mut HttpRequest, is_refused: bool) -> bool {
        let _only_one = self.renewing.lock().await;
        let Ok(present) = self.get_credential().await else { return false };
        // Another request may have renewed them since this one was signed.
        if !self.is_signed_with(&present, request, is_refused) {
            return self.sign_again(present, request);
        }
        if !is_refused {
            return false;
        }
        match self.replace(&present).await {
            Ok(Some(credential)) => self.sign_again(credential, request),
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(%error, "credentials that were refused cannot be read again");
                false
            }
        }
    }

    fn accepted(&self) {
        self.is_untried.store(false, Ordering::Relaxed);
    }
}

/// Puts a token into a request that has another one.
#[cfg(any(feature = "gcp", feature = "azure"))]
pub(super) fn sign_with_bearer(bearer: &str, request: &mut HttpRequest) -> bool {
    use http::header::{AUTHORIZATION, HeaderValue};

    let headers = request.headers_mut();
    let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {bearer}")) else { return false };
    value.set_sensitive(true);
    headers.contains_key(AUTHORIZATION) && headers.insert(AUTHORIZATION, value).is_some()
}

fn rejected(kind: ErrorKind, reason: String) -> object_store::Error {
    object_store::Error::Generic { store: "credentials", source: Box::new(ProviderRejection::new(kind, reason)) }
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
