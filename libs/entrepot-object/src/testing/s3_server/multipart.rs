//! Requests about multipart uploads.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use s3s::dto::*;
use s3s::{S3Response, S3Result, s3_error};

use super::Backend;
use super::objects::length;
use super::state::{Upload, checksum, etag, time};

/// Most entries of one page.
const PAGE: usize = 1000;

impl Backend {
    pub(super) fn begin_upload(
        &self,
        input: &CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut state = self.state();
        state.admit("CreateMultipartUpload", &input.bucket)?;
        state.encrypt(input.server_side_encryption.as_ref(), input.ssekms_key_id.as_deref());
        let id = state.next_id();
        let upload = Upload { begun: SystemTime::now(), parts: BTreeMap::new() };
        state.uploads.insert((input.key.clone(), id.clone()), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
    }

    /// The later of two parts of the same number stays.
    pub(super) fn take_part(&self, input: &UploadPartInput, bytes: Bytes) -> S3Result<()> {
        let mut state = self.state();
        state.admit("UploadPart", &input.bucket)?;
        if !(1..=10_000).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument));
        }
        state.upload(&input.key, &input.upload_id)?.parts.insert(input.part_number, bytes);
        Ok(())
    }

    pub(super) fn parts(&self, input: &ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
        let mut state = self.state();
        state.admit("ListParts", &input.bucket)?;
        let after = input.part_number_marker.as_ref().and_then(|marker| marker.to_string().parse().ok()).unwrap_or(0);
        let limit = input.max_parts.and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE).min(PAGE);
        let mut found = state.upload(&input.key, &input.upload_id)?.parts.range(after + 1..);
        let parts: Vec<Part> = found
            .by_ref()
            .take(limit)
            .map(|(number, bytes)| Part {
                part_number: Some(*number),
                size: Some(length(bytes)),
                e_tag: Some(etag(bytes)),
                ..Default::default()
            })
            .collect();
        let is_truncated = Some(found.next().is_some());
        let next = parts.last().and_then(|part| part.part_number);
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(parts),
            is_truncated,
            next_part_number_marker: next,
            ..Default::default()
        }))
    }

    pub(super) fn complete_upload(
        &self,
        input: &CompleteMultipartUploadInput,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let mut state = self.state();
        state.admit("CompleteMultipartUpload", &input.bucket)?;
        let least = state.least_part;
        let upload = state.upload(&input.key, &input.upload_id)?;
        let named = input.multipart_upload.as_ref().and_then(|named| named.parts.as_deref()).unwrap_or_default();
        if named.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let mut whole = BytesMut::new();
        for (index, part) in named.iter().enumerate() {
            let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
            // Where parts have checksums, S3 wants their numbers without a gap.
            if part.part_number != Some(number) {
                return Err(s3_error!(InvalidPartOrder));
            }
            let bytes = upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            if part.e_tag != Some(etag(bytes)) || part.checksum_crc32c != Some(checksum(bytes)) {
                return Err(s3_error!(InvalidPart));
            }
            if index + 1 < named.len() && bytes.len() < least {
                return Err(s3_error!(EntityTooSmall));
            }
            whole.extend_from_slice(bytes);
        }
        state.store(&input.key, whole.freeze(), input.if_none_match.as_ref())?;
        state.uploads.remove(&(input.key.clone(), input.upload_id.clone()));
        Ok(S3Response::new(CompleteMultipartUploadOutput { key: Some(input.key.clone()), ..Default::default() }))
    }

    pub(super) fn abort_upload(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let mut state = self.state();
        state.admit("AbortMultipartUpload", &input.bucket)?;
        match state.uploads.remove(&(input.key, input.upload_id)) {
            Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
            None => Err(s3_error!(NoSuchUpload)),
        }
    }

    pub(super) fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let mut state = self.state();
        state.admit("ListMultipartUploads", &input.bucket)?;
        let (prefix, after) = (input.prefix.unwrap_or_default(), input.key_marker.unwrap_or_default());
        let mut found = state.uploads.iter().filter(|((key, _), _)| key.starts_with(&prefix) && *key > after);
        let uploads: Vec<MultipartUpload> = found
            .by_ref()
            .take(PAGE)
            .map(|((key, id), upload)| MultipartUpload {
                key: Some(key.clone()),
                upload_id: Some(id.clone()),
                initiated: Some(time(upload.begun)),
                ..Default::default()
            })
            .collect();
        let is_truncated = Some(found.next().is_some());
        Ok(S3Response::new(ListMultipartUploadsOutput { uploads: Some(uploads), is_truncated, ..Default::default() }))
    }
}
