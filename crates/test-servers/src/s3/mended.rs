//! `s3s-fs` with the behaviour of a real S3 service where the two differ and a client can tell.
//!
//! Mended here:
//! - A conditional write looked for the object and wrote it later: of 16 that raced, most won. A lock per key.
//! - A body was stored before its checksum was compared, and those of parts never were; a body that did not match its
//!   signed digest was an internal error. Every body is proved first.
//! - A key that is the directory of others was found by HEAD, and ended GET and DELETE with an internal error; writing
//!   one is refused with a plain message, because files cannot do it. Directories that became empty stayed in the way.
//! - Completing an upload dropped it before the parts were looked at, did not compare ETags, and left parts that were
//!   not named. An unknown upload was `AccessDenied`, where S3 says `NoSuchUpload`.
//! - A part that was on its way when its upload was aborted stayed for ever. A lock per upload.
//! - A listing failed when an object went away under it. A lock that deletes take alone.
//! - The preconditions of reads were ignored, and a part's checksum and the encryption asked for were not answered.
//!
//! Left as it is: a listing has no ETags; the checksum in the headers of a GET can be of an object that stood under the
//! key before; a Content-MD5 that is wrong is found after the object was stored; copies of parts and listings of uploads
//! are not there.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use hyper::StatusCode;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc64Nvme, Sha256};
use s3s::dto::*;
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::RwLock;

/// The smallest part that is not the last.
const PART_BYTES_MIN: usize = 5 * 1024 * 1024;

pub(super) struct Mended {
    files: FileSystem,
    root: PathBuf,
    preconditions: bool,
    keys: Locks,
    uploads: Locks,
    /// Held alone by what removes files and directories.
    tree: RwLock<()>,
    /// The ETag and the size of every part of an open upload.
    parts: Mutex<HashMap<(MultipartUploadId, PartNumber), (String, usize)>>,
}

impl Mended {
    pub(super) fn new(root: &Path, preconditions: bool) -> Self {
        let files = FileSystem::new(root).unwrap_or_else(|error| panic!("the directory of the server: {error:?}"));
        Self {
            files,
            root: root.to_owned(),
            preconditions,
            keys: Locks::default(),
            uploads: Locks::default(),
            tree: RwLock::default(),
            parts: Mutex::default(),
        }
    }
}

#[async_trait::async_trait]
impl S3 for Mended {
    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(req).await
    }

    async fn get_object(&self, mut req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let key = self.keys.of(&req.input.key);
        let _shared = key.read().await;
        self.check_is_no_directory(&req.input.bucket, &req.input.key)?;
        let (if_match, if_none_match) = (req.input.if_match.take(), req.input.if_none_match.take());
        let answer = self.files.get_object(req).await?;
        check_read(answer.output.e_tag.as_ref(), if_match, if_none_match)?;
        Ok(answer)
    }

    async fn head_object(&self, mut req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let key = self.keys.of(&req.input.key);
        let _shared = key.read().await;
        self.check_is_no_directory(&req.input.bucket, &req.input.key)?;
        let (if_match, if_none_match) = (req.input.if_match.take(), req.input.if_none_match.take());
        let answer = self.files.head_object(req).await?;
        check_read(answer.output.e_tag.as_ref(), if_match, if_none_match)?;
        Ok(answer)
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let _shared = self.tree.read().await;
        self.files.list_objects_v2(req).await
    }

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut req.input;
        let bytes = whole(input.body.take()).await?;
        check_checksums(&bytes, input.checksum_sha256.as_deref(), input.checksum_crc64nvme.as_deref())?;
        input.body = Some(Body::from(bytes).into());
        if !self.preconditions {
            (input.if_match, input.if_none_match) = (None, None);
        }
        let encryption = input.server_side_encryption.clone();

        let key = self.keys.of(&input.key);
        let _alone = key.write().await;
        let _shared = self.tree.read().await;
        self.check_fits(&input.bucket, &input.key)?;
        let mut answer = self.files.put_object(req).await?;
        answer.output.server_side_encryption = encryption;
        Ok(answer)
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let key = self.keys.of(&req.input.key);
        let _alone = key.write().await;
        let _tree = self.tree.write().await;
        self.check_fits(&req.input.bucket, &req.input.key)?;
        self.files.copy_object(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (bucket, name) = (req.input.bucket.clone(), req.input.key.clone());
        let key = self.keys.of(&name);
        let _alone = key.write().await;
        let _tree = self.tree.write().await;
        if self.path_of(&bucket, &name).is_dir() {
            return Ok(S3Response::new(DeleteObjectOutput::default()));
        }
        let answer = self.files.delete_object(req).await?;
        self.remove_empty_directories(&bucket, &name);
        Ok(answer)
    }

    async fn delete_objects(
        &self,
        mut req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        // A reader holds its key for as long as it opens the file, and gets all of it or nothing: no key is locked here.
        let _tree = self.tree.write().await;
        let bucket = req.input.bucket.clone();
        let named = std::mem::take(&mut req.input.delete.objects);
        let (absent, present): (Vec<_>, Vec<_>) =
            named.into_iter().partition(|object| self.path_of(&bucket, &object.key).is_dir());
        let keys: Vec<String> = present.iter().map(|object| object.key.clone()).collect();
        req.input.delete.objects = present;
        let mut answer = self.files.delete_objects(req).await?;
        let gone = absent.into_iter().map(|object| DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        answer.output.deleted.get_or_insert_default().extend(gone);
        for key in keys {
            self.remove_empty_directories(&bucket, &key);
        }
        Ok(answer)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let encryption = req.input.server_side_encryption.clone();
        let mut answer = self.files.create_multipart_upload(req).await?;
        answer.output.server_side_encryption = encryption;
        Ok(answer)
    }

    async fn upload_part(&self, mut req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = &mut req.input;
        let bytes = whole(input.body.take()).await?;
        check_checksums(&bytes, input.checksum_sha256.as_deref(), input.checksum_crc64nvme.as_deref())?;
        let part = (input.upload_id.clone(), input.part_number);
        let (sha256, crc64nvme) = (input.checksum_sha256.clone(), input.checksum_crc64nvme.clone());
        let part_bytes = bytes.len();
        input.body = Some(Body::from(bytes).into());

        let upload = self.uploads.of(&input.upload_id);
        let _shared = upload.read().await;
        self.check_is_open(&input.upload_id)?;
        let mut answer = self.files.upload_part(req).await?;
        answer.output.checksum_sha256 = sha256;
        answer.output.checksum_crc64nvme = crc64nvme;
        let e_tag = answer.output.e_tag.clone().expect("a part has an ETag").into_value();
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part, (e_tag, part_bytes));
        Ok(answer)
    }

    async fn complete_multipart_upload(
        &self,
        mut req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = &mut req.input;
        if !self.preconditions {
            (input.if_match, input.if_none_match) = (None, None);
        }
        let id = input.upload_id.clone();
        let upload = self.uploads.of(&id);
        let _upload_alone = upload.write().await;
        let key = self.keys.of(&input.key);
        let _key_alone = key.write().await;
        let _shared = self.tree.read().await;
        self.check_is_open(&id)?;
        self.check_parts(&id, input.multipart_upload.as_ref().and_then(|named| named.parts.as_deref()))?;
        self.check_fits(&input.bucket, &input.key)?;
        let answer = self.files.complete_multipart_upload(req).await?;
        self.forget_parts(&id);
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        let upload = self.uploads.of(&id);
        let _alone = upload.write().await;
        self.check_is_open(&id)?;
        let answer = self.files.abort_multipart_upload(req).await?;
        self.forget_parts(&id);
        Ok(answer)
    }
}

impl Mended {
    fn path_of(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.join(bucket).join(key)
    }

    fn check_is_no_directory(&self, bucket: &str, key: &str) -> S3Result {
        if self.path_of(bucket, key).is_dir() {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
        }
        Ok(())
    }

    /// A client error, because a client would repeat the request after an internal error.
    fn check_fits(&self, bucket: &str, key: &str) -> S3Result {
        let (path, bucket) = (self.path_of(bucket, key), self.root.join(bucket));
        let mut above = path.ancestors().skip(1).take_while(|above| *above != bucket);
        if path.is_dir() || above.any(Path::is_file) {
            let message = "this server keeps keys as files, so none can be the directory of another";
            return Err(s3_error!(InvalidRequest, "{message}: {key}"));
        }
        Ok(())
    }

    /// The directories that held `key` and nothing else now. Needs the tree alone.
    fn remove_empty_directories(&self, bucket: &str, key: &str) {
        let (path, bucket) = (self.path_of(bucket, key), self.root.join(bucket));
        for above in path.ancestors().skip(1).take_while(|above| *above != bucket) {
            // One that is not empty cannot be removed, and neither can those above it.
            if fs::remove_dir(above).is_err() {
                return;
            }
        }
    }

    fn check_is_open(&self, upload_id: &str) -> S3Result {
        let is_name = upload_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_name && self.root.join(format!(".upload-{upload_id}.json")).is_file() {
            return Ok(());
        }
        Err(s3_error!(NoSuchUpload, "The specified upload does not exist; it may have been aborted or completed."))
    }

    fn check_parts(&self, upload_id: &str, named: Option<&[CompletedPart]>) -> S3Result {
        let named = named.unwrap_or_default();
        let stored = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        for (position, part) in named.iter().enumerate() {
            let number = part.part_number.unwrap_or_default();
            if position > 0 && number <= named[position - 1].part_number.unwrap_or_default() {
                return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
            }
            let e_tag = part.e_tag.as_ref().map(ETag::value);
            match stored.get(&(upload_id.to_owned(), number)) {
                Some((stored, _)) if e_tag != Some(stored) => {
                    return Err(s3_error!(InvalidPart, "The ETag of part {number} is not the one it was stored with."));
                }
                Some((_, part_bytes)) if *part_bytes < PART_BYTES_MIN && position + 1 < named.len() => {
                    return Err(s3_error!(EntityTooSmall, "Part {number} is smaller than the minimum allowed size."));
                }
                Some(_) => {}
                None => return Err(s3_error!(InvalidPart, "Part {number} could not be found.")),
            }
        }
        Ok(())
    }

    /// Of an upload that has ended, with the files of parts that were not named when it was completed.
    fn forget_parts(&self, upload_id: &str) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|(id, number), _| {
            if id == upload_id {
                match fs::remove_file(self.root.join(format!(".upload_id-{id}.part-{number}"))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("the file of a part: {error}"),
                    _ => {}
                }
            }
            id != upload_id
        });
    }
}

/// A lock per name. None goes away, a server does not live long.
#[derive(Default)]
struct Locks(Mutex<HashMap<String, Arc<RwLock<()>>>>);

impl Locks {
    fn of(&self, name: &str) -> Arc<RwLock<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(name.to_owned()).or_default().clone()
    }
}

/// All of a body. The one error that can happen in it is that it is not what was signed.
async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
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

fn check_read(e_tag: Option<&ETag>, if_match: Option<IfMatch>, if_none_match: Option<IfNoneMatch>) -> S3Result {
    let Some(e_tag) = e_tag else { return Ok(()) };
    if if_match.and_then(ETagCondition::into_etag).is_some_and(|wanted| !e_tag.strong_cmp(&wanted)) {
        return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
    }
    match if_none_match {
        Some(ETagCondition::Any) => Err(s3_error!(NotModified)),
        Some(ETagCondition::ETag(known)) if e_tag.weak_cmp(&known) => Err(s3_error!(NotModified)),
        _ => Ok(()),
    }
}
