//! How to reach a bucket.

use std::fmt;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};

const CONNECT: Duration = Duration::from_secs(3);
/// Tries of one request, the first among them.
const ATTEMPTS: u32 = 3;
/// The wait before the second try is a random part of this, the next a random part of twice as much.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A body of which nothing moves for so long is cut off, and sent or read again.
const STALLED: Duration = Duration::from_secs(10);

/// Which bucket to keep objects in, and how to reach it.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// Name of the bucket.
    pub bucket: String,
    /// Its region. By default what the environment of the process says.
    pub region: Option<String>,
    /// URL of a store that is not AWS.
    pub endpoint: Option<String>,
    /// `http://host/bucket/key` instead of `http://bucket.host/key`.
    pub path_style: bool,
    /// Before every key; empty, or ending in `/`.
    pub prefix: String,
    /// Fixed credentials. By default those of the environment: variables, profile, web identity, instance.
    pub credentials: Option<S3Credentials>,
    /// What the bucket is asked to encrypt with.
    pub encryption: S3Encryption,
    /// How long a URL handed out for reading is valid: longer than the longest read takes to begin.
    pub url_lifetime: Duration,
    /// Size of the first parts of an upload; S3 takes no less than 5 MiB.
    pub part_size: usize,
    /// Parts of one upload that are sent at the same time.
    pub parallel_parts: usize,
    /// Memory for parts of all uploads together.
    pub buffer_memory: usize,
    /// How long one attempt of a request without a body to speak of waits for its answer. Three of them, with the pauses
    /// between, must fit into the time that callers wait: one who gives up first gets neither a second try nor a reason.
    pub attempt_timeout: Duration,
}

impl S3Options {
    /// `bucket` with everything else as it mostly is.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            path_style: false,
            prefix: String::new(),
            credentials: None,
            encryption: S3Encryption::Bucket,
            url_lifetime: Duration::from_secs(20 * 60),
            part_size: 8 << 20,
            parallel_parts: 4,
            buffer_memory: 256 << 20,
            attempt_timeout: Duration::from_secs(3),
        }
    }

    /// The longest that a request without a body takes, all its attempts together.
    pub fn longest_call(&self) -> Duration {
        // Pauses are random parts of this, doubled each time.
        let pauses = FIRST_PAUSE * ((1 << (ATTEMPTS - 1)) - 1);
        self.attempt_timeout * ATTEMPTS + pauses
    }

    /// A client for the bucket.
    pub(super) async fn client(&self) -> Client {
        let mut shared = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = &self.region {
            shared = shared.region(Region::new(region.clone()));
        }
        if let Some(credentials) = &self.credentials {
            let S3Credentials { access_key_id, secret_access_key } = credentials.clone();
            shared = shared.credentials_provider(Credentials::new(
                access_key_id,
                secret_access_key,
                None,
                None,
                "configuration",
            ));
        }
        let shared = shared.load().await;
        let mut config = Builder::from(&shared)
            .force_path_style(self.path_style)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_PAUSE))
            .retry_partition(RetryPartition::custom("entrepot").token_bucket(retry_budget()).build())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT)
                    .operation_attempt_timeout(self.attempt_timeout)
                    .build(),
            )
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALLED).build())
            // The driver gives checksums where it wants them: those of the SDK would be computed a second time.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
            if shared.region().is_none() {
                // Stores that are not AWS have one region, and this is what they call it.
                config = config.region(Region::new("us-east-1"));
            }
        }
        Client::from_conf(config.build())
    }
}

/// What a retry costs, in answers of success.
///
/// A store that fails one request in six is of use as long as each is tried again, and would be of none without. In the long
/// run this pays for that where up to two answers in five say that there is no such object, which to the SDK is no success.
/// A store that fails much more often is overloaded, and retries would keep it so.
const RETRY_COST: u32 = 3;

/// Retries for what succeeds, and a stock of them for a bad minute.
fn retry_budget() -> TokenBucket {
    const STOCK: usize = 200;
    TokenBucket::builder()
        .capacity(STOCK * RETRY_COST as usize)
        .retry_cost(RETRY_COST)
        .throttling_retry_cost(RETRY_COST)
        .timeout_retry_cost(RETRY_COST)
        .success_reward(1.0)
        .build()
}

/// A pair of keys.
#[derive(Clone)]
pub struct S3Credentials {
    /// Names the pair.
    pub access_key_id: String,
    /// Signs requests; never printed.
    pub secret_access_key: String,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// What the bucket is asked to encrypt objects with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum S3Encryption {
    /// Whatever the bucket does by default.
    #[default]
    Bucket,
    /// Keys that S3 manages (SSE-S3).
    S3,
    /// A key of AWS KMS (SSE-KMS); the account's own for S3 without one.
    Kms {
        /// Id or ARN of the key.
        key_id: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_keep_up_with_one_failure_in_six() {
        let failing = 1.0 / 6.0_f64;
        // Of three requests of a small push, one looks for an object that is not there.
        let missing = 1.0 / 3.0;
        let attempts = i32::try_from(ATTEMPTS).unwrap();
        let retries: f64 = (1..attempts).map(|n| failing.powi(n)).sum();
        let successes = (1.0 - failing.powi(attempts)) * (1.0 - missing);
        assert!(f64::from(RETRY_COST) * retries < successes, "{retries} retries for {successes} successes a call");
    }
}
