//! One chunked upload that goes on through any number of kills.

use anyhow::{Context, Result, bail};
use entrepot_e2e::api::{Api, Upload};
use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::image::Blob;
use entrepot_e2e::random_bytes;

const SIZE: usize = 3 << 20;
const CHUNK: usize = 192 << 10;

/// How far the upload is, as the registry told us.
#[derive(Debug)]
enum Stage {
    Closed,
    /// Acknowledged up to the session's offset; `asked` is true when the last request was cut off.
    Open {
        session: Upload,
        asked: bool,
    },
    /// The final request was cut off.
    Finishing {
        session: Upload,
    },
}

pub(super) struct Chunked {
    repository: String,
    content: Blob,
    stage: Stage,
    pub(super) resumed: u64,
}

impl Chunked {
    pub(super) fn new(repository: &str) -> Self {
        Self { repository: repository.to_owned(), content: fresh(), stage: Stage::Closed, resumed: 0 }
    }

    /// Like [`Chunked::step`], where nobody audits between a request that was cut off and the next.
    pub(super) fn step_on(&mut self, api: &Api) -> Result<()> {
        match &self.stage {
            Stage::Open { asked: true, .. } | Stage::Finishing { .. } => self.audit(api),
            _ => self.step(api),
        }
    }

    /// One request further.
    pub(super) fn step(&mut self, api: &Api) -> Result<()> {
        match &mut self.stage {
            Stage::Closed => {
                let session = api.open_upload(&self.repository)?;
                self.stage = Stage::Open { session, asked: false };
                Ok(())
            }
            Stage::Open { session, asked } if position(session) < SIZE => {
                let from = position(session);
                let chunk = &self.content.bytes[from..SIZE.min(from + CHUNK)];
                *asked = true;
                api.append(session, chunk)?;
                *asked = false;
                if position(session) != from + chunk.len() {
                    bail!("{} bytes were sent, the answer says {}", from + chunk.len(), session.offset);
                }
                Ok(())
            }
            Stage::Open { session, .. } | Stage::Finishing { session } => {
                let session = session.clone();
                self.stage = Stage::Finishing { session: session.clone() };
                api.finish_upload(&session, &self.content.digest, &[])?;
                self.check_stored(api)
            }
        }
    }

    /// After a restart: what was acknowledged is there.
    pub(super) fn audit(&mut self, api: &Api) -> Result<()> {
        match &mut self.stage {
            Stage::Closed => Ok(()),
            Stage::Open { session, asked } => {
                let promised = session.offset;
                let limit = if *asked { promised + CHUNK as u64 } else { promised };
                let now = match api.upload_status(session) {
                    // The stand-in puts the offset into the address and cannot follow when it lost count.
                    Err(_) if *asked && environment::target()? == Target::Distribution => {
                        self.stage = Stage::Closed;
                        return Ok(());
                    }
                    other => other.context("the upload session is lost")?,
                };
                if !(promised..=limit).contains(&now.offset) {
                    bail!("the session is at {}, acknowledged was {promised}", now.offset);
                }
                *session = now;
                *asked = false;
                self.resumed += 1;
                Ok(())
            }
            Stage::Finishing { session } => {
                let session = session.clone();
                let stored = api.has_blob(&self.repository, &self.content.digest)?;
                if stored && environment::target()? == Target::Distribution {
                    // It has no memory of sessions that are done.
                    return self.check_stored(api);
                }
                api.finish_upload(&session, &self.content.digest, &[])
                    .context("a repeated final request is refused")?;
                self.resumed += 1;
                self.check_stored(api)
            }
        }
    }

    fn check_stored(&mut self, api: &Api) -> Result<()> {
        let stored = api.blob(&self.repository, &self.content.digest)?;
        if stored.as_ref() != Some(&self.content.bytes) {
            bail!("an acknowledged upload is not what was sent");
        }
        self.content = fresh();
        self.stage = Stage::Closed;
        Ok(())
    }
}

fn position(session: &Upload) -> usize {
    usize::try_from(session.offset).expect("no larger than the content")
}

fn fresh() -> Blob {
    Blob::new("application/octet-stream", random_bytes(SIZE))
}
