//! A client of `object_store` whose errors contain no secret. Errors of requests contain none already. This is for the
//! errors of responses: a parser may show what it could not read.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::client::HttpError;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::redact::{RedactedError, chain};
use super::rejection::{PreconditionRefused, ProviderRejection};
use super::secrets::Secrets;

/// The client.
#[derive(Debug)]
pub(super) struct RedactedStore<S> {
    pub(super) inner: S,
    pub(super) redactor: Redactor,
}

/// Removes secrets from errors.
#[derive(Clone)]
pub(super) struct Redactor(pub(super) Arc<Secrets>);

impl Redactor {
    /// Returns an error as it is, or one of the same kind with what is left of its text if that contains a secret. The
    /// secret may be an ordinary word, so the text alone says nothing of the kind.
    fn redact(&self, error: object_store::Error) -> object_store::Error {
        use object_store::Error as Cause;
        let (shown, debug) = (chain(&error), format!("{error:?}"));
        let redacted = self.0.scrub(&shown);
        if redacted == shown && self.0.scrub(&debug) == debug {
            return error;
        }
        let source = self.redacted_cause(&error, redacted);
        match error {
            Cause::NotFound { path, .. } => Cause::NotFound { path: self.0.scrub(&path), source },
            Cause::AlreadyExists { path, .. } => Cause::AlreadyExists { path: self.0.scrub(&path), source },
            Cause::Precondition { path, .. } => Cause::Precondition { path: self.0.scrub(&path), source },
            Cause::PermissionDenied { path, .. } => Cause::PermissionDenied { path: self.0.scrub(&path), source },
            Cause::Unauthenticated { path, .. } => Cause::Unauthenticated { path: self.0.scrub(&path), source },
            _ => Cause::Generic { store: "redacted", source },
        }
    }

    /// Returns the cause of an error that decides what it means, with a text that contains no secret.
    fn redacted_cause(&self, error: &object_store::Error, redacted: String) -> Box<dyn StdError + Send + Sync> {
        let causes = || std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source());
        if let Some(rejection) = ProviderRejection::within(error) {
            let rejection = ProviderRejection { reason: self.0.scrub(&rejection.reason), ..rejection.clone() };
            return match causes().any(|cause| cause.is::<PreconditionRefused>()) {
                true => Box::new(PreconditionRefused::new(rejection)),
                false => Box::new(rejection),
            };
        }
        let is_missing = |cause: &object_store::Error| matches!(cause, object_store::Error::NotFound { .. });
        if causes().skip(1).filter_map(|cause| cause.downcast_ref()).any(is_missing) {
            let path = String::new();
            return Box::new(object_store::Error::NotFound { path, source: Box::new(RedactedError(redacted)) });
        }
        match causes().find_map(|cause| cause.downcast_ref::<HttpError>()) {
            Some(http) => Box::new(HttpError::new(http.kind(), RedactedError(redacted))),
            None => Box::new(RedactedError(redacted)),
        }
    }

    fn stream<T: Send + 'static>(&self, stream: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let redactor = self.clone();
        stream.map(move |item| item.map_err(|error| redactor.redact(error))).boxed()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl<S: fmt::Display> fmt::Display for RedactedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for RedactedStore<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await.map_err(|error| self.redactor.redact(error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, options).await;
        let inner = upload.map_err(|error| self.redactor.redact(error))?;
        Ok(Box::new(RedactedUpload { inner, redactor: self.redactor.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = self.inner.get_opts(location, options).await.map_err(|error| self.redactor.redact(error))?;
        Ok(match got.payload {
            GetResultPayload::Stream(stream) => {
                GetResult { payload: GetResultPayload::Stream(self.redactor.stream(stream)), ..got }
            }
            _ => got,
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.redactor.stream(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.redactor.stream(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.redactor.stream(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await.map_err(|error| self.redactor.redact(error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(|error| self.redactor.redact(error))
    }
}

#[derive(Debug)]
struct RedactedUpload {
    inner: Box<dyn MultipartUpload>,
    redactor: Redactor,
}

#[async_trait]
impl MultipartUpload for RedactedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, redactor) = (self.inner.put_part(data), self.redactor.clone());
        Box::pin(async move { part.await.map_err(|error| redactor.redact(error)) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await.map_err(|error| self.redactor.redact(error))
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await.map_err(|error| self.redactor.redact(error))
    }
}
