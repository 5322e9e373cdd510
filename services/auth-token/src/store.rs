//! The transactions of auth-token.

pub(crate) mod accounts;
pub(crate) mod changes;
pub(crate) mod grants;
pub(crate) mod refresh;
pub(crate) mod signing_keys;
