//! What the server holds.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::TryStreamExt;
use s3s::dto::{ETag, ETagCondition, ServerSideEncryption, StreamingBlob, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// Everything, behind one lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) objects: BTreeMap<String, Stored>,
    pub(super) uploads: BTreeMap<(String, String), Upload>,
    pub(super) asked: HashMap<&'static str, usize>,
    pub(super) encryption: Vec<String>,
    pub(super) refusing: Option<&'static str>,
    pub(super) overwrites: bool,
    pub(super) least_part: usize,
    ids: u64,
}

/// An object.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    pub(super) modified: SystemTime,
}

/// A multipart upload.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) begun: SystemTime,
    pub(super) parts: BTreeMap<i32, Bytes>,
}

impl State {
    pub(super) fn new(least_part: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            asked: HashMap::new(),
            encryption: Vec::new(),
            refusing: None,
            overwrites: false,
            least_part,
            ids: 0,
        }
    }

    /// Counts a request, and refuses it if that was asked for, or if the bucket is another.
    pub(super) fn admit(&mut self, operation: &'static str, bucket: &str) -> S3Result<()> {
        *self.asked.entry(operation).or_default() += 1;
        if let Some(code) = self.refusing {
            return Err(S3Error::new(S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::AccessDenied)));
        }
        if bucket == super::BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    /// Takes note of the encryption that was asked for.
    pub(super) fn encrypt(&mut self, kind: Option<&ServerSideEncryption>, key_id: Option<&str>) {
        let words = kind.map(ServerSideEncryption::as_str).into_iter().chain(key_id);
        self.encryption.push(words.collect::<Vec<_>>().join(" "));
    }

    /// A name for one more upload.
    pub(super) fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("upload-{}", self.ids)
    }

    /// Stores an object, unless one is there that must not be replaced.
    pub(super) fn store(&mut self, key: &str, bytes: Bytes, condition: Option<&ETagCondition>) -> S3Result<()> {
        if condition.is_some() && !self.overwrites && self.objects.contains_key(key) {
            return Err(s3_error!(PreconditionFailed));
        }
        self.objects.insert(key.to_owned(), Stored { bytes, modified: SystemTime::now() });
        Ok(())
    }

    /// An upload that is there.
    pub(super) fn upload(&mut self, key: &str, id: &str) -> S3Result<&mut Upload> {
        self.uploads.get_mut(&(key.to_owned(), id.to_owned())).ok_or_else(|| s3_error!(NoSuchUpload))
    }
}

/// The whole body of a request, if it has the checksum that was announced.
pub(super) async fn body(body: Option<StreamingBlob>, crc32c: Option<&str>) -> S3Result<Bytes> {
    let frames: Vec<Bytes> = match body {
        Some(body) => body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?,
        None => Vec::new(),
    };
    let bytes = Bytes::from(frames.concat());
    if crc32c.is_some_and(|announced| announced != checksum(&bytes)) {
        return Err(s3_error!(BadDigest));
    }
    Ok(bytes)
}

/// CRC-32C as S3 writes it.
pub(super) fn checksum(bytes: &[u8]) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    BASE64_STANDARD.encode(u32::try_from(crc).unwrap_or(u32::MAX).to_be_bytes())
}

/// Stands for the bytes, as an MD5 does.
pub(super) fn etag(bytes: &[u8]) -> ETag {
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, bytes).hash(&mut hasher);
        hasher.finish()
    };
    ETag::Strong(format!("{:016x}{:016x}", hash(0), hash(1)))
}

pub(super) fn time(at: SystemTime) -> Timestamp {
    Timestamp::from(at)
}
