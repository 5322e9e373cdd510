//! Requests about objects.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::Backend;
use super::state::{self, body, checksum, etag};

#[async_trait]
impl S3 for Backend {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = body(input.body, input.checksum_crc32c.as_deref()).await?;
        let mut state = self.state();
        state.admit("PutObject", &input.bucket)?;
        state.encrypt(input.server_side_encryption.as_ref(), input.ssekms_key_id.as_deref());
        let answer = PutObjectOutput { e_tag: Some(etag(&bytes)), ..Default::default() };
        state.store(&input.key, bytes, input.if_none_match.as_ref())?;
        Ok(S3Response::new(answer))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let mut state = self.state();
        state.admit("HeadObject", &request.input.bucket)?;
        let object = state.objects.get(&request.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(length(&object.bytes)),
            last_modified: Some(state::time(object.modified)),
            e_tag: Some(etag(&object.bytes)),
            ..Default::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let mut state = self.state();
        state.admit("GetObject", &request.input.bucket)?;
        let object = state.objects.get(&request.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let size = object.bytes.len() as u64;
        let (bytes, content_range) = match request.input.range {
            None => (object.bytes.clone(), None),
            Some(range) => {
                let range = range.check(size)?;
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
                let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                (object.bytes.slice(at(range.start)..at(range.end)), Some(shown))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(length(&bytes)),
            content_range,
            last_modified: Some(state::time(object.modified)),
            e_tag: Some(etag(&object.bytes)),
            body: Some(StreamingBlob::wrap(stream::iter([Ok::<_, std::io::Error>(bytes)]))),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut state = self.state();
        state.admit("DeleteObject", &request.input.bucket)?;
        state.objects.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut state = self.state();
        state.admit("DeleteObjects", &request.input.bucket)?;
        for object in &request.input.delete.objects {
            state.objects.remove(&object.key);
        }
        Ok(S3Response::new(DeleteObjectsOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let mut state = self.state();
        let input = request.input;
        state.admit("ListObjectsV2", &input.bucket)?;
        let limit = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0).min(1000);
        let (prefix, after) = (input.prefix.unwrap_or_default(), input.start_after.unwrap_or_default());
        let mut found = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let contents: Vec<Object> = found
            .by_ref()
            .take(limit)
            .map(|(key, object)| Object {
                key: Some(key.clone()),
                size: Some(length(&object.bytes)),
                last_modified: Some(state::time(object.modified)),
                ..Default::default()
            })
            .collect();
        let is_truncated = Some(found.next().is_some());
        Ok(S3Response::new(ListObjectsV2Output { contents: Some(contents), is_truncated, ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.begin_upload(&request.input)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = request.input;
        let bytes = body(input.body.take(), input.checksum_crc32c.as_deref()).await?;
        let answer = UploadPartOutput {
            e_tag: Some(etag(&bytes)),
            checksum_crc32c: Some(checksum(&bytes)),
            ..Default::default()
        };
        self.take_part(&input, bytes)?;
        Ok(S3Response::new(answer))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.parts(&request.input)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete_upload(&request.input)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort_upload(request.input)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.list_uploads(request.input)
    }
}

pub(super) fn length(bytes: &Bytes) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
