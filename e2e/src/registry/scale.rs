//! A fleet that outgrew one machine: several of each service, and the engines below them.

use std::path::Path;

use anyhow::Result;

use crate::engines::{Minio, Postgres, Redis};
use crate::faults::s3::{Faults, S3Proxy};

/// How many of each service, and on what they stand.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Replicas of api-gateway behind the balancer.
    pub gateways: usize,
    /// Replicas of every other service.
    pub replicas: usize,
    /// PostgreSQL, MinIO and Redis; without them SQLite and a folder, which one process each must own, so
    /// that only gateways and gc-workers are several. `ENTREPOT_E2E_ENGINES=none` asks for that.
    pub engines: bool,
    /// A synchronous standby for PostgreSQL.
    pub standby: bool,
    /// Faults between blob-store and MinIO.
    pub faults: Option<Faults>,
    /// PostgreSQL syncs its files: for data that shall outlive the machine.
    pub durable: bool,
}

impl Default for Scale {
    fn default() -> Self {
        let engines = std::env::var("ENTREPOT_E2E_ENGINES").map_or(true, |engines| engines != "none");
        Self { gateways: 2, replicas: 2, engines, standby: false, faults: None, durable: false }
    }
}

impl Scale {
    /// The programs that its engines need.
    #[must_use]
    pub fn tools(&self) -> &'static [&'static str] {
        if self.engines { &["postgres", "redis-server", "minio"] } else { &[] }
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
        if !scale.engines {
            return Ok(Self::default());
        }
        let mut postgres = Postgres::start(&folder.join("postgres"), scale.durable)?;
        if scale.standby {
            postgres.add_standby()?;
        }
        let minio = Minio::start(&folder.join("minio"))?;
        let s3_proxy = match &scale.faults {
            Some(faults) => Some(S3Proxy::start(minio.address(), faults.clone())?),
            None => None,
        };
        let redis = Redis::start(&folder.join("redis"))?;
        Ok(Self { postgres: Some(postgres), redis: Some(redis), minio: Some(minio), s3_proxy })
    }

    /// The part of the configuration that names the engines.
    pub(super) fn config(&self) -> String {
        let mut config = String::new();
        if let Some(postgres) = &self.postgres {
            config.push_str(&format!("[database]\nurl = \"{}\"\n\n", postgres.url()));
        }
        if let Some(minio) = &self.minio {
            let endpoint = self.s3_proxy.as_ref().map_or(minio.address(), S3Proxy::address);
            config.push_str(&format!(
                "[storage]\nbackend = \"s3\"\n\n[storage.s3]\nendpoint = \"http://{endpoint}\"\nbucket = \"{}\"\n\
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
