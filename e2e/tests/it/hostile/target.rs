//! The registry as an attacker's target: raw requests in, and a way to see whether they left anything.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::http::{Body, Connection, Request, Response};
use entrepot_e2e::image::{Blob, Image};
use entrepot_e2e::registry::Registry;
use entrepot_e2e::{poll, random_bytes};

/// A named attack; an error says what was wrong with the answer.
pub(super) type Case = (&'static str, fn(&Victim<'_>) -> Result<()>);

/// The repository with honest content.
pub(super) const HONEST: &str = "honest/app";
/// A repository that must never come into being.
pub(super) const GHOST: &str = "ghost/app";
/// Size of the honest blob.
pub(super) const BLOB: usize = 1 << 20;

/// Patience with a connection that the registry should answer or close.
const ANSWER: Duration = Duration::from_secs(15);
/// Silence after which a request is taken for complete.
const PAUSE: Duration = Duration::from_millis(700);
/// Memory and storage that a group of attacks may leave behind.
const MEMORY: u64 = 48 << 20;
const STORAGE: u64 = 2 << 20;
/// Connections close a little after their last byte.
const SETTLE: Duration = Duration::from_secs(90);

pub(super) struct Victim<'a> {
    pub(super) api: Api,
    pub(super) blob: Blob,
    /// Too large for the buffers of a connection.
    pub(super) large: Blob,
    pub(super) image: Image,
    registry: &'a Registry,
}

/// What could grow.
pub(super) struct Footprint {
    resident: u64,
    files: usize,
    stored: u64,
}

impl<'a> Victim<'a> {
    /// Pushes honest content.
    pub(super) fn prepare(registry: &'a Registry) -> Result<Self> {
        let api = registry.api();
        let image = Image::random(&[10_000], "amd64");
        api.push_image(HONEST, "1", &image)?;
        let blob = Blob::new("application/octet-stream", random_bytes(BLOB));
        api.push_blob(HONEST, &blob)?;
        let large = Blob::new("application/octet-stream", random_bytes(16 * BLOB));
        api.push_blob(HONEST, &large)?;
        Ok(Self { api, blob, large, image, registry })
    }

    /// An honest client is still served, and nothing has appeared.
    pub(super) fn is_well(&self) -> Result<()> {
        let digest = self.api.verify(HONEST, "1")?;
        ensure!(digest == self.image.manifest.digest, "the honest tag moved to {digest}");
        ensure!(self.api.tags(HONEST)? == ["1"], "the honest repository has other tags");
        ensure!(self.api.tags(GHOST)?.is_empty(), "{GHOST} has tags");
        Ok(())
    }

    /// Memory, files and storage now.
    pub(super) fn footprint(&self) -> Result<Footprint> {
        Ok(Footprint {
            resident: self.registry.resident_bytes()?,
            files: self.registry.open_files()?,
            stored: self.registry.stored_bytes()?,
        })
    }

    /// Fails when something stays grown.
    pub(super) fn unchanged_since(&self, before: &Footprint) -> Result<()> {
        let settled = poll::until("the former footprint", SETTLE, || {
            let now = self.footprint()?;
            ensure!(
                now.resident <= before.resident + MEMORY,
                "memory {} → {}: {}",
                before.resident,
                now.resident,
                self.registry.memory()
            );
            // Some files are opened once and kept.
            ensure!(now.files <= before.files + 16, "open files {} → {}", before.files, now.files);
            ensure!(now.stored <= before.stored + STORAGE, "stored bytes {} → {}", before.stored, now.stored);
            Ok(())
        });
        settled.map(drop)
    }

    /// The registry's resident memory in bytes.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        self.registry.resident_bytes()
    }

    /// A connection for bytes of our own.
    pub(super) fn connect(&self) -> Result<Connection> {
        let connection = self.api.client().connect()?;
        connection.set_read_timeout(ANSWER)?;
        Ok(connection)
    }

    /// Sends raw bytes and returns every byte until the registry closes. It gets time to answer before our
    /// direction ends, which a server may take for a client that has gone.
    pub(super) fn raw(&self, bytes: &[u8]) -> Result<String> {
        let mut connection = self.connect()?;
        // The registry may refuse and close before it has read everything.
        let _ = connection.write_all(bytes);
        let mut answer = Vec::new();
        connection.set_read_timeout(PAUSE)?;
        if read_all(&mut connection, &mut answer) {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
        let _ = connection.finish_writing();
        connection.set_read_timeout(ANSWER)?;
        ensure!(read_all(&mut connection, &mut answer), "neither answered nor closed within {ANSWER:?}");
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Sends a request with a body of any kind.
    pub(super) fn send(
        &self,
        method: &'static str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let mut request = Request::new(method, path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if !body.is_empty() {
            request = request.body(Body::Bytes(body));
        }
        self.api.client().send(request)
    }
}

/// Reads until the end, which is true, or until nothing comes for as long as a read waits.
fn read_all(connection: &mut Connection, answer: &mut Vec<u8>) -> bool {
    match connection.read_to_end(answer) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}

/// The status codes of all responses in `answer`.
pub(super) fn statuses(answer: &str) -> Vec<u16> {
    answer
        .match_indices("HTTP/1.")
        .filter(|(at, _)| *at == 0 || answer[..*at].ends_with(['\n', '}']))
        .filter_map(|(at, _)| answer[at..].split(' ').nth(1)?.parse().ok())
        .collect()
}

/// One response that refuses, or a closed connection.
pub(super) fn refused(answer: &str) -> Result<()> {
    let statuses = statuses(answer);
    match statuses.as_slice() {
        [] => Ok(()),
        [status] if (400..=505).contains(status) && *status != 500 => Ok(()),
        _ => bail!("answered {statuses:?}: {}", answer.chars().take(300).collect::<String>()),
    }
}

/// A 4xx with an OCI error in the body; one of `codes` unless that is empty.
pub(super) fn oci_error(response: &Response, statuses: &[u16], codes: &[&str]) -> Result<()> {
    ensure!(statuses.contains(&response.status), "answered {}: {}", response.status, response.text());
    let code = response.error_code().with_context(|| format!("no OCI error: {}", response.text()))?;
    ensure!(codes.is_empty() || codes.contains(&code.as_str()), "answered {code}, expected {codes:?}");
    let message = response.json()?["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    ensure!(!message.is_empty(), "the error has no message");
    Ok(())
}
