//! What goes wrong between a service and an engine, made to happen often. What breaks a database connection
//! is [`crate::relay`].

pub mod s3;
