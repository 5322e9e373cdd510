//! An S3 server in the process, with what it holds in memory.
//!
//! It is as strict as S3 where the driver relies on that: parts are checked by ETag, checksum, order and size, no
//! object is replaced where that was forbidden, and every signature is verified.

mod multipart;
mod objects;
mod state;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::state::State;
use crate::{S3Credentials, S3Options};

/// The one pair of keys the server knows.
const ACCESS_KEY: &str = "test-access-key";
const SECRET_KEY: &str = "test-secret-key";
/// The one bucket it has.
const BUCKET: &str = "test-bucket";

/// A running server. Dropping it ends it, and its objects are gone.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    backend: Backend,
    task: JoinHandle<()>,
}

/// What the server does; its halves are in the files of their requests.
#[derive(Clone, Debug)]
struct Backend {
    state: Arc<Mutex<State>>,
}

impl S3Server {
    /// Listens on a free port of this machine. Parts that others follow must have `least_part` bytes.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(least_part: usize) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let backend = Backend { state: Arc::new(Mutex::new(State::new(least_part))) };
        let mut builder = S3ServiceBuilder::new(backend.clone());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                connections.spawn(async move {
                    // A client that goes away is no fault of the server.
                    let _ = connection.await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, backend, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How to reach its bucket, at the server itself or through the proxy at `endpoint`.
    pub fn options(&self, endpoint: Option<String>) -> S3Options {
        S3Options {
            endpoint: Some(endpoint.unwrap_or_else(|| format!("http://{}", self.address))),
            path_style: true,
            credentials: Some(S3Credentials {
                access_key_id: ACCESS_KEY.to_owned(),
                secret_access_key: SECRET_KEY.to_owned(),
            }),
            ..S3Options::new(BUCKET)
        }
    }

    /// Keys of all objects.
    pub fn objects(&self) -> Vec<String> {
        self.backend.state().objects.keys().cloned().collect()
    }

    /// Keys of all multipart uploads that were neither completed nor aborted.
    pub fn uploads(&self) -> Vec<String> {
        self.backend.state().uploads.keys().map(|(key, _)| key.clone()).collect()
    }

    /// How often an operation such as `PutObject` was asked for.
    pub fn count(&self, operation: &str) -> usize {
        self.backend.state().asked.get(operation).copied().unwrap_or_default()
    }

    /// The encryption asked for with each object and multipart upload: `aws:kms` and the key, or nothing.
    pub fn encryption(&self) -> Vec<String> {
        self.backend.state().encryption.clone()
    }

    /// Answers every request from now on with `403 RequestTimeTooSkewed`, and the like, or none.
    pub fn refuse(&self, code: Option<&'static str>) {
        self.backend.state().refusing = code;
    }

    /// Replaces objects although that is forbidden, as some stores do.
    pub fn overwrite(&self) {
        self.backend.state().overwrites = true;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backend {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
