//! The one implementation of [`SnapshotStore`]: any `object_store::ObjectStore`, below a prefix.
//!
//! This is the only place that turns an `object_store::Error` into an error of this crate. It knows no backend by name:
//! what is special about one belongs into the `ObjectStore` that is handed in here.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};

use super::answer::Refusal;
use super::disk::Disk;
use super::transfer::{PERMIT_BYTES, Patience, RETRY_TIMEOUT, TransferConfig, Transfers, Tries, is_transient};
use super::upload::ObjectUpload;
use super::{IsOurs, ObjectInfo, SnapshotStore, Upload, check_key, check_prefix};
use crate::error::{ErrorKind, Result, SnapshotError};

/// A [`SnapshotStore`] over any `object_store::ObjectStore`.
#[derive(Clone)]
pub struct ObjectSnapshotStore {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) transfers: Arc<Transfers>,
    prefix: Path,
    location: String,
    /// Where uploads of processes that were killed leave files.
    staged_files: Option<Disk>,
}

impl ObjectSnapshotStore {
    /// Keeps objects in `objects`, below `prefix` (empty for all of it).
    ///
    /// `location` is what errors, `Display` and `Debug` call the place; it must hold no secret.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &str, location: impl Into<String>) -> Result<Self> {
        check_prefix(prefix)?;
        let transfers = Transfers::new(&TransferConfig::default(), RETRY_TIMEOUT)?;
        Ok(Self { objects, transfers, prefix: to_path(prefix)?, location: location.into(), staged_files: None })
    }

    /// Carries no more at once, and no faster, than `config` says. One budget holds for all clones of this store.
    pub fn with_transfers(self, config: &TransferConfig) -> Result<Self> {
        Ok(self.with_budget(Transfers::new(config, RETRY_TIMEOUT)?))
    }

    pub(super) fn with_budget(self, transfers: Arc<Transfers>) -> Self {
        Self { transfers, ..self }
    }

    pub(super) fn with_staged_files(self, disk: Disk) -> Self {
        Self { staged_files: Some(disk), ..self }
    }

    pub(super) fn path_of(&self, key: &str) -> Result<Path> {
        check_key(key)?;
        to_path(&self.text_of(key))
    }

    /// The error for what `objects` said while `doing` something with a key.
    pub(super) fn error(&self, doing: &str, key: &str, cause: object_store::Error) -> SnapshotError {
        let refusal = Refusal::within(&cause).cloned();
        let kind = refusal.as_ref().map_or_else(|| kind_of(&cause), |refusal| refusal.kind);
        let why = match kind {
            _ if let Some(refusal) = &refusal => refusal.what.as_str(),
            ErrorKind::NotFound => "nothing is there",
            ErrorKind::AlreadyExists => "an object stands there already, and was left as it is",
            ErrorKind::Invalid => "the store cannot hold an object under this key",
            ErrorKind::Denied => "no permission, or a read-only disk; look at the credentials and the access rights",
            ErrorKind::NoSpace => "the disk or the quota is full; make room and try again",
            ErrorKind::Internal => "a task of this program failed",
            _ => "the store did not answer as it should; trying again may help",
        };
        let error = SnapshotError::new(kind, format!("cannot {doing} in {}: {why}", self.location));
        // What is understood is said; the client's words around it would only say it again.
        let error = match refusal {
            Some(refusal) => error.because(refusal),
            None => error.because(cause),
        };
        if key.is_empty() { error } else { error.at(key) }
    }

    /// Why a range could not be read in full: the object is too short, or what the store said.
    async fn range_error(&self, key: &str, range: &Range<u64>, cause: object_store::Error) -> SnapshotError {
        let error = self.error("read", key, cause);
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Invalid) {
            return error;
        }
        // Stores have no common error for a range behind the end, so the size tells.
        match self.head(key).await {
            Ok(info) if info.size_bytes < range.end => self.too_short(key, range, info.size_bytes).because(error),
            _ => error,
        }
    }

    fn too_short(&self, key: &str, range: &Range<u64>, size_bytes: u64) -> SnapshotError {
        let message = format!(
            "cannot read bytes {} to {} in {}: the object has only {size_bytes}",
            range.start, range.end, self.location
        );
        SnapshotError::new(ErrorKind::Damaged, message).at(key)
    }

    fn text_of(&self, key: &str) -> String {
        match (self.prefix.as_ref(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}/{key}"),
        }
    }

    /// What a listed object is to a caller; nothing where its name is no key.
    fn info_of(&self, meta: ObjectMeta) -> Option<ObjectInfo> {
        let text = meta.location.as_ref();
        let key = match self.prefix.as_ref() {
            "" => text,
            prefix => text.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        check_key(key).ok()?;
        Some(ObjectInfo { key: key.to_owned(), size_bytes: meta.size, modified_at: meta.last_modified })
    }
}

#[async_trait]
impl SnapshotStore for ObjectSnapshotStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = self.path_of(key)?;
        let _permit = self.transfers.permit(bytes.len() as u64).await;
        let (mut patience, tries) = (self.transfers.patience(), Tries::default());
        loop {
            self.transfers.before_sending(bytes.len() as u64).await;
            let mut options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            options.extensions.insert(tries.clone());
            let cause = match self.objects.put_opts(&path, bytes.clone().into(), options).await {
                Ok(_) => return Ok(()),
                Err(cause) => cause,
            };
            // A request whose answer was lost may have worked, and one that was repeated can meet its own object.
            let exists = kind_of(&cause) == ErrorKind::AlreadyExists;
            let in_doubt = if exists { tries.are_several() } else { is_transient(&cause) };
            let error = self.error("create the object", key, cause);
            if !in_doubt {
                return Err(error);
            }
            match self.stands(&path, &bytes).await {
                Some(true) => return Ok(()),
                Some(false) if exists => return Err(error),
                Some(false) => return Err(self.error("create the object", key, already_exists(&path))),
                None if patience.wait().await => {}
                None => return Err(error),
            }
        }
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let path = self.path_of(key)?;
        Ok(Box::new(ObjectUpload::new(self.clone(), key, path, size_hint_bytes)?))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let path = self.path_of(key)?;
        let _permit = self.transfers.permit(0).await;
        let answer = self.objects.get(&path).await.map_err(|cause| self.error("read", key, cause))?;
        let size_bytes = answer.meta.size;
        if size_bytes > limit_bytes {
            let message = format!("the object has {size_bytes} bytes, where at most {limit_bytes} can be right");
            return Err(SnapshotError::new(ErrorKind::Damaged, message).at(key));
        }
        self.transfers.before_reading(size_bytes).await;
        self.receive(key, &path, answer, 0..size_bytes).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path_of(key)?;
        if range.start > range.end {
            let message = format!("cannot read from byte {} back to {}", range.start, range.end);
            return Err(SnapshotError::new(ErrorKind::Invalid, message).at(key));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let permit = self.transfers.permit(range.end - range.start).await;
        self.transfers.before_reading(range.end - range.start).await;
        let answer = match self.objects.get_opts(&path, bounded(&range)).await {
            Ok(answer) => answer,
            Err(cause) => {
                // Looking at the object takes a permit of its own, which may be this one.
                drop(permit);
                return Err(self.range_error(key, &range, cause).await);
            }
        };
        if answer.range != range {
            return Err(self.too_short(key, &range, answer.meta.size));
        }
        self.receive(key, &path, answer, range).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        let path = self.path_of(key)?;
        let _permit = self.transfers.permit(0).await;
        let meta = match self.objects.head(&path).await {
            Ok(meta) => meta,
            Err(cause) => return Err(self.head_error(key, &path, cause).await),
        };
        Ok(ObjectInfo { key: key.to_owned(), size_bytes: meta.size, modified_at: meta.last_modified })
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let path = match check_prefix(prefix).and_then(|()| to_path(&self.text_of(prefix))) {
            Ok(path) => path,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let prefix = prefix.to_owned();
        let objects = self.objects.clone();
        self.listed(move || objects.list(Some(&path)))
            .map_err(move |cause| self.list_error(&prefix, cause))
            .try_filter_map(|meta| async { Ok(self.info_of(meta)) })
            .boxed()
    }

    fn list_ours<'a>(&'a self, is_ours: IsOurs) -> BoxStream<'a, Result<ObjectInfo>> {
        let is_asked_for = move |object: &ObjectInfo| std::future::ready(is_ours(&object.key));
        let Some(disk) = self.staged_files.clone() else {
            return self.list("").try_filter(is_asked_for).boxed();
        };
        self.listed(move || disk.list_ours(is_ours))
            .map_err(move |cause| self.list_error("", cause))
            .try_filter_map(|meta| async { Ok(self.info_of(meta)) })
            .try_filter(is_asked_for)
            .boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path_of(key)?;
        let _permit = self.transfers.permit(0).await;
        let mut patience = self.transfers.patience();
        loop {
            let cause = match self.objects.delete(&path).await {
                Ok(()) => return Ok(()),
                Err(cause) => cause,
            };
            let may_pass = is_transient(&cause);
            let error = self.error("delete", key, cause);
            if error.kind() == ErrorKind::NotFound {
                return Ok(());
            }
            if !may_pass || !patience.wait().await {
                return Err(error);
            }
        }
    }

    async fn sweep(&self, is_ours: IsOurs, before: DateTime<Utc>, remove: bool) -> Result<Vec<ObjectInfo>> {
        let Some(disk) = self.staged_files.clone() else { return Ok(Vec::new()) };
        disk.sweep(is_ours, before, remove)
            .await
            .map_err(|cause| self.error("look for what killed uploads have left", "", cause))
    }
}

impl ObjectSnapshotStore {
    /// All that a listing gives. Where the connection breaks it lists again, without what came before: not every store
    /// lists in an order.
    fn listed(
        &self,
        list: impl Fn() -> BoxStream<'static, object_store::Result<ObjectMeta>> + Clone + Send + Sync + 'static,
    ) -> BoxStream<'_, object_store::Result<ObjectMeta>> {
        let start = Listed { objects: list(), came: HashSet::new(), patience: self.transfers.patience() };
        let next = move |mut listed: Listed| {
            let list = list.clone();
            async move {
                loop {
                    match listed.objects.try_next().await {
                        Ok(None) => return Ok(None),
                        Ok(Some(meta)) if listed.came.contains(&meta.location) => {}
                        Ok(Some(meta)) => {
                            listed.came.insert(meta.location.clone());
                            listed.patience.progressed();
                            return Ok(Some((meta, listed)));
                        }
                        Err(cause) if !is_transient(&cause) || !listed.patience.wait().await => return Err(cause),
                        Err(_may_pass) => listed.objects = list(),
                    }
                }
            }
        };
        stream::try_unfold(start, next).boxed()
    }

    /// The bytes of `range`, from an answer that begins them; where it breaks off, what is missing is asked for again.
    async fn receive(&self, key: &str, path: &Path, answer: GetResult, range: Range<u64>) -> Result<Bytes> {
        let wanted_bytes = range.end - range.start;
        // A file is read at once, without a stream in between.
        if matches!(answer.payload, GetResultPayload::File(..)) {
            let bytes = answer.bytes().await.map_err(|cause| self.error("read", key, cause))?;
            self.check_length(key, bytes.len() as u64, wanted_bytes)?;
            return Ok(bytes);
        }
        let mut patience = self.transfers.patience();
        let mut received = BytesMut::with_capacity(wanted_bytes.min(PERMIT_BYTES) as usize);
        let mut answer = answer;
        loop {
            let before_bytes = received.len();
            let broken = append(&mut received, answer.into_stream(), wanted_bytes).await.err();
            let Some(mut cause) = broken.filter(|_| (received.len() as u64) < wanted_bytes) else {
                self.check_length(key, received.len() as u64, wanted_bytes)?;
                self.transfers.succeeded();
                return Ok(received.freeze());
            };
            if received.len() > before_bytes {
                patience.progressed();
            }
            let rest = range.start + received.len() as u64..range.end;
            answer = loop {
                if !is_transient(&cause) || !patience.wait().await {
                    return Err(self.error("read", key, cause));
                }
                match self.objects.get_opts(path, bounded(&rest)).await {
                    Ok(answer) if answer.range == rest => break answer,
                    Ok(answer) => return Err(self.too_short(key, &rest, answer.meta.size)),
                    Err(again) => cause = again,
                }
            };
        }
    }

    /// Whether these bytes stand under a path: `Some(false)` for others, nothing where there are none, or nobody can tell.
    async fn stands(&self, path: &Path, bytes: &Bytes) -> Option<bool> {
        let answer = self.objects.get(path).await.ok()?;
        if answer.meta.size != bytes.len() as u64 {
            return Some(false);
        }
        Some(answer.bytes().await.ok()? == bytes)
    }

    /// The error for a HEAD. Its answer has no body, and so no words; a listing has them, if it is refused too.
    async fn head_error(&self, key: &str, path: &Path, cause: object_store::Error) -> SnapshotError {
        let is_wordless = kind_of(&cause) != ErrorKind::NotFound && Refusal::within(&cause).is_none();
        if is_wordless
            && let Some(Err(worded)) = self.objects.list(Some(path)).next().await
            && Refusal::within(&worded).is_some()
        {
            return self.error("look at the object", key, worded);
        }
        self.error("look at the object", key, cause)
    }

    fn list_error(&self, prefix: &str, cause: object_store::Error) -> SnapshotError {
        if !matches!(cause, object_store::Error::InvalidPath { .. }) {
            return self.error("list the objects", prefix, cause);
        }
        let what = format!(
            "cannot list {}: an object there has a name that cannot be read; give the snapshots a prefix of their own",
            self.location
        );
        SnapshotError::new(ErrorKind::Invalid, what).because(cause)
    }

    fn check_length(&self, key: &str, found_bytes: u64, wanted_bytes: u64) -> Result<()> {
        if found_bytes == wanted_bytes {
            return Ok(());
        }
        let message = format!("{} gave {found_bytes} bytes of {wanted_bytes}; try again", self.location);
        Err(SnapshotError::new(ErrorKind::Unavailable, message).at(key))
    }
}

/// A listing on its way.
struct Listed {
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    came: HashSet<Path>,
    patience: Patience,
}

/// Appends what comes, up to `limit_bytes` in all and a little more.
async fn append(
    received: &mut BytesMut,
    mut stream: BoxStream<'static, object_store::Result<Bytes>>,
    limit_bytes: u64,
) -> object_store::Result<()> {
    while received.len() as u64 <= limit_bytes
        && let Some(chunk) = stream.try_next().await?
    {
        received.extend_from_slice(&chunk);
    }
    Ok(())
}

impl fmt::Display for ObjectSnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

impl fmt::Debug for ObjectSnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client is left out: what it prints of its credentials is not in our hands.
        f.debug_struct("ObjectSnapshotStore")
            .field("location", &self.location)
            .field("prefix", &self.prefix.as_ref())
            .finish_non_exhaustive()
    }
}

fn bounded(range: &Range<u64>) -> GetOptions {
    // Not `get_ranges`: on a disk it takes memory for the range before it looks at the file.
    GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() }
}

fn already_exists(path: &Path) -> object_store::Error {
    object_store::Error::AlreadyExists { path: path.to_string(), source: "it holds other bytes".into() }
}

fn to_path(text: &str) -> Result<Path> {
    // `Path::parse` takes the text as it is; `Path::from` would percent-encode it into another key.
    Path::parse(text).map_err(|cause| SnapshotError::new(ErrorKind::Invalid, "not a key of a store").because(cause))
}

fn kind_of(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as Cause;
    match error {
        Cause::NotFound { .. } => ErrorKind::NotFound,
        Cause::AlreadyExists { .. } | Cause::Precondition { .. } => ErrorKind::AlreadyExists,
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => ErrorKind::Denied,
        Cause::InvalidPath { .. } | Cause::NotSupported { .. } | Cause::NotImplemented { .. } => ErrorKind::Invalid,
        Cause::JoinError { source } if source.is_panic() => ErrorKind::Internal,
        other => io_cause(other).map_or(ErrorKind::Unavailable, ErrorKind::from),
    }
}

/// The kind of the I/O error at the bottom of an error, if there is one.
pub(super) fn io_cause(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = current.source();
    }
    None
}
