//! A fleet that outgrew one machine: several of each service, and the engines below them.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::engines::{Minio, Postgres, Redis};
use crate::faults::s3::{Faults, S3Proxy};

/// How many of each service, and on what they stand.
///
/// `ENTREPOT_E2E_ENGINES` and `ENTREPOT_E2E_REPLICAS` change the default, to see one engine at a time.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Replicas of api-gateway behind the balancer.
    pub gateways: usize,
    /// Replicas of every other service.
    pub replicas: usize,
    /// What the services stand on.
    pub engines: Wanted,
    /// A synchronous standby for PostgreSQL.
    pub standby: bool,
    /// Faults between blob-store and MinIO.
    pub faults: Option<Faults>,
    /// PostgreSQL syncs its files: for data that shall outlive the machine.
    pub durable: bool,
}

/// Which engines a fleet has. Without one its services fall back on SQLite or a folder, which one process must
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For metadata and accounts.
    pub postgres: bool,
    /// MinIO, for bytes.
    pub s3: bool,
    /// For what may be lost.
    pub redis: bool,
}

impl Wanted {
    /// All of them.
    pub const ALL: Self = Self { postgres: true, s3: true, redis: true };
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    /// Some of `postgres,s3,redis`, or `none`.
    fn from_str(text: &str) -> Result<Self> {
        let mut wanted = Self { postgres: false, s3: false, redis: false };
        for name in text.split(',').filter(|name| *name != "none") {
            match name {
                "postgres" => wanted.postgres = true,
                "s3" => wanted.s3 = true,
                "redis" => wanted.redis = true,
                other => bail!("{other:?} is no engine; there are postgres, s3 and redis"),
            }
        }
        Ok(wanted)
    }
}

impl Default for Scale {
    fn default() -> Self {
        let engines = match std::env::var("ENTREPOT_E2E_ENGINES") {
            Ok(text) => text.parse().expect("ENTREPOT_E2E_ENGINES names engines"),
            Err(_) => Wanted::ALL,
        };
        let replicas = match std::env::var("ENTREPOT_E2E_REPLICAS") {
            Ok(text) => text.parse().expect("ENTREPOT_E2E_REPLICAS is a number"),
            Err(_) => 2,
        };
        Self { gateways: 2, replicas, engines, standby: false, faults: None, durable: false }
    }
}

impl Scale {
    /// The programs that its engines need.
    #[must_use]
    pub fn tools(&self) -> Vec<&'static str> {
        let Wanted { postgres, s3, redis } = self.engines;
        let tools = [(postgres, "postgres"), (s3, "minio"), (redis, "redis-server")];
        tools.into_iter().filter(|(wanted, _)| *wanted).map(|(_, tool)| tool).collect()
    }
}

/// The engines of one fleet; none in other topologies.
#[derive(Default)]
pub struct Engines {
    /// Metadata and accounts.
    pub postgres: Option<Postgres>,
    /// What may be lost.
    pub redis: Option<Redis>,
    /// Bytes.
    pub minio: Option<Minio>,
    /// What lies between blob-store and the bytes, if faults were asked for.
    pub s3_proxy: Option<S3Proxy>,
}

impl Engines {
    /// Starts what `scale` asks for, with data below `folder`.
    pub(super) fn start(scale: &Scale, folder: &Path) -> Result<Self> {
        let mut engines = Self::default();
        if scale.engines.postgres {
            let mut postgres = Postgres::start(&folder.join("postgres"), scale.durable)?;
            if scale.standby {
                postgres.add_standby()?;
            }
            engines.postgres = Some(postgres);
        }
        if scale.engines.s3 {
            let minio = Minio::start(&folder.join("minio"))?;
            if let Some(faults) = &scale.faults {
                engines.s3_proxy = Some(S3Proxy::start(minio.address(), faults.clone())?);
            }
            engines.minio = Some(minio);
        }
        if scale.engines.redis {
            engines.redis = Some(Redis::start(&folder.join("redis"))?);
        }
        Ok(engines)
    }

    /// The part of the configuration that names the engines.
    pub(super) fn config(&self) -> String {
        let mut config = String::new();
        if let Some(postgres) = &self.postgres {
            config.push_str(&format!("[database]\nurl = \"{}\"\n\n", postgres.url()));
        }
        if let Some(minio) = &self.minio {
            let port = self.s3_proxy.as_ref().map_or(minio.address(), S3Proxy::address).port();
            // Another host than the registry's, which nobody is redirected to, and a name: some clients refuse to be sent to
            // addresses of private networks.
            config.push_str(&format!(
                "[storage]\nbackend = \"s3\"\n\n[storage.s3]\nendpoint = \"http://localhost:{port}\"\nbucket = \"{}\"\n\
                 region = \"{}\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\n",
                Minio::BUCKET,
                minio.region(),
                Minio::ACCESS_KEY,
                Minio::SECRET_KEY,
            ));
        }
        if let Some(redis) = &self.redis {
            config.push_str(&format!("[redis]\nurl = \"{}\"\n\n", redis.url()));
        }
        config
    }

    /// Fails if an engine has ended, with the end of its log.
    ///
    /// # Errors
    /// When one has.
    pub fn check_alive(&mut self) -> Result<()> {
        self.postgres.as_mut().map_or(Ok(()), Postgres::check_alive)?;
        self.redis.as_mut().map_or(Ok(()), Redis::check_alive)?;
        self.minio.as_mut().map_or(Ok(()), Minio::check_alive)
    }

    /// Ends them in order.
    ///
    /// # Errors
    /// When one has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        let stopped = [
            self.redis.as_mut().map_or(Ok(()), Redis::stop),
            self.minio.as_mut().map_or(Ok(()), Minio::stop),
            self.postgres.as_mut().map_or(Ok(()), Postgres::stop),
        ];
        stopped.into_iter().collect()
    }

    /// The ends of their logs.
    #[must_use]
    pub fn logs(&self) -> String {
        let postgres = self.postgres.as_ref().map(|postgres| ("postgres", postgres.log_tail()));
        let minio = self.minio.as_ref().map(|minio| ("minio", minio.log_tail()));
        postgres.into_iter().chain(minio).map(|(name, tail)| format!("--- {name}\n{tail}\n")).collect()
    }
}
