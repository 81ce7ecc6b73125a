//! The operations of the S3 API, on a bucket in memory.
//!
//! They run after the signature was verified and the bucket name was checked (`s3.rs`). Operations that are not here
//! return `NotImplemented`.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName,
};
use hyper::http::StatusCode;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc64Nvme, Sha256};
use s3s::dto::*;
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::S3Server;
use crate::bucket::{self, Bucket, BucketError, Content, Query};

/// Headers that are stored with an object and returned with it, besides user metadata.
const STORED_HEADERS: [HeaderName; 5] =
    [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE];
const METADATA_PREFIX: &str = "x-amz-meta-";
const ENCRYPTION_PREFIX: &str = "x-amz-server-side-encryption";
/// The secret among the encryption headers. A server returns its MD5, never the key.
const CUSTOMER_KEY: &str = "x-amz-server-side-encryption-customer-key";
const CUSTOMER_KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";

pub(super) struct Operations {
    pub(super) bucket: Bucket,
    pub(super) preconditions: Preconditions,
}

/// What a server does with the preconditions of writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Preconditions {
    Checked,
    Ignored,
    Refused,
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn head_bucket(&self, _: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let object = self.bucket.get(&input.key)?;
        check_customer_key(&object, &req.headers)?;
        check_read(&object, input.if_match, input.if_none_match)?;
        let size_bytes = object.bytes.len();
        let (bytes, content_range) = match input.range {
            None => (object.bytes, None),
            Some(range) => {
                let range = range.check(size_bytes as u64)?;
                let (start, end) = (range.start as usize, range.end as usize);
                (object.bytes.slice(start..end), Some(format!("bytes {start}-{}/{size_bytes}", end - 1)))
            }
        };
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(bytes.len() as i64),
            content_range,
            body: Some(Body::from(bytes).into()),
            e_tag: Some(ETag::Strong(object.e_tag)),
            last_modified: Some(timestamp(object.modified)),
            ..GetObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, object.headers))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let object = self.bucket.get(&input.key)?;
        check_customer_key(&object, &req.headers)?;
        check_read(&object, input.if_match, input.if_none_match)?;
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(object.bytes.len() as i64),
            e_tag: Some(ETag::Strong(object.e_tag)),
            last_modified: Some(timestamp(object.modified)),
            ..HeadObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, object.headers))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let page = self.bucket.list(&Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().unwrap_or_default(),
            start_after: input.start_after.as_deref().unwrap_or_default(),
            token: input.continuation_token.as_deref().unwrap_or_default(),
            keys_max: input.max_keys.map_or(usize::MAX, |keys| usize::try_from(keys).unwrap_or_default()),
        })?;
        let count = page.objects.len() + page.prefixes.len();
        let objects = page.objects.into_iter().map(|(key, object)| Object {
            key: Some(key),
            size: Some(object.bytes.len() as i64),
            e_tag: Some(ETag::Strong(object.e_tag)),
            last_modified: Some(timestamp(object.modified)),
            ..Object::default()
        });
        let prefixes = page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) });
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            max_keys: Some(input.max_keys.unwrap_or(1000)),
            key_count: Some(count as i32),
            contents: Some(objects.collect()),
            common_prefixes: Some(prefixes.collect()),
            is_truncated: Some(page.next_token.is_some()),
            next_continuation_token: page.next_token,
            ..ListObjectsV2Output::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let bytes = read_body(input.body).await?;
        check_checksums(&bytes, input.checksum_sha256.as_deref(), input.checksum_crc64nvme.as_deref())?;
        let accepts = self.precondition(input.if_match, input.if_none_match)?;
        let object = self.bucket.put(&input.key, bytes.into(), stored_headers(&req.headers), accepts)?;
        let output = PutObjectOutput {
            e_tag: Some(ETag::Strong(object.e_tag)),
            checksum_sha256: input.checksum_sha256,
            checksum_crc64nvme: input.checksum_crc64nvme,
            ..PutObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, encryption_headers(&object.headers)))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopySource::Bucket { bucket, key, .. } = &req.input.copy_source else {
            return Err(s3_error!(NotImplemented, "Access points are not supported."));
        };
        if **bucket != *S3Server::BUCKET {
            return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
        }
        let source = self.bucket.get(key)?;
        let copy = self.bucket.put(&req.input.key, source.bytes.into(), source.headers, |_| true)?;
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(copy.e_tag)),
            last_modified: Some(timestamp(copy.modified)),
            ..CopyObjectResult::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.delete(&req.input.key)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut deleted = Vec::new();
        for object in req.input.delete.objects {
            self.delete(&object.key)?;
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let headers = stored_headers(&req.headers);
        let encryption = encryption_headers(&headers);
        let id = self.bucket.start_upload(&req.input.key, headers);
        let output = CreateMultipartUploadOutput {
            bucket: Some(req.input.bucket),
            key: Some(req.input.key),
            upload_id: Some(id),
            checksum_algorithm: req.input.checksum_algorithm,
            ..CreateMultipartUploadOutput::default()
        };
        Ok(S3Response::with_headers(output, encryption))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let bytes = read_body(input.body).await?;
        check_checksums(&bytes, input.checksum_sha256.as_deref(), input.checksum_crc64nvme.as_deref())?;
        let number = u32::try_from(input.part_number).unwrap_or_default();
        let e_tag = self.bucket.put_part(&input.upload_id, number, Content::from(bytes))?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(e_tag)),
            checksum_sha256: input.checksum_sha256,
            checksum_crc64nvme: input.checksum_crc64nvme,
            ..UploadPartOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (key, id) = (text(&input.key_marker), text(&input.upload_id_marker));
        let (uploads, is_truncated) = self.bucket.uploads_after(&text(&input.prefix), &key, &id);
        let last = uploads.last().filter(|_| is_truncated);
        let upload = |(id, upload): &(String, bucket::Upload)| MultipartUpload {
            upload_id: Some(id.clone()),
            key: Some(upload.key.clone()),
            initiated: Some(timestamp(upload.started)),
            ..MultipartUpload::default()
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(is_truncated),
            next_key_marker: last.map(|(_, upload)| upload.key.clone()),
            next_upload_id_marker: last.map(|(id, _)| id.clone()),
            uploads: Some(uploads.iter().map(upload).collect()),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        let uploads = self.bucket.uploads();
        let upload = uploads.get(&input.upload_id).ok_or(BucketError::NoSuchUpload)?;
        let after = input.part_number_marker.and_then(|marker| u32::try_from(marker).ok()).unwrap_or_default();
        let (parts, is_truncated) = upload.parts_after(after);
        let part = |&(number, size_bytes): &(u32, usize)| Part {
            part_number: Some(number as i32),
            size: Some(size_bytes as i64),
            ..Part::default()
        };
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(is_truncated),
            next_part_number_marker: parts.last().filter(|_| is_truncated).map(|(number, _)| *number as i32),
            parts: Some(parts.iter().map(part).collect()),
            ..ListPartsOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let parts: Vec<_> = parts.into_iter().map(number_and_e_tag).collect();
        let accepts = self.precondition(input.if_match, input.if_none_match)?;
        let object = self.bucket.complete_upload(&input.upload_id, &input.key, &parts, accepts)?;
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(object.e_tag)),
            ..CompleteMultipartUploadOutput::default()
        };
        Ok(S3Response::with_headers(output, encryption_headers(&object.headers)))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.bucket.abort_upload(&req.input.upload_id)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

impl Operations {
    /// Returns the condition that a write sets for the present object of its key.
    fn precondition(
        &self,
        if_match: Option<IfMatch>,
        if_none_match: Option<IfNoneMatch>,
    ) -> S3Result<impl FnOnce(Option<&bucket::Object>) -> bool + use<>> {
        let is_given = if_match.is_some() || if_none_match.is_some();
        if is_given && self.preconditions == Preconditions::Refused {
            let message = "A header you provided implies functionality that is not implemented.";
            return Err(s3_error!(NotImplemented, "{}", message));
        }
        let is_checked = self.preconditions == Preconditions::Checked;
        Ok(move |found: Option<&bucket::Object>| {
            let matches = |condition: &ETagCondition| {
                found.is_some_and(|object| match condition {
                    ETagCondition::Any => true,
                    ETagCondition::ETag(e_tag) => e_tag.value() == object.e_tag,
                })
            };
            !is_checked
                || (if_match.is_none_or(|wanted| matches(&wanted)) && !if_none_match.is_some_and(|e| matches(&e)))
        })
    }

    /// Deletes an object. As on S3, deleting a missing object succeeds.
    fn delete(&self, key: &str) -> Result<(), BucketError> {
        match self.bucket.delete(key, |_| true) {
            Err(BucketError::NoSuchKey) => Ok(()),
            result => result,
        }
    }
}

impl From<BucketError> for S3Error {
    fn from(error: BucketError) -> Self {
        let code = match error {
            BucketError::EntityTooSmall => S3ErrorCode::EntityTooSmall,
            BucketError::InvalidArgument => S3ErrorCode::InvalidArgument,
            BucketError::InvalidPart => S3ErrorCode::InvalidPart,
            BucketError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            BucketError::NoSuchKey => S3ErrorCode::NoSuchKey,
            BucketError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            BucketError::PreconditionFailed => S3ErrorCode::PreconditionFailed,
        };
        Self::with_message(code, error.message())
    }
}

/// Reads a body to its end. It fails only if the bytes do not match the signed digest.
async fn read_body(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            let mut error = S3Error::with_source(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()), error);
            error.set_message("The provided 'x-amz-content-sha256' header does not match what was computed.");
            error.set_status_code(StatusCode::BAD_REQUEST);
            error
        })?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn check_checksums(bytes: &[u8], sha256: Option<&str>, crc64nvme: Option<&str>) -> S3Result {
    let mut hasher = ChecksumHasher {
        sha256: sha256.map(|_| Sha256::new()),
        crc64nvme: crc64nvme.map(|_| Crc64Nvme::new()),
        ..ChecksumHasher::default()
    };
    hasher.update(bytes);
    let found = hasher.finalize();
    if found.checksum_sha256.as_deref() != sha256 || found.checksum_crc64nvme.as_deref() != crc64nvme {
        return Err(s3_error!(BadDigest, "The checksum you specified did not match the calculated checksum."));
    }
    Ok(())
}

fn check_read(object: &bucket::Object, if_match: Option<IfMatch>, if_none_match: Option<IfNoneMatch>) -> S3Result {
    let is_same = |e_tag: &ETag| e_tag.value() == object.e_tag;
    if if_match.and_then(ETagCondition::into_etag).is_some_and(|wanted| !is_same(&wanted)) {
        return Err(BucketError::PreconditionFailed.into());
    }
    match if_none_match {
        Some(ETagCondition::Any) => Err(s3_error!(NotModified)),
        Some(ETagCondition::ETag(known)) if is_same(&known) => Err(s3_error!(NotModified)),
        _ => Ok(()),
    }
}

/// Checks that the request for an object that is encrypted with a customer's key carries that key, and no other does.
fn check_customer_key(object: &bucket::Object, request: &HeaderMap) -> S3Result {
    if object.headers.get(CUSTOMER_KEY_MD5) == request.get(CUSTOMER_KEY_MD5) {
        return Ok(());
    }
    Err(s3_error!(InvalidRequest, "The object was stored using another form of Server Side Encryption."))
}

fn stored_headers(request: &HeaderMap) -> HeaderMap {
    let is_stored = |name: &HeaderName| {
        let text = name.as_str();
        let is_encryption = text.starts_with(ENCRYPTION_PREFIX) && text != CUSTOMER_KEY;
        STORED_HEADERS.contains(name) || text.starts_with(METADATA_PREFIX) || is_encryption
    };
    filtered(request, is_stored)
}

fn encryption_headers(stored: &HeaderMap) -> HeaderMap {
    filtered(stored, |name| name.as_str().starts_with(ENCRYPTION_PREFIX))
}

fn filtered(headers: &HeaderMap, is_wanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let wanted = headers.iter().filter(|(name, _)| is_wanted(name));
    wanted.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A part without an ETag gets the empty one, which matches no part.
fn number_and_e_tag(part: CompletedPart) -> (u32, String) {
    let number = part.part_number.and_then(|number| u32::try_from(number).ok());
    (number.unwrap_or_default(), part.e_tag.map(ETag::into_value).unwrap_or_default())
}

fn timestamp(time: chrono::DateTime<chrono::Utc>) -> Timestamp {
    std::time::SystemTime::from(time).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn uploads_in_progress_are_listed_by_key_until_they_end() {
        let operations = Operations { bucket: Bucket::default(), preconditions: Preconditions::Checked };
        let [b, a] = ["dir/b", "dir/a"].map(|key| operations.bucket.start_upload(key, HeaderMap::new()));
        operations.bucket.start_upload("other", HeaderMap::new());
        let listed = async || -> Vec<_> {
            let input = ListMultipartUploadsInput::builder().bucket("x".to_owned()).prefix(Some("dir/".to_owned()));
            let output = operations.list_multipart_uploads(request(input.build().unwrap())).await.unwrap().output;
            output.uploads.unwrap().into_iter().map(|upload| (upload.key.unwrap(), upload.upload_id.unwrap())).collect()
        };
        assert_eq!(listed().await, [("dir/a".to_owned(), a.clone()), ("dir/b".to_owned(), b)]);
        operations.bucket.abort_upload(&a).unwrap();
        assert_eq!(listed().await.len(), 1);
    }

    fn request<T>(input: T) -> S3Request<T> {
        S3Request {
            input,
            method: hyper::Method::GET,
            uri: hyper::Uri::default(),
            headers: HeaderMap::new(),
            extensions: hyper::http::Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        }
    }
}
