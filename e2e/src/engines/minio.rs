//! MinIO, for S3.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::s3::Signer;
use crate::http::{Client, Request};
use crate::process::Daemon;
use crate::{environment, poll, ports};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);
/// MinIO names its only region so.
pub(super) const REGION: &str = "us-east-1";

/// A running MinIO with one bucket. Dropping it kills it.
pub struct Minio {
    folder: PathBuf,
    address: SocketAddr,
    daemon: Daemon,
}

impl Minio {
    /// The bucket's name.
    pub const BUCKET: &'static str = "entrepot";
    /// Name of the key that may do everything.
    pub const ACCESS_KEY: &'static str = "entrepot-e2e";
    /// The key itself.
    pub const SECRET_KEY: &'static str = "no-secret-at-all";

    /// Starts it on ports of its own and makes the bucket.
    ///
    /// # Errors
    /// When it does not become ready; the error shows its log.
    pub fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (address, console) = (ports::free_address()?, ports::free_address()?);
        let mut command = environment::command("minio")?;
        command
            .args(["server", "--quiet", "--address", &address.to_string(), "--console-address", &console.to_string()])
            .arg(folder.join("drive"))
            .env("MINIO_ROOT_USER", Self::ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", Self::SECRET_KEY)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .env("HOME", folder);
        let daemon = Daemon::start("minio", folder, &mut command)?;
        let mut minio = Self { folder: folder.to_owned(), address, daemon };
        minio.await_ready()?;
        Ok(minio)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its region.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Multipart uploads that are neither complete nor aborted. MinIO's listing needs the exact name of the
    /// object, so its drive is asked.
    ///
    /// # Errors
    /// When the drive cannot be read.
    pub fn open_multiparts(&self) -> Result<usize> {
        let objects = self.folder.join("drive/.minio.sys/multipart");
        let mut count = 0;
        for object in list(&objects)? {
            count += list(&object)?.len();
        }
        Ok(count)
    }

    /// Bytes that the bucket's files occupy.
    ///
    /// # Errors
    /// When the drive cannot be read.
    pub fn stored_bytes(&self) -> Result<u64> {
        crate::process::disk_usage(&self.folder.join("drive").join(Self::BUCKET))
    }

    /// Fails if it has ended, with the end of its log.
    ///
    /// # Errors
    /// When it has.
    pub fn check_alive(&mut self) -> Result<()> {
        self.daemon.check_alive()
    }

    /// An orderly end.
    ///
    /// # Errors
    /// When it has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.terminate(STOP).map(drop)
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.daemon.log_tail(15)
    }

    fn await_ready(&mut self) -> Result<()> {
        let client = Client::new(&self.address.to_string(), None, None);
        let signer = Signer { access_key: Self::ACCESS_KEY, secret_key: Self::SECRET_KEY, region: REGION };
        let path = format!("/{}", Self::BUCKET);
        let attempt = || match self.daemon.check_alive() {
            Err(error) => Ok(Err(error)),
            Ok(()) => {
                let made = client.send(signer.sign(Request::new("PUT", &path), "PUT", client.authority(), &path))?;
                // 409: a folder that is used again has its bucket.
                made.expect(&[200, 409]).map(|_| Ok(()))
            }
        };
        poll::until("MinIO with a bucket", START, attempt)?.0
    }
}

/// The entries of a folder; none when it does not exist.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // Between two listings anything may go.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("listing {}", folder.display())),
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}
