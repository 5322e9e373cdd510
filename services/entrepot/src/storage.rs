//! The storage of blobs, opened and tried before anything is served from it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use blob_store::Blobs;
use entrepot_core::ports::BlobStore;
use entrepot_object::{CheckError, FsOptions, FsStore, S3Options, S3Store};
use entrepot_runtime::telemetry::Chain;
use tokio::time::Instant;

use crate::config::{BlobStorage, Config};

/// The services of a fleet may start in any order, and its store with them.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// Opens what `storage.backend` says.
///
/// # Errors
/// What is wrong with it, and which setting to look at.
pub(crate) async fn open_blobs(config: &Config) -> anyhow::Result<Arc<dyn BlobStore>> {
    match &config.blobs {
        BlobStorage::Files => open_files(&config.data_dir, config.limits.upload_memory),
        BlobStorage::S3(options) => open_bucket(options, config.limits.upload_memory).await,
    }
}

fn open_files(data_dir: &Path, upload_memory: u64) -> anyhow::Result<Arc<dyn BlobStore>> {
    let root = data_dir.join("blobs");
    let store = FsStore::open(&root, FsOptions::default()).context("cannot open the blob storage")?;
    Ok(Arc::new(Blobs::new(Arc::new(store)).upload_memory(upload_memory)))
}

async fn open_bucket(options: &S3Options, upload_memory: u64) -> anyhow::Result<Arc<dyn BlobStore>> {
    let store = S3Store::new(options).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.check().await {
            Ok(()) => return Ok(Arc::new(Blobs::new(Arc::new(store)).upload_memory(upload_memory))),
            Err(error @ (CheckError::Unreachable { .. } | CheckError::NoCredentials(_)))
                if Instant::now() < deadline =>
            {
                let look_at = settings(&error);
                tracing::warn!(error = %Chain(&error), "cannot use bucket {} yet (see {look_at})", options.bucket);
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                let look_at = settings(&error);
                return Err(anyhow!(error).context(format!("cannot use bucket {} (see {look_at})", options.bucket)));
            }
        }
    }
}

/// The settings that decide about an error.
fn settings(error: &CheckError) -> &'static str {
    match error {
        CheckError::NoBucket => "storage.s3.bucket",
        CheckError::NoCredentials(_) => {
            "storage.s3.access_key_id and storage.s3.secret_access_key, or give the process AWS_* variables, a profile or a role"
        }
        CheckError::Credentials(_) | CheckError::Denied { .. } => {
            "storage.s3.access_key_id and storage.s3.secret_access_key"
        }
        CheckError::Region(_) => "storage.s3.region",
        CheckError::Clock(_) => "the clocks of both machines",
        _ => "storage.s3.endpoint and storage.s3.path_style",
    }
}
