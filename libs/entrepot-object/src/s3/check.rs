//! Whether a bucket can be used, found out before the first push does.

use std::io;

use super::bucket::Bucket;
use super::buffer::Payload;
use super::fault::Fault;

/// Where the check puts its one object.
const PROBE: &str = ".probe/";

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The endpoint answers, and has no such bucket.
    #[error("there is no such bucket; make it, or name another")]
    NoBucket,
    /// There are none, or none yet: machines and pods get theirs from a service.
    #[error("could not get credentials")]
    NoCredentials(#[source] io::Error),
    /// The credentials are unknown or wrong.
    #[error("the credentials are not accepted")]
    Credentials(#[source] io::Error),
    /// The credentials are known and not enough.
    #[error("the credentials may not {action} in the bucket")]
    Denied {
        /// What was tried.
        action: &'static str,
        /// What the store answered.
        #[source]
        source: io::Error,
    },
    /// The bucket is in another region.
    #[error("the bucket is in another region")]
    Region(#[source] io::Error),
    /// The clocks are too far apart for signatures.
    #[error("the clock of this machine is wrong: it differs from the store's by more than 15 minutes")]
    Clock(#[source] io::Error),
    /// The store replaces objects where it was told not to.
    #[error("the store ignores If-None-Match, so two replicas could overwrite each other's objects")]
    Overwrites,
    /// The store does not answer, or makes no sense.
    #[error("could not {action}")]
    Unreachable {
        /// What was tried.
        action: &'static str,
        /// What came instead of an answer.
        #[source]
        source: io::Error,
    },
}

/// Lists, writes, writes again in vain, reads, deletes.
pub(super) async fn run(bucket: &Bucket) -> Result<(), CheckError> {
    bucket.list("", None, 1).await.map_err(|fault| sort("list objects", fault))?;
    let (key, payload) =
        (format!("{PROBE}{:016x}", rand::random::<u64>()), Payload::from(bytes::Bytes::from_static(b"?")));
    bucket.put(&key, &payload).await.map_err(|fault| sort("write objects", fault))?;
    let again = bucket.put(&key, &payload).await;
    let read = bucket.get(&key, None).await;
    bucket.delete(&key).await.map_err(|fault| sort("delete objects", fault))?;
    match again {
        Ok(()) => return Err(CheckError::Overwrites),
        Err(Fault::Exists) => {}
        Err(fault) => return Err(sort("write objects", fault)),
    }
    read.map_err(|fault| sort("read objects", fault))?;
    Ok(())
}

fn sort(action: &'static str, fault: Fault) -> CheckError {
    if let Fault::Unsigned(source) = fault {
        return CheckError::NoCredentials(source);
    }
    let code = fault.code().to_owned();
    let source = fault.into_io();
    match code.as_str() {
        "NoSuchBucket" => CheckError::NoBucket,
        "InvalidAccessKeyId" | "NotSignedUp" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" => {
            CheckError::Credentials(source)
        }
        "RequestTimeTooSkewed" => CheckError::Clock(source),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            CheckError::Region(source)
        }
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => CheckError::Denied { action, source },
        _ => CheckError::Unreachable { action, source },
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::{ProvideCredentials, future};
    use aws_sdk_s3::config::{BehaviorVersion, Region};
    use aws_sdk_s3::{Client, Config};

    use super::*;
    use crate::S3Options;

    #[derive(Debug)]
    struct Nobody;

    impl ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nobody has any")))
        }
    }

    /// More often than the breaker lets a store fail: nothing is sent, so it has nothing to say.
    #[tokio::test]
    async fn missing_credentials_are_never_taken_for_a_silent_store() {
        let config = Config::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("nowhere"));
        let config = config.endpoint_url("http://127.0.0.1:9").credentials_provider(Nobody).build();
        let bucket = Bucket::new(Client::from_conf(config), &S3Options::new("images"));
        for _ in 0..15 {
            let checked = run(&bucket).await;
            assert!(matches!(checked, Err(CheckError::NoCredentials(_))), "{checked:?}");
        }
    }
}
