//! `[redis]`: what only saves waiting.

use std::time::Duration;

use entrepot_redis::RedisConfig;
use entrepot_runtime::config::{Reader, Secret};

/// Where Redis is, if there is one.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Its URL with user and password.
    pub url: Option<Secret>,
    /// Longest a command takes.
    pub command_timeout: Duration,
}

impl Redis {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let redis = Self {
            url: reader.secret(
                "redis.url",
                "Redis of the fleet, such as redis://:PASSWORD@redis:6379 (rediss:// for TLS). It makes deletions and changes of rights count at once \
                 elsewhere; without it they do within 5 s.",
            ),
            command_timeout: reader.field(
                "redis.command_timeout",
                Duration::from_millis(100),
                "Longest a command takes before Redis counts as away. No request waits for it.",
            ),
        };
        if let Some(config) = redis.connection("")
            && let Err(error) = entrepot_redis::Redis::new(&config)
        {
            reader.reject("redis.url", format!("is {error}"));
        }
        if redis.command_timeout.is_zero() {
            reader.reject("redis.command_timeout", "must be longer than nothing, such as 100ms");
        }
        redis
    }

    /// How to connect, for the registry called `service`.
    pub(crate) fn connection(&self, service: &str) -> Option<RedisConfig> {
        let url = self.url.as_ref()?.expose().to_owned();
        Some(RedisConfig { url, command_timeout: self.command_timeout, namespace: service.to_owned() })
    }
}
