//! A client of `object_store` whose errors contain no secret. Errors of requests contain none already. This is for the
//! errors of responses: a parser may show what it could not read.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::redact::{RedactedError, chain};
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
    /// Returns an error as it is, or what is left of its text if that contains a secret.
    fn redact(&self, error: object_store::Error) -> object_store::Error {
        let (shown, debug) = (chain(&error), format!("{error:?}"));
        let redacted = self.0.scrub(&shown);
        if redacted == shown && self.0.scrub(&debug) == debug {
            return error;
        }
        object_store::Error::Generic { store: "redacted", source: Box::new(RedactedError(redacted)) }
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
