//! `storage.backend` and `storage.s3`: where blobs lie.

use std::time::Duration;

use entrepot_object::{S3Credentials, S3Encryption, S3Options};
use entrepot_runtime::config::{ByteSize, Reader};

/// S3 signs URLs for no longer than a week.
const LONGEST_URL: Duration = Duration::from_secs(7 * 24 * 3600);
/// A large layer must begin within the life of its URL, and what was deleted is gone only after it.
const SHORTEST_URL: Duration = Duration::from_secs(20 * 60);

/// Where blobs lie.
#[derive(Clone, Debug)]
pub enum BlobStorage {
    /// In the data directory.
    Files,
    /// In a bucket.
    S3(Box<S3Options>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Files,
    S3,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    None,
    S3,
    Kms,
}

impl BlobStorage {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let backends = [("fs", Backend::Files), ("s3", Backend::S3)];
        let backend = reader.choice(
            "storage.backend",
            Backend::Files,
            &backends,
            "Where blobs lie: in `storage.data_dir`, or in a bucket that any number of replicas share.",
        );
        let bucket: Option<String> = reader.optional("storage.s3.bucket", "Name of the bucket.");
        if backend == Backend::S3 && bucket.is_none() {
            reader
                .reject("storage.s3.bucket", "is needed where storage.backend is s3: the name of a bucket that exists");
        }
        if backend == Backend::Files && bucket.is_some() {
            reader.reject("storage.s3.bucket", "has no effect unless storage.backend is s3");
        }
        let options = options(reader, bucket.unwrap_or_default());
        match backend {
            Backend::Files => Self::Files,
            Backend::S3 => Self::S3(Box::new(options)),
        }
    }
}

fn options(reader: &mut Reader<'_>, bucket: String) -> S3Options {
    let default = S3Options::new(bucket);
    let region = reader.optional(
        "storage.s3.region",
        "Region of the bucket; by default that of the environment, and us-east-1 with an endpoint.",
    );
    let endpoint: Option<String> = reader.optional(
        "storage.s3.endpoint",
        "URL of a store that is not AWS, such as http://minio:9000. Clients that are redirected must reach it too.",
    );
    if endpoint.as_deref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        reader.reject("storage.s3.endpoint", "must begin with http:// or https://");
    }
    let endpoint = endpoint.map(|url| url.trim_end_matches('/').to_owned());
    let path_style = reader.field(
        "storage.s3.path_style",
        endpoint.is_some(),
        "`host/bucket/key` instead of `bucket.host/key`; true by default where an endpoint is given.",
    );
    S3Options {
        region,
        endpoint,
        path_style,
        prefix: prefix(reader),
        credentials: credentials(reader),
        encryption: encryption(reader),
        url_lifetime: url_lifetime(reader, default.url_lifetime),
        ..sizes(reader, default)
    }
}

fn prefix(reader: &mut Reader<'_>) -> String {
    let prefix: String =
        reader.optional("storage.s3.prefix", "Before every key, so that a bucket can be shared.").unwrap_or_default();
    let prefix = prefix.trim_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'.');
    if !prefix.bytes().all(plain) || prefix.len() > 512 {
        reader.reject("storage.s3.prefix", "must be at most 512 letters, digits and / _ - .");
    }
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

fn credentials(reader: &mut Reader<'_>) -> Option<S3Credentials> {
    let id: Option<String> = reader.optional(
        "storage.s3.access_key_id",
        "Access key. By default credentials come from the environment: AWS_* variables, a profile, a web identity (IRSA), the instance.",
    );
    let secret = reader.secret("storage.s3.secret_access_key", "Secret of the access key.");
    match (id, secret) {
        (Some(access_key_id), Some(secret)) => {
            Some(S3Credentials { access_key_id, secret_access_key: secret.expose().to_owned() })
        }
        (None, None) => None,
        (Some(_), None) => {
            reader.reject("storage.s3.secret_access_key", "is missing: storage.s3.access_key_id needs its secret");
            None
        }
        (None, Some(_)) => {
            reader.reject("storage.s3.access_key_id", "is missing: storage.s3.secret_access_key needs its access key");
            None
        }
    }
}

fn encryption(reader: &mut Reader<'_>) -> S3Encryption {
    let choices = [("none", Encryption::None), ("s3", Encryption::S3), ("kms", Encryption::Kms)];
    let chosen = reader.choice(
        "storage.s3.encryption",
        Encryption::None,
        &choices,
        "Encryption asked for with each object: none beyond the bucket's own, SSE-S3, or SSE-KMS.",
    );
    let key_id: Option<String> =
        reader.optional("storage.s3.kms_key_id", "Id or ARN of the key for kms; the account's own for S3 without it.");
    if key_id.is_some() && chosen != Encryption::Kms {
        reader.reject("storage.s3.kms_key_id", "has no effect unless storage.s3.encryption is kms");
    }
    match chosen {
        Encryption::None => S3Encryption::Bucket,
        Encryption::S3 => S3Encryption::S3,
        Encryption::Kms => S3Encryption::Kms { key_id },
    }
}

fn url_lifetime(reader: &mut Reader<'_>, default: Duration) -> Duration {
    let lifetime = reader.field(
        "storage.s3.presign_lifetime",
        default,
        "How long a URL for reading is valid, 20m to 7d; no longer than credentials that expire.",
    );
    if !(SHORTEST_URL..=LONGEST_URL).contains(&lifetime) {
        reader.reject("storage.s3.presign_lifetime", "must be 20m to 7d");
    }
    lifetime
}

fn sizes(reader: &mut Reader<'_>, default: S3Options) -> S3Options {
    let part = reader.field(
        "storage.s3.part_size",
        ByteSize(default.part_size as u64),
        "Size of the first 1,000 parts of an upload, 5MiB to 64MiB; later ones grow to 64MiB.",
    );
    if !(ByteSize::mib(5)..=ByteSize::mib(64)).contains(&part) {
        reader.reject("storage.s3.part_size", "must be 5MiB to 64MiB");
    }
    let parallel_parts = reader.field(
        "storage.s3.parallel_parts",
        default.parallel_parts,
        "Parts of one upload that are sent at the same time, 1 to 16.",
    );
    if !(1..=16).contains(&parallel_parts) {
        reader.reject("storage.s3.parallel_parts", "must be 1 to 16");
    }
    let memory = reader.field(
        "storage.s3.buffer_memory",
        ByteSize(default.buffer_memory as u64),
        "Memory for all uploads to the bucket together, at least 64MiB: five eighths for parts, the rest for what uploads hold besides. \
         An upload that finds none free waits.",
    );
    if memory < ByteSize::mib(64) {
        reader.reject("storage.s3.buffer_memory", "must be at least 64MiB, or large parts find no room");
    }
    S3Options { part_size: part.as_usize(), parallel_parts, buffer_memory: memory.as_usize() / 8 * 5, ..default }
}
