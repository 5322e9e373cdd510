//! Requests to one bucket, each behind the circuit breaker and in a span of its own.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier, ServerSideEncryption,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tracing::Instrument;

use super::breaker::Breaker;
use super::buffer::Payload;
use super::fault::Fault;
use super::notes::{Part, is_etag, is_upload_id};
use super::options::{S3Encryption, S3Options};
use crate::ObjectMeta;

/// One attempt to send a body may take so long, and [`PER_MIB`].
const SENDING: Duration = Duration::from_secs(10);
/// One attempt to send a body may take so long for each MiB. When all memory for parts is on its way at once, the
/// smallest part arrives only with the last: 256 MiB take 30 s of 9 MiB/s. A body that stalls is cut off long before.
const PER_MIB: Duration = Duration::from_secs(4);
/// One attempt to complete an upload; S3 takes minutes for thousands of parts.
const COMPLETE: Duration = Duration::from_secs(120);
/// Most keys of one request to delete.
const DELETED_AT_ONCE: usize = 1000;

/// A bucket, or the part of one below a prefix. Keys here are whole, with the prefix.
#[derive(Debug)]
pub(super) struct Bucket {
    client: Client,
    name: String,
    prefix: String,
    encryption: S3Encryption,
    url_lifetime: Duration,
    /// For one attempt of a request without a body to speak of.
    attempt: Duration,
    breaker: Breaker,
}

/// A page of a listing, and whether there are more.
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    pub(super) more: bool,
}

/// An object of a listing.
pub(super) struct Found {
    /// Without the prefix.
    pub(super) key: String,
    pub(super) meta: ObjectMeta,
}

/// A multipart upload that was just begun.
pub(super) struct Begun {
    pub(super) id: String,
    /// Requests that it took. Each of them but the last may have begun one of its own.
    pub(super) tries: usize,
}

/// A multipart upload of a listing.
pub(super) struct FoundUpload {
    /// Without the prefix.
    pub(super) key: String,
    pub(super) id: String,
    pub(super) begun: SystemTime,
}

impl Bucket {
    pub(super) fn new(client: Client, options: &S3Options) -> Self {
        Self {
            client,
            name: options.bucket.clone(),
            prefix: options.prefix.clone(),
            encryption: options.encryption.clone(),
            url_lifetime: options.url_lifetime,
            attempt: options.attempt_timeout,
            breaker: Breaker::default(),
        }
    }

    /// Makes a request unless the store is being left alone.
    fn call<T, E>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> impl Future<Output = Result<T, Fault>>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        self.call_within(self.attempt, operation, request)
    }

    /// The same for a request of which one attempt takes up to `attempt`.
    async fn call_within<T, E>(
        &self,
        attempt: Duration,
        operation: &'static str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Fault>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let Some(call) = self.breaker.begin(Instant::now(), attempt) else { return Err(Fault::Paused) };
        let span = tracing::info_span!(
            "s3.request",
            otel.kind = "client",
            rpc.system = "aws-api",
            rpc.service = "S3",
            rpc.method = operation,
            s3.bucket = %self.name
        );
        // The SDK's futures are large.
        match Box::pin(request).instrument(span).await {
            Ok(answer) => {
                call.answered();
                Ok(answer)
            }
            Err(error) => {
                let fault = Fault::of(error);
                match fault {
                    // Nothing was sent, so it says nothing of the store.
                    Fault::Unsigned(_) => call.not_made(),
                    _ if fault.is_outage() => call.failed(),
                    _ => call.answered(),
                }
                Err(fault)
            }
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.encryption {
            S3Encryption::Bucket => (None, None),
            S3Encryption::S3 => (Some(ServerSideEncryption::Aes256), None),
            S3Encryption::Kms { key_id } => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
        }
    }

    /// Facts about an object.
    pub(super) async fn head(&self, key: &str) -> Result<ObjectMeta, Fault> {
        let request = self.client.head_object().bucket(&self.name).key(self.full(key));
        let answer = self.call("HeadObject", request.send()).await?;
        meta(answer.content_length(), answer.last_modified())
    }

    /// An object, or some bytes of it.
    pub(super) async fn get(&self, key: &str, range: Option<String>) -> Result<GetObjectOutput, Fault> {
        let request = self.client.get_object().bucket(&self.name).key(self.full(key)).set_range(range);
        self.call("GetObject", request.send()).await
    }

    /// A URL for reading an object. Nothing is asked of the store.
    pub(super) async fn url(&self, key: &str) -> Result<String, Fault> {
        let lifetime = PresigningConfig::expires_in(self.url_lifetime).map_err(Fault::unusable)?;
        let request = self.client.get_object().bucket(&self.name).key(self.full(key));
        let signed = Box::pin(request.presigned(lifetime)).await.map_err(Fault::of)?;
        Ok(signed.uri().to_owned())
    }

    /// Makes an object that is not there yet.
    pub(super) async fn put(&self, key: &str, payload: &Payload) -> Result<(), Fault> {
        let (encryption, kms_key) = self.encryption();
        let request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(self.full(key))
            .if_none_match("*")
            .checksum_crc32_c(base64(payload.crc()))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .content_length(length(payload.len()))
            .body(ByteStream::new(payload.body()))
            .customize()
            .disable_payload_signing()
            .config_override(patient(sending(payload)));
        self.call_within(sending(payload), "PutObject", request.send()).await.map(drop)
    }

    /// Begins a multipart upload.
    pub(super) async fn create(&self, key: &str) -> Result<Begun, Fault> {
        let (encryption, kms_key) = self.encryption();
        let tries = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&tries);
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.name)
            .key(self.full(key))
            .checksum_algorithm(ChecksumAlgorithm::Crc32C)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .customize()
            // Before each attempt.
            .mutate_request(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        let answer = self.call("CreateMultipartUpload", request.send()).await?;
        let id = answer.upload_id.filter(|id| is_upload_id(id));
        let id = id.ok_or_else(|| Fault::nonsense("no usable upload id in the answer to CreateMultipartUpload"))?;
        Ok(Begun { id, tries: tries.load(Ordering::Relaxed) })
    }

    /// Sends one part.
    pub(super) async fn send_part(
        &self,
        key: &str,
        upload: &str,
        number: usize,
        payload: &Payload,
    ) -> Result<Part, Fault> {
        let crc = payload.crc();
        let request = self
            .client
            .upload_part()
            .bucket(&self.name)
            .key(self.full(key))
            .upload_id(upload)
            .part_number(part_number(number))
            .checksum_crc32_c(base64(crc))
            .content_length(length(payload.len()))
            .body(ByteStream::new(payload.body()))
            .customize()
            .disable_payload_signing()
            .config_override(patient(sending(payload)));
        let answer = self.call_within(sending(payload), "UploadPart", request.send()).await?;
        let etag = answer.e_tag.map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| is_etag(etag));
        let etag = etag.ok_or_else(|| Fault::nonsense("no usable ETag in the answer to UploadPart"))?;
        Ok(Part { size: u32::try_from(payload.len()).unwrap_or(u32::MAX), crc, etag })
    }

    /// Makes the parts the object, unless there is one already.
    pub(super) async fn complete(&self, key: &str, upload: &str, parts: &[Part]) -> Result<(), Fault> {
        let parts = parts.iter().enumerate().map(|(index, part)| {
            CompletedPart::builder()
                .part_number(part_number(index + 1))
                .e_tag(format!("\"{}\"", part.etag))
                .checksum_crc32_c(base64(part.crc))
                .build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(self.full(key))
            .upload_id(upload)
            .if_none_match("*")
            .multipart_upload(parts)
            .customize()
            .config_override(patient(COMPLETE));
        self.call_within(COMPLETE, "CompleteMultipartUpload", request.send()).await.map(drop)
    }

    /// Drops a multipart upload; one that is gone is success.
    pub(super) async fn drop_upload(&self, key: &str, upload: &str) -> Result<(), Fault> {
        let request = self.client.abort_multipart_upload().bucket(&self.name).key(self.full(key)).upload_id(upload);
        match self.call("AbortMultipartUpload", request.send()).await {
            Ok(_) | Err(Fault::NoUpload | Fault::Missing) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Bytes in the parts of an upload so far.
    pub(super) async fn size_of_upload(&self, key: &str, upload: &str) -> Result<u64, Fault> {
        let (mut size, mut marker) = (0, None);
        loop {
            let request = self.client.list_parts().bucket(&self.name).key(self.full(key)).upload_id(upload);
            let answer = self.call("ListParts", request.set_part_number_marker(marker).send()).await?;
            size += answer.parts().iter().filter_map(|part| u64::try_from(part.size()?).ok()).sum::<u64>();
            marker = answer.next_part_number_marker().map(ToOwned::to_owned);
            if answer.is_truncated() != Some(true) || marker.is_none() {
                return Ok(size);
            }
        }
    }

    /// Whether there is still such an upload.
    pub(super) async fn has_upload(&self, key: &str, upload: &str) -> Result<bool, Fault> {
        let request = self.client.list_parts().bucket(&self.name).key(self.full(key)).upload_id(upload).max_parts(1);
        match self.call("ListParts", request.send()).await {
            Ok(_) => Ok(true),
            Err(Fault::NoUpload | Fault::Missing) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes an object; one that is gone is success.
    pub(super) async fn delete(&self, key: &str) -> Result<(), Fault> {
        let request = self.client.delete_object().bucket(&self.name).key(self.full(key));
        match self.call("DeleteObject", request.send()).await {
            Ok(_) | Err(Fault::Missing) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes objects, a thousand with each request.
    pub(super) async fn delete_all(&self, keys: &[String]) -> Result<(), Fault> {
        for keys in keys.chunks(DELETED_AT_ONCE) {
            let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(self.full(key)).build());
            let objects = objects.collect::<Result<Vec<_>, _>>().map_err(Fault::unusable)?;
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
            let delete = delete.map_err(Fault::unusable)?;
            let request = self.client.delete_objects().bucket(&self.name).delete(delete);
            let answer = self.call("DeleteObjects", request.send()).await?;
            if let Some(first) = answer.errors().iter().find(|error| error.code() != Some("NoSuchKey")) {
                let text = format!("{} keys were not deleted, the first: {first:?}", answer.errors().len());
                return Err(Fault::Outage(std::io::Error::other(text)));
            }
        }
        Ok(())
    }

    /// Objects whose keys start with `prefix` and come after `after`, in byte order.
    pub(super) async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listed<Found>, Fault> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(self.full(prefix))
            .set_start_after(after.map(|after| self.full(after)))
            .max_keys(i32::try_from(limit.min(1000)).unwrap_or(1000));
        let answer = self.call("ListObjectsV2", request.send()).await?;
        let mut items = Vec::new();
        for object in answer.contents() {
            if let Some(key) = object.key().and_then(|key| key.strip_prefix(&self.prefix)) {
                items.push(Found { key: key.to_owned(), meta: meta(object.size(), object.last_modified())? });
            }
        }
        Ok(Listed { items, more: answer.is_truncated() == Some(true) })
    }

    /// Multipart uploads whose keys start with `prefix` and come after `after`, in byte order.
    ///
    /// MinIO lists those of one whole key only.
    pub(super) async fn uploads(&self, prefix: &str, after: Option<&str>) -> Result<Listed<FoundUpload>, Fault> {
        let request = self
            .client
            .list_multipart_uploads()
            .bucket(&self.name)
            .prefix(self.full(prefix))
            .set_key_marker(after.map(|after| self.full(after)));
        let answer = self.call("ListMultipartUploads", request.send()).await?;
        let found = answer.uploads().iter().filter_map(|upload| {
            let key = upload.key()?.strip_prefix(&self.prefix)?.to_owned();
            Some(FoundUpload { key, id: upload.upload_id()?.to_owned(), begun: time(upload.initiated()) })
        });
        Ok(Listed { items: found.collect(), more: answer.is_truncated() == Some(true) })
    }
}

fn meta(size: Option<i64>, modified: Option<&DateTime>) -> Result<ObjectMeta, Fault> {
    let size = size.and_then(|size| u64::try_from(size).ok());
    let size = size.ok_or_else(|| Fault::nonsense("no size in the answer"))?;
    Ok(ObjectMeta { size, modified: time(modified) })
}

fn time(at: Option<&DateTime>) -> SystemTime {
    at.and_then(|at| SystemTime::try_from(*at).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn base64(crc: u32) -> String {
    BASE64_STANDARD.encode(crc.to_be_bytes())
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn part_number(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// How long one attempt to send `payload` may take.
fn sending(payload: &Payload) -> Duration {
    SENDING + PER_MIB * u32::try_from(payload.len() >> 20).unwrap_or(u32::MAX)
}

fn patient(attempt: Duration) -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(attempt).build();
    aws_sdk_s3::config::Config::builder().timeout_config(timeouts)
}

#[cfg(test)]
mod tests;
