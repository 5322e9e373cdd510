//! Client adapters: each implements a port by calling a peer.

mod auth;
mod blob;
mod garbage;
mod index;
mod links;
mod uploads;

use std::marker::PhantomData;
use std::time::Duration;

use entrepot_runtime::telemetry::inject_headers;
use http::header::AUTHORIZATION;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Response, Status};

use crate::error::{PortError, from_status};
use crate::secret::InternalSecret;
use crate::wire::WireError;

pub use auth::TokenServiceGrpcClient;
pub use blob::BlobStoreGrpcClient;
pub use garbage::GarbageQueueGrpcClient;
pub use index::ManifestIndexGrpcClient;
pub use links::BlobLinksGrpcClient;
pub use uploads::UploadIndexGrpcClient;

/// Flow control towards us: answers are at most a manifest, and several may be under way.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// How to reach and use one peer.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// What the peer expects.
    pub secret: InternalSecret,
    /// Certificate authorities in PEM that may have signed the peer's certificate; needed for, and
    /// only used with, `https`.
    pub authorities: Option<String>,
    /// Longest a call takes that does not stream, connecting included.
    pub deadline: Duration,
    /// Longest one attempt to connect takes.
    pub connect_timeout: Duration,
    /// How long the peer may be silent before it is asked for a sign of life; without one for the
    /// same time again the connection is given up. Bounds streams, which have no deadline.
    pub keep_alive: Duration,
}

impl ClientConfig {
    /// A configuration with the usual times: 10 s for a call, 3 s to connect, 10 s of silence.
    pub fn new(endpoint: impl Into<String>, secret: InternalSecret) -> Self {
        Self {
            endpoint: endpoint.into(),
            secret,
            authorities: None,
            deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            keep_alive: Duration::from_secs(10),
        }
    }
}

/// Why a peer cannot be configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a URL.
    #[error("{endpoint:?} is not an endpoint like http://host:port")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// A URL of another kind.
    #[error("{endpoint:?} is neither http://host:port nor https://host:port")]
    Scheme {
        /// What was given.
        endpoint: String,
    },
    /// `https` without authorities, or ones that cannot be read.
    #[error("the certificate authorities for {endpoint:?} cannot be used")]
    Tls {
        /// The endpoint.
        endpoint: String,
        /// What is wrong, when they were given.
        #[source]
        source: Option<tonic::transport::Error>,
    },
}

/// A channel to one peer: connects at the first call and again when the connection is lost. Clones
/// share it.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Intercepted,
    deadline: Duration,
}

type Intercepted = InterceptedService<Channel, Outgoing>;

impl Connection {
    /// A lazy connection; needs a tokio runtime, and no peer yet.
    pub fn lazy(config: &ClientConfig) -> Result<Self, ConfigError> {
        let endpoint = endpoint(config)?
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(config.keep_alive)
            .keep_alive_timeout(config.keep_alive);
        Ok(Self::over(endpoint.connect_lazy(), &config.secret, config.deadline))
    }

    /// Uses a channel that exists, such as one over an in-memory pipe.
    pub fn over(channel: Channel, secret: &InternalSecret, deadline: Duration) -> Self {
        let channel = InterceptedService::new(channel, Outgoing { secret: secret.clone() });
        Self { channel, deadline }
    }

    /// The connection as the peer of one port.
    fn peer<E>(&self) -> Peer<E> {
        Peer { connection: self.clone(), error: PhantomData }
    }
}

/// The peer behind a client adapter: turns what goes wrong into the errors of its port.
#[derive(Debug)]
struct Peer<E> {
    connection: Connection,
    error: PhantomData<fn() -> E>,
}

impl<E: PortError> Peer<E> {
    fn channel(&self) -> Intercepted {
        self.connection.channel.clone()
    }

    /// Awaits a call that does not stream, at most for the deadline.
    async fn unary<T>(&self, call: impl Future<Output = Result<Response<T>, Status>> + Send) -> Result<T, E> {
        let deadline = self.connection.deadline;
        match tokio::time::timeout(deadline, call).await {
            Ok(result) => self.answer(result),
            Err(_) => self.answer(Err(Status::deadline_exceeded(format!("no answer within {deadline:?}")))),
        }
    }

    /// The answer of a call, or the port's error.
    fn answer<T>(&self, result: Result<Response<T>, Status>) -> Result<T, E> {
        result.map(Response::into_inner).map_err(|status| {
            if status.code() == Code::Unauthenticated && status.message() == crate::server::WRONG_SECRET {
                tracing::error!("a peer refuses this service: internal.secret differs between the two");
            }
            from_status(&status)
        })
    }

    /// An answer that this version cannot read is a fault.
    fn checked<T>(&self, result: Result<T, WireError>) -> Result<T, E> {
        result.map_err(|error| E::internal(Box::new(error)))
    }
}

fn endpoint(config: &ClientConfig) -> Result<Endpoint, ConfigError> {
    let text = config.endpoint.clone();
    let endpoint = Endpoint::from_shared(text.clone())
        .map_err(|source| ConfigError::Endpoint { endpoint: text.clone(), source })?;
    match endpoint.uri().scheme_str() {
        Some("http") => Ok(endpoint),
        Some("https") => {
            let Some(authorities) = &config.authorities else {
                return Err(ConfigError::Tls { endpoint: text, source: None });
            };
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
            endpoint.tls_config(tls).map_err(|source| ConfigError::Tls { endpoint: text, source: Some(source) })
        }
        _ => Err(ConfigError::Scheme { endpoint: text }),
    }
}

/// Adds to every call what proves who we are and which trace it belongs to.
#[derive(Clone, Debug)]
struct Outgoing {
    secret: InternalSecret,
}

impl Interceptor for Outgoing {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        inject_headers(&mut headers);
        headers.insert(AUTHORIZATION, self.secret.header().clone());
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        Ok(request)
    }
}
