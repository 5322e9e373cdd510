//! Client adapters: each implements a port by calling a peer.

mod auth;
mod blob;
mod budget;
mod channel;
mod dial;
mod endpoint;
mod garbage;
mod index;
mod links;
mod member;
mod members;
mod methods;
mod resolve;
mod uploads;

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use entrepot_runtime::telemetry::inject_headers;
use entrepot_runtime::tls::{ClientTls, ServerName};
use http::header::AUTHORIZATION;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Response, Status};

use self::channel::Channel;
use self::member::Timing;
use self::members::Members;
use crate::error::{PortError, from_status};
use crate::secret::InternalSecret;
use crate::wire::WireError;

pub use auth::TokenServiceGrpcClient;
pub use blob::BlobStoreGrpcClient;
pub use endpoint::{Endpoint, EndpointError};
pub use garbage::GarbageQueueGrpcClient;
pub use index::ManifestIndexGrpcClient;
pub use links::BlobLinksGrpcClient;
pub use resolve::{Resolve, SystemResolver};
pub use uploads::UploadIndexGrpcClient;

#[cfg(feature = "testing")]
pub(crate) use dial::{Dial, Socket};

/// What we call ourselves.
const USER_AGENT: &str = concat!("entrepot/", env!("CARGO_PKG_VERSION"));

/// How to reach and use one peer.
#[derive(Clone)]
pub struct ClientConfig {
    /// Where the replicas are; a name counts for each of its addresses.
    pub endpoints: Vec<Endpoint>,
    /// What the peer expects.
    pub secret: InternalSecret,
    /// The certificate shown, and the authorities trusted, at `https` endpoints: needed there and only there.
    pub tls: Option<ClientTls>,
    /// Longest a call takes that does not stream, with every attempt, connecting included.
    pub deadline: Duration,
    /// Longest one attempt to connect takes, and how long calls wait for a peer that has just gone.
    pub connect_timeout: Duration,
    /// How long a connection with calls under way may be silent before it is asked for a sign of life; without one for
    /// the same time again it is given up. Bounds streams, which have no deadline.
    pub keep_alive: Duration,
    /// Between two health checks of a replica, and how long it may take to answer one: a replica that hangs is left
    /// after at most twice this.
    pub health_interval: Duration,
    /// Between two looks at the addresses behind the names.
    pub resolve_interval: Duration,
    /// Finds those addresses.
    pub resolver: Arc<dyn Resolve>,
}

impl ClientConfig {
    /// A configuration with the usual times: 10 s for a call, 3 s to connect, 10 s of silence, a health check every
    /// half second, names looked up every 5 s.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>, secret: InternalSecret) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            secret,
            tls: None,
            deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            keep_alive: Duration::from_secs(10),
            health_interval: Duration::from_millis(500),
            resolve_interval: Duration::from_secs(5),
            resolver: Arc::new(SystemResolver),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        for endpoint in &self.endpoints {
            let endpoint = endpoint.clone();
            match (endpoint.is_https(), &self.tls) {
                (true, None) => return Err(ConfigError::NoCertificate { endpoint }),
                (false, Some(_)) => return Err(ConfigError::Plaintext { endpoint }),
                (true, Some(_)) if ServerName::try_from(endpoint.host().to_owned()).is_err() => {
                    return Err(ConfigError::Name { endpoint });
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// Why a peer cannot be configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nowhere to go.
    #[error("no endpoint is given")]
    NoEndpoint,
    /// `https` without a certificate and authorities.
    #[error("{endpoint} needs a certificate and authorities, and none are given")]
    NoCertificate {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// `http` where certificates are given: calls would not be encrypted.
    #[error("{endpoint} is not encrypted although a certificate is given: it must begin with https://")]
    Plaintext {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// The host cannot stand in a certificate.
    #[error("the host of {endpoint} is no name that a certificate can hold")]
    Name {
        /// The endpoint.
        endpoint: Endpoint,
    },
}

/// The replicas of one peer. Connects to all of them in the background and keeps doing so; each call goes to one that
/// is well. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Intercepted,
}

type Intercepted = InterceptedService<Channel, Outgoing>;

impl Connection {
    /// Begins to connect; needs a tokio runtime, and no peer yet.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn open(config: &ClientConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let name = config.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let timing = Timing {
            connect_timeout: config.connect_timeout,
            keep_alive: config.keep_alive,
            health_interval: config.health_interval,
        };
        let members = Members::new(name, timing, config.tls.clone());
        for endpoint in &config.endpoints {
            match endpoint.address() {
                Some(address) => members.update(endpoint, &[SocketAddr::new(address, endpoint.port())]),
                None => {
                    let members = Arc::downgrade(&members);
                    let resolver = Arc::clone(&config.resolver);
                    tokio::spawn(resolve::follow(members, endpoint.clone(), resolver, config.resolve_interval));
                }
            }
        }
        Ok(Self::over_members(members, &config.secret, config.deadline))
    }

    /// One replica at the end of `dial`.
    #[cfg(feature = "testing")]
    pub(crate) fn dialled(dial: Box<dyn Dial>, secret: &InternalSecret, deadline: Duration) -> Self {
        let usual = ClientConfig::new([], secret.clone());
        let timing = Timing {
            connect_timeout: usual.connect_timeout,
            keep_alive: usual.keep_alive,
            health_interval: usual.health_interval,
        };
        let members = Members::new("a peer in memory".to_owned(), timing, None);
        let endpoint: Endpoint = "http://memory:1".parse().expect("an endpoint");
        members.add(&endpoint, dial);
        Self::over_members(members, secret, deadline)
    }

    fn over_members(members: Arc<Members>, secret: &InternalSecret, deadline: Duration) -> Self {
        let outgoing = Outgoing { secret: secret.clone() };
        Self { channel: InterceptedService::new(Channel::new(members, deadline), outgoing) }
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

    /// Awaits a call that does not stream.
    async fn unary<T>(&self, call: impl Future<Output = Result<Response<T>, Status>> + Send) -> Result<T, E> {
        self.answer(call.await)
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
