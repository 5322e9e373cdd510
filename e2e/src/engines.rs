//! The engines that a fleet stands on, as throw-away servers: PostgreSQL with or without a synchronous
//! standby, Redis, and MinIO for S3. Each has ports and a folder of its own.

mod minio;
mod postgres;
mod redis;
mod s3;

pub use minio::Minio;
pub use postgres::Postgres;
pub use redis::Redis;
