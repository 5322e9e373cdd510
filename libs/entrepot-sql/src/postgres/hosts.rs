//! Connection URLs with several servers, which sqlx does not read.

use sqlx::postgres::PgConnectOptions;

#[cfg(test)]
mod tests;

/// What is wrong with a connection URL. Never holds the URL: there is a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresUrlError {
    /// Another sort of URL.
    #[error("must begin with postgres:// or postgresql://")]
    Scheme,
    /// Nothing between two commas.
    #[error("names an empty host; write host:port,host:port")]
    EmptyHost,
    /// One of the servers, or a parameter, cannot be read.
    #[error("cannot be used for host {host:?}: {reason}")]
    Invalid {
        /// Which server.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// A server that refuses writes is of no use.
    #[error("has target_session_attrs={0}; only read-write, which is what is done anyway, can be asked for")]
    SessionAttributes(String),
}

const SESSION_ATTRIBUTES: &str = "target_session_attrs=";

/// One set of options per server.
pub(super) fn parse(url: &str) -> Result<Vec<PgConnectOptions>, PostgresUrlError> {
    let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or(PostgresUrlError::Scheme)?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let tail = without_session_attributes(tail)?;
    let several = hosts.contains(',');
    let one = |host: &str| {
        if several && host.is_empty() {
            return Err(PostgresUrlError::EmptyHost);
        }
        let parsed = format!("postgres://{user}{host}{tail}").parse();
        parsed.map_err(|error: sqlx::Error| PostgresUrlError::Invalid {
            host: host.to_owned(),
            reason: match error {
                sqlx::Error::Configuration(reason) => reason.to_string(),
                other => other.to_string(),
            },
        })
    };
    hosts.split(',').map(one).collect()
}

/// Leaves the one parameter out that is ours: what libpq calls `read-write` is the only thing that is done.
fn without_session_attributes(tail: &str) -> Result<String, PostgresUrlError> {
    let Some((path, query)) = tail.split_once('?') else { return Ok(tail.to_owned()) };
    let mut kept = Vec::new();
    for parameter in query.split('&') {
        match parameter.strip_prefix(SESSION_ATTRIBUTES) {
            None => kept.push(parameter),
            Some("read-write" | "primary") => {}
            Some(other) => return Err(PostgresUrlError::SessionAttributes(other.to_owned())),
        }
    }
    Ok(if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) })
}

/// A server as errors name it.
pub(super) fn name(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}
