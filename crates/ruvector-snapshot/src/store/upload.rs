//! One object in parts: buffered to a part size, each part on its way as soon as the budget has room for it, completed or
//! aborted, never left behind. Besides the parts that the budget bounds, an upload holds the one that fills up.
//!
//! Every way out ends the multipart upload that was begun: [`Upload::finish`] completes it, an error or
//! [`Upload::abort`] aborts it, and so does dropping it, as far as a drop can.

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore as _, ObjectStoreExt, PutPayload, PutPayloadMut};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

use super::Upload;
use super::object::ObjectSnapshotStore;
use super::transfer::{is_transient, part_options};
use crate::error::{ErrorKind, Result, SnapshotError};

/// The size of a part where nothing asks for more.
const PART_BYTES_MIN: u64 = 8 * MIB;
/// The largest part that S3 and GCS take.
const PART_BYTES_MAX: u64 = 5 * 1024 * MIB;
/// The most parts that S3 and GCS take.
const PARTS_MAX: u64 = 10_000;
/// The number of parts that a size hint is spread over; fewer than are allowed, so that a hint may be a little short.
const PARTS_PLANNED: u64 = 9_900;
/// Pieces smaller than this are copied together, so that a part is no heap of crumbs.
const PIECE_BYTES_COPIED_MAX: usize = 64 * 1024;

const MIB: u64 = 1024 * 1024;

type Starting = BoxFuture<'static, object_store::Result<Box<dyn MultipartUpload>>>;

pub(super) struct ObjectUpload {
    store: ObjectSnapshotStore,
    key: String,
    path: Path,
    part_bytes: usize,
    parts_started: u64,
    written_bytes: u64,
    buffer: PutPayloadMut,
    parts: JoinSet<object_store::Result<()>>,
    /// Begun with the first part that is followed by more: an object that fits in one part is a single put.
    multipart: Option<Box<dyn MultipartUpload>>,
    /// The start of it, until it is answered. Whatever happens, it is waited for: only the answer tells what to abort.
    starting: Option<Starting>,
    /// False from an error on, and while a call is running: a call that was dropped half-way leaves it false, because
    /// nobody knows how many of its bytes were taken.
    intact: bool,
}

impl ObjectUpload {
    pub(super) fn new(store: ObjectSnapshotStore, key: &str, path: Path, size_hint_bytes: Option<u64>) -> Result<Self> {
        Ok(Self {
            store,
            key: key.to_owned(),
            path,
            part_bytes: part_bytes(size_hint_bytes.unwrap_or(0)).map_err(|error| error.at(key))?,
            parts_started: 0,
            written_bytes: 0,
            buffer: PutPayloadMut::new(),
            parts: JoinSet::new(),
            multipart: None,
            starting: None,
            intact: true,
        })
    }

    fn begin(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.intact, false) {
            return Ok(());
        }
        let message = "this upload failed or was interrupted before; start a new one";
        Err(SnapshotError::new(ErrorKind::Invalid, message).at(&self.key))
    }

    async fn append(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            if self.buffer.content_length() == self.part_bytes {
                self.send_part().await?;
            }
            let room_bytes = self.part_bytes - self.buffer.content_length();
            let piece = bytes.split_to(room_bytes.min(bytes.len()));
            self.written_bytes += piece.len() as u64;
            if piece.len() < PIECE_BYTES_COPIED_MAX {
                self.buffer.extend_from_slice(&piece);
            } else {
                self.buffer.push(piece);
            }
        }
        Ok(())
    }

    /// Sends what the buffer holds as the next part, once the budget has room for it.
    async fn send_part(&mut self) -> Result<()> {
        if self.parts_started == PARTS_MAX {
            let message = format!(
                "more than {PARTS_MAX} parts of {} MiB; start again with a size hint that is not too small",
                self.part_bytes as u64 / MIB
            );
            return Err(SnapshotError::new(ErrorKind::Invalid, message).at(&self.key));
        }
        let part: PutPayload = std::mem::take(&mut self.buffer).into();
        let part_bytes = part.content_length() as u64;
        let permit = self.store.transfers.permit(part_bytes).await;
        while let Some(sent) = self.parts.try_join_next() {
            self.check_part(sent)?;
        }
        if self.multipart.is_none() {
            self.starting = Some(start(self.store.clone(), self.path.clone()).boxed());
            let started = self.started().await;
            started.map_err(|cause| self.store.error("start the upload", &self.key, cause))?;
        }
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        let (sending, transfers) = (multipart.put_part(part), self.store.transfers.clone());
        self.parts.spawn(async move {
            let _permit = permit;
            transfers.before_sending(part_bytes).await;
            sending.await?;
            transfers.succeeded();
            Ok(())
        });
        self.parts_started += 1;
        Ok(())
    }

    /// Waits for the answer to the start, where that is still on its way.
    async fn started(&mut self) -> object_store::Result<()> {
        let Some(starting) = &mut self.starting else { return Ok(()) };
        let started = starting.await;
        self.starting = None;
        self.multipart = Some(started?);
        Ok(())
    }

    /// What became of a part that is no longer on its way.
    fn check_part(&self, sent: Result<object_store::Result<()>, JoinError>) -> Result<()> {
        let sent = sent.unwrap_or_else(|join| Err(join.into()));
        sent.map_err(|cause| self.store.error("write", &self.key, cause))
    }

    async fn complete(&mut self) -> Result<()> {
        if self.multipart.is_none() {
            let whole: PutPayload = std::mem::take(&mut self.buffer).into();
            let whole_bytes = whole.content_length() as u64;
            let _permit = self.store.transfers.permit(whole_bytes).await;
            self.store.transfers.before_sending(whole_bytes).await;
            let stored = self.store.objects.put(&self.path, whole).await;
            return stored.map(drop).map_err(|cause| self.store.error("write", &self.key, cause));
        }
        self.send_part().await?;
        while let Some(sent) = self.parts.join_next().await {
            self.check_part(sent)?;
        }
        if let Some(multipart) = &mut self.multipart {
            let _permit = self.store.transfers.permit(0).await;
            let completed = multipart.complete().await;
            completed.map_err(|cause| self.store.error("complete the upload", &self.key, cause))?;
            self.multipart = None;
        }
        Ok(())
    }

    /// Ends the multipart upload, if one was begun. It stays in its place until it has ended, so that dropping this
    /// future hands it over to the drop of the whole.
    async fn discard(&mut self) -> Result<()> {
        self.intact = false;
        self.buffer = PutPayloadMut::new();
        self.parts.shutdown().await;
        // Where it did not start there is nothing to abort.
        let _either_way = self.started().await;
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        let aborted = multipart.abort().await;
        self.multipart = None;
        aborted.map_err(|cause| self.store.error("abort the upload", &self.key, cause))
    }

    /// Ends the upload because of an error, and gives that error: one of the abort must not take its place.
    async fn fail(&mut self, first: SnapshotError) -> SnapshotError {
        if let Err(error) = self.discard().await {
            warn_of_leftovers(&self.key, &error);
        }
        first
    }
}

#[async_trait]
impl Upload for ObjectUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.begin()?;
        match self.append(bytes).await {
            Ok(()) => {
                self.intact = true;
                Ok(())
            }
            Err(error) => Err(self.fail(error).await),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        self.begin()?;
        match self.complete().await {
            Ok(()) => Ok(self.written_bytes),
            Err(error) => Err(self.fail(error).await),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.discard().await
    }
}

impl Drop for ObjectUpload {
    fn drop(&mut self) {
        let (starting, multipart) = (self.starting.take(), self.multipart.take());
        if starting.is_none() && multipart.is_none() {
            return;
        }
        self.parts.abort_all();
        let Ok(runtime) = Handle::try_current() else { return };
        let mut parts = std::mem::take(&mut self.parts);
        let key = std::mem::take(&mut self.key);
        let mut abort = async move {
            let multipart = match (multipart, starting) {
                (None, Some(starting)) => starting.await.ok(),
                (multipart, _) => multipart,
            };
            match multipart {
                Some(mut multipart) => multipart.abort().await,
                None => Ok(()),
            }
        }
        .boxed();
        // A disk and the memory end an upload at the first poll; a network needs a task of its own.
        match (&mut abort).now_or_never() {
            Some(Ok(())) => {}
            Some(Err(error)) => warn_of_leftovers(&key, &error),
            None => drop(runtime.spawn(async move {
                parts.shutdown().await;
                if let Err(error) = abort.await {
                    warn_of_leftovers(&key, &error);
                }
            })),
        }
    }
}

/// Begins a multipart upload. One that a server began and whose name was lost on the way stays there: nobody can abort it.
async fn start(store: ObjectSnapshotStore, path: Path) -> object_store::Result<Box<dyn MultipartUpload>> {
    let mut patience = store.transfers.patience();
    loop {
        let cause = match store.objects.put_multipart_opts(&path, part_options(&store.transfers)).await {
            Ok(multipart) => return Ok(multipart),
            Err(cause) => cause,
        };
        if !is_transient(&cause) || !patience.wait().await {
            return Err(cause);
        }
    }
}

/// The one size of all parts but the last, some servers insist on that; from an upper bound on the size of the object.
fn part_bytes(bound_bytes: u64) -> Result<usize> {
    let spread_bytes = bound_bytes.div_ceil(PARTS_PLANNED).div_ceil(MIB).saturating_mul(MIB);
    let part_bytes = spread_bytes.max(PART_BYTES_MIN);
    if part_bytes <= PART_BYTES_MAX
        && let Ok(part_bytes) = usize::try_from(part_bytes)
    {
        return Ok(part_bytes);
    }
    let message = format!("an object of up to {bound_bytes} bytes is too large for a store");
    Err(SnapshotError::new(ErrorKind::Invalid, message))
}

/// Tells the log what no caller can be told: the first error, or the drop, has taken the way out.
fn warn_of_leftovers(key: &str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(key, error, "an upload was given up and could not be aborted; its parts may stay in the store");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_the_bound() {
        let mib = |bytes: usize| bytes as u64 / MIB;
        assert_eq!(mib(part_bytes(0).unwrap()), 8);
        assert_eq!(mib(part_bytes(PARTS_PLANNED * 8 * MIB).unwrap()), 8);
        assert_eq!(mib(part_bytes(PARTS_PLANNED * 8 * MIB + 1).unwrap()), 9);
        assert_eq!(mib(part_bytes(5 << 40).unwrap()), 530);
        assert_eq!(part_bytes(u64::MAX).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
