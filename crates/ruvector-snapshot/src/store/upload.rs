//! An upload of one object, in parts: bytes are buffered up to the part size, and each part is sent as soon as the
//! budget allows. Besides the parts that the budget bounds, an upload holds the part that is being filled.
//!
//! A multipart upload that was begun always ends: [`Upload::finish`] completes it; an error, [`Upload::abort`] or a
//! drop aborts it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutPayloadMut,
};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

use super::budget::{Budget, part_options};
use super::error::{is_transient, operation_failed};
use super::notices::Notices;
use super::rate_limit::Allowed;
use super::{SentCounter, Upload};
use crate::error::{ErrorKind, Result, SnapshotError};

/// Size of a part, unless a size hint asks for more.
const PART_BYTES_MIN: u64 = 8 * MIB;
/// Largest part that S3 and GCS accept.
const PART_BYTES_MAX: u64 = 5 * 1024 * MIB;
/// Largest number of parts that S3 and GCS accept.
const PARTS_MAX: u64 = 10_000;
/// Number of parts that a size hint is divided into. Lower than allowed, so that a hint may be slightly too small.
const PARTS_PLANNED: u64 = 9_900;
/// Smaller pieces are copied together, so that a part does not consist of many small buffers.
const PIECE_BYTES_COPIED_MAX: usize = 64 * 1024;
/// A larger piece is sent before more bytes are accepted. It can have 128 MiB.
const PIECE_BYTES_AHEAD_MAX: usize = 8 * MIB as usize;

const MIB: u64 = 1024 * 1024;

type Start = BoxFuture<'static, object_store::Result<Box<dyn MultipartUpload>>>;

/// Where an upload goes.
#[derive(Clone)]
pub(super) struct Destination {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) budget: Arc<Budget>,
    /// The store, as errors call it.
    pub(super) location: Arc<str>,
    pub(super) key: String,
    pub(super) path: Path,
    pub(super) notices: Notices,
    /// What removes the parts of an upload that could not be aborted.
    pub(super) part_remover: &'static str,
}

impl Destination {
    /// Reports parts that are left.
    fn report_left(&self, sent_bytes: u64, error: &SnapshotError) {
        let left = format!("parts of {} (up to {sent_bytes} bytes)", self.key);
        let (location, why, remover) = (&self.location, error.message(), self.part_remover);
        let notice = format!("the clean-up of a failed upload left {left} in {location}: {why}; {remover}");
        self.notices.add_left(&self.key, &left, &notice);
    }
}

pub(super) struct ObjectUpload {
    to: Destination,
    storage_class: Option<&'static str>,
    part_bytes: usize,
    parts_started: u64,
    written_bytes: u64,
    buffer: PutPayloadMut,
    /// Whether everything was sent that can be sent before the object is published.
    is_rest_sent: bool,
    count: SentCounter,
    /// What the rate limit has allowed of an object that fits in one part.
    allowed: Option<Allowed>,
    parts: JoinSet<object_store::Result<()>>,
    /// Begun with the first part that more bytes follow. An object that fits in one part is sent with a single put.
    multipart: Option<Box<dyn MultipartUpload>>,
    /// The request that starts it, until it has a response. It is always awaited, since only the response says what to
    /// abort.
    start: Option<Start>,
    /// False while a call is running and after an error. A call that was dropped leaves it false, because it is
    /// unknown how many of its bytes were accepted.
    usable: bool,
}

impl ObjectUpload {
    pub(super) fn new(
        to: Destination,
        size_hint_bytes: Option<u64>,
        storage_class: Option<&'static str>,
    ) -> Result<Self> {
        Ok(Self {
            part_bytes: part_bytes(size_hint_bytes.unwrap_or(0)).map_err(|error| error.with_key(&to.key))?,
            to,
            storage_class,
            parts_started: 0,
            written_bytes: 0,
            buffer: PutPayloadMut::new(),
            is_rest_sent: false,
            count: Arc::new(|_| {}),
            allowed: None,
            parts: JoinSet::new(),
            multipart: None,
            start: None,
            usable: true,
        })
    }

    fn begin_call(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.usable, false) {
            return Ok(());
        }
        let message = "this upload failed or was interrupted before; start a new one";
        Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(&self.to.key))
    }

    /// Makes the upload usable again after a call that has succeeded, and aborts it after one that has failed.
    async fn end_call(&mut self, outcome: Result<()>) -> Result<()> {
        match outcome {
            Ok(()) => {
                self.usable = true;
                Ok(())
            }
            Err(error) => Err(self.fail(error).await),
        }
    }

    async fn append(&mut self, mut bytes: Bytes) -> Result<()> {
        if self.is_rest_sent {
            let message = "bytes cannot be written after the rest of an upload was sent";
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(&self.to.key));
        }
        let all_bytes = bytes.len();
        let is_large = all_bytes > PIECE_BYTES_AHEAD_MAX;
        while !bytes.is_empty() {
            if self.buffer.content_length() == self.part_bytes {
                self.send_part().await?;
            }
            let free_bytes = self.part_bytes - self.buffer.content_length();
            let piece = bytes.split_to(free_bytes.min(bytes.len()));
            self.written_bytes += piece.len() as u64;
            if piece.len() < PIECE_BYTES_COPIED_MAX {
                self.buffer.extend_from_slice(&piece);
            } else if is_large && bytes.is_empty() && piece.len() < all_bytes / 2 {
                // A slice would keep all of it in memory until the next part is sent.
                self.buffer.push(Bytes::copy_from_slice(&piece));
            } else {
                self.buffer.push(piece);
            }
        }
        while is_large && let Some(sent) = self.parts.join_next().await {
            self.check_part(sent)?;
        }
        Ok(())
    }

    /// Sends the contents of the buffer as the next part, as soon as the budget allows.
    async fn send_part(&mut self) -> Result<()> {
        if self.parts_started == PARTS_MAX {
            let message = format!(
                "the upload has more than {PARTS_MAX} parts of {} MiB; start again with a larger size hint",
                self.part_bytes as u64 / MIB
            );
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(&self.to.key));
        }
        let part: PutPayload = std::mem::take(&mut self.buffer).into();
        let part_bytes = part.content_length() as u64;
        let permit = self.to.budget.permit(part_bytes).await;
        while let Some(sent) = self.parts.try_join_next() {
            self.check_part(sent)?;
        }
        if self.multipart.is_none() {
            self.start = Some(start(self.to.clone(), self.storage_class).boxed());
            let started = self.await_start().await;
            started.map_err(|cause| self.failed("start the upload", cause))?;
        }
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        let (sending, budget, count) = (multipart.put_part(part), self.to.budget.clone(), self.count.clone());
        self.parts.spawn(async move {
            let _permit = permit;
            let allowed = budget.before_sending(part_bytes, &count).await;
            sending.await?;
            budget.succeeded();
            allowed.received(part_bytes);
            Ok(())
        });
        self.parts_started += 1;
        Ok(())
    }

    /// Waits for the response to the start, if there is none yet.
    async fn await_start(&mut self) -> object_store::Result<()> {
        let Some(start) = &mut self.start else { return Ok(()) };
        let started = start.await;
        self.start = None;
        self.multipart = Some(started?);
        Ok(())
    }

    /// Returns the outcome of a part that has been sent.
    fn check_part(&self, sent: Result<object_store::Result<()>, JoinError>) -> Result<()> {
        let sent = sent.unwrap_or_else(|join| Err(join.into()));
        sent.map_err(|cause| self.failed("write", cause))
    }

    /// Sends the last part and waits for all parts. Sending an object that fits in one part publishes it, so of that it
    /// waits only for the rate limit.
    async fn send_all(&mut self) -> Result<()> {
        if self.is_rest_sent {
            return Ok(());
        }
        if self.multipart.is_none() {
            let object_bytes = self.buffer.content_length() as u64;
            self.allowed = Some(self.to.budget.before_sending(object_bytes, &self.count).await);
        } else {
            self.send_part().await?;
            while let Some(sent) = self.parts.join_next().await {
                self.check_part(sent)?;
            }
        }
        self.is_rest_sent = true;
        Ok(())
    }

    async fn complete(&mut self) -> Result<()> {
        self.send_all().await?;
        if let Some(multipart) = &mut self.multipart {
            let _permit = self.to.budget.permit(0).await;
            let completed = multipart.complete().await;
            completed.map_err(|cause| self.failed("complete the upload", cause))?;
            self.multipart = None;
            return Ok(());
        }
        let object: PutPayload = std::mem::take(&mut self.buffer).into();
        let object_bytes = object.content_length() as u64;
        let _permit = self.to.budget.permit(object_bytes).await;
        let options = PutOptions { attributes: attributes(self.storage_class), ..PutOptions::default() };
        let stored = self.to.objects.put_opts(&self.to.path, object, options).await;
        stored.map_err(|cause| self.failed("write", cause))?;
        if let Some(allowed) = self.allowed.take() {
            allowed.received(object_bytes);
        }
        Ok(())
    }

    /// Aborts the multipart upload, if one was begun. It stays in its field until it has ended, so that `drop` finds it
    /// if this future is dropped.
    async fn discard(&mut self) -> Result<()> {
        self.usable = false;
        self.buffer = PutPayloadMut::new();
        self.parts.shutdown().await;
        // If it could not be started there is nothing to abort.
        let _ = self.await_start().await;
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        let aborted = multipart.abort().await;
        self.multipart = None;
        not_aborted(&self.to, aborted).map_or(Ok(()), Err)
    }

    /// Aborts the upload because of an error and returns that error. An error of the abort is reported.
    async fn fail(&mut self, first: SnapshotError) -> SnapshotError {
        if let Err(error) = self.discard().await {
            self.to.report_left(self.sent_bytes(), &error);
        }
        first
    }

    /// How many bytes of parts the store may hold.
    fn sent_bytes(&self) -> u64 {
        self.parts_started.saturating_mul(self.part_bytes as u64).min(self.written_bytes)
    }

    fn failed(&self, action: &str, cause: object_store::Error) -> SnapshotError {
        operation_failed(action, &self.to.location, &self.to.key, cause)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Upload for ObjectUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.begin_call()?;
        let appended = self.append(bytes).await;
        self.end_call(appended).await
    }

    async fn send_rest(&mut self) -> Result<()> {
        self.begin_call()?;
        let sent = self.send_all().await;
        self.end_call(sent).await
    }

    fn count_sent(&mut self, count: SentCounter) {
        self.count = count;
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        self.begin_call()?;
        match self.complete().await {
            Ok(()) => Ok(self.written_bytes),
            Err(error) => Err(self.fail(error).await),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let discarded = self.discard().await;
        discarded.inspect_err(|error| self.to.report_left(self.sent_bytes(), error))
    }
}

impl Drop for ObjectUpload {
    fn drop(&mut self) {
        let (start, multipart) = (self.start.take(), self.multipart.take());
        if start.is_none() && multipart.is_none() {
            return;
        }
        self.parts.abort_all();
        let Ok(runtime) = Handle::try_current() else { return };
        let mut parts = std::mem::take(&mut self.parts);
        let (to, sent_bytes) = (self.to.clone(), self.sent_bytes());
        let report = move |aborted| {
            if let Some(error) = not_aborted(&to, aborted) {
                to.report_left(sent_bytes, &error);
            }
        };
        let mut abort = async move {
            let multipart = match (multipart, start) {
                (None, Some(start)) => start.await.ok(),
                (multipart, _) => multipart,
            };
            match multipart {
                Some(mut multipart) => multipart.abort().await,
                None => Ok(()),
            }
        }
        .boxed();
        // A local disk and memory abort at the first poll. A network needs a task of its own.
        match (&mut abort).now_or_never() {
            Some(aborted) => report(aborted),
            None => drop(runtime.spawn(async move {
                parts.shutdown().await;
                report(abort.await);
            })),
        }
    }
}

/// Starts a multipart upload. If a server started one and its response was lost, that upload stays: its id, which an
/// abort needs, is unknown.
async fn start(to: Destination, storage_class: Option<&'static str>) -> object_store::Result<Box<dyn MultipartUpload>> {
    let mut deadline = to.budget.deadline();
    loop {
        let options = PutMultipartOptions { attributes: attributes(storage_class), ..part_options(&to.budget) };
        let cause = match to.objects.put_multipart_opts(&to.path, options).await {
            Ok(multipart) => return Ok(multipart),
            Err(cause) => cause,
        };
        if !is_transient(&cause) || !deadline.wait().await {
            return Err(cause);
        }
    }
}

fn attributes(storage_class: Option<&'static str>) -> Attributes {
    storage_class.into_iter().map(|class| (Attribute::StorageClass, class)).collect()
}

/// Returns the part size for an object of at most `bound_bytes`. All parts but the last have this size; some servers
/// require equal sizes.
fn part_bytes(bound_bytes: u64) -> Result<usize> {
    let planned_bytes = bound_bytes.div_ceil(PARTS_PLANNED).div_ceil(MIB).saturating_mul(MIB);
    let part_bytes = planned_bytes.max(PART_BYTES_MIN);
    if part_bytes <= PART_BYTES_MAX
        && let Ok(part_bytes) = usize::try_from(part_bytes)
    {
        return Ok(part_bytes);
    }
    let message = format!("an object of up to {bound_bytes} bytes is too large for a store");
    Err(SnapshotError::new(ErrorKind::InvalidInput, message))
}

/// Returns why an upload could not be aborted. One that is not there any more is no error.
fn not_aborted(to: &Destination, aborted: object_store::Result<()>) -> Option<SnapshotError> {
    let error = aborted.err().map(|cause| operation_failed("abort the upload", &to.location, &to.key, cause));
    error.filter(|error| error.kind() != ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_size_grows_with_the_size_hint() {
        let mib = |bytes: usize| bytes as u64 / MIB;
        assert_eq!(mib(part_bytes(0).unwrap()), 8);
        assert_eq!(mib(part_bytes(PARTS_PLANNED * 8 * MIB).unwrap()), 8);
        assert_eq!(mib(part_bytes(PARTS_PLANNED * 8 * MIB + 1).unwrap()), 9);
        assert_eq!(mib(part_bytes(5 << 40).unwrap()), 530);
        assert_eq!(part_bytes(u64::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
