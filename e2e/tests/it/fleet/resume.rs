//! The gateway that receives a chunk, or a whole layer in one request, is killed in the middle of it; the client goes on at
//! another one.

use std::io::Read;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use entrepot_e2e::api::Upload;
use entrepot_e2e::content::{Content, digest_of};
use entrepot_e2e::http::{Body, Request};
use entrepot_e2e::registry::Registry;

use super::{check, number, plain};

const REPOSITORY: &str = "resume/layer";
/// What a client sends in one request, and so the most that it has to send again.
const CHUNK: u64 = 16 << 20;
/// A part. What is not acknowledged of one request, and what lies in sockets, given by the client and taken by nobody, is
/// no more together.
const PART: u64 = 16 << 20;
/// A kill in every so many chunks.
const EVERY: u64 = 8;

/// Content that does something when half of it is sent.
struct HalfWay<'a> {
    content: std::io::Take<Content>,
    until: u64,
    then: Option<Box<dyn FnOnce() + 'a>>,
}

impl Read for HalfWay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.content.limit() <= self.until
            && let Some(then) = self.then.take()
        {
            then();
        }
        self.content.read(buffer)
    }
}

/// The content from `offset` on. It can only be made from its start.
fn content_from(size: u64, offset: u64) -> Result<Content> {
    let mut content = Content::of(size);
    std::io::copy(&mut (&mut content).take(offset), &mut std::io::sink())?;
    Ok(content)
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let size = number("ENTREPOT_E2E_RESUME_MIB", 1024) << 20;
    let (digest, _) = digest_of(&mut Content::of(size))?;
    let gateways = registry.gateways();
    let mut upload = registry.api_of(&gateways[0]).open_upload(REPOSITORY)?;
    let (mut chunk, mut kills, mut sent) = (0, 0, 0_u64);
    let mut content = Content::of(size);
    while upload.offset < size {
        let at = (chunk % gateways.len() as u64) as usize;
        let api = registry.api_of(&gateways[at]);
        let length = CHUNK.min(size - upload.offset);
        let last = upload.offset + length - 1;
        let kill = (chunk % EVERY == EVERY / 2).then(|| pid(registry, at)).transpose()?;
        let then: Option<Box<dyn FnOnce()>> = kill.map(|pid| -> Box<dyn FnOnce()> { Box::new(move || kill_now(pid)) });
        let mut body = HalfWay { content: content.take(length), until: length / 2, then };
        let request = Request::new("PATCH", &upload.location)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Range", format!("{}-{last}", upload.offset));
        let outcome = api.client().send(request.body(Body::Sized(length, &mut body)));
        content = body.content.into_inner();
        sent += length;
        chunk += 1;
        match outcome {
            Ok(response) => {
                let status = response.status;
                ensure!(status == 202, "a chunk was answered {status}: {}", response.text());
                ensure!(kill.is_none(), "a killed gateway answered");
                upload = Upload { offset: last + 1, ..upload };
            }
            Err(error) => {
                ensure!(kill.is_some(), "a chunk failed that nobody disturbed: {error:#}");
                kills += 1;
                let other = registry.api_of(&gateways[(at + 1) % gateways.len()]);
                let acknowledged = upload.offset;
                upload = other.upload_status(&upload).context("the session is lost")?;
                ensure!(upload.offset >= acknowledged, "{} bytes are left of {acknowledged}", upload.offset);
                content = content_from(size, upload.offset)?;
                ensure!(registry.ended().len() == 1, "another process ended");
                registry.restart()?;
            }
        }
    }
    complete(registry, &upload, &digest, size)?;
    let again = sent - size;
    ensure!(again <= kills * CHUNK, "{again} bytes were sent again after {kills} kills");
    Ok(format!("{} MiB, {kills} kills, all resumed, {} MiB sent again", size >> 20, again >> 20))
}

/// Completes the upload and reads back what was stored.
fn complete(registry: &Registry, upload: &Upload, digest: &str, size: u64) -> Result<()> {
    let api = registry.api();
    api.finish_upload(upload, digest, &[])?;
    let mut response = api.client().stream(Request::new("GET", format!("/v2/{REPOSITORY}/blobs/{digest}")))?;
    let (found, total) = digest_of(response.body())?;
    ensure!(found == digest && total == size, "{total} bytes of {found} are stored");
    Ok(())
}

/// A layer in one PATCH without an end, as docker and podman send it. After each kill the client asks how far it has got,
/// and sends the rest in one PATCH again.
fn streamed(registry: &mut Registry) -> Result<String> {
    let size = number("ENTREPOT_E2E_RESUME_MIB", 1024) << 20;
    let (digest, _) = digest_of(&mut Content::of(size))?;
    let gateways = registry.gateways();
    let mut upload = registry.api_of(&gateways[0]).open_upload(REPOSITORY)?;
    let (mut kills, mut most) = (0, 0);
    for at in (0..gateways.len()).cycle() {
        let (left, victim) = (size - upload.offset, pid(registry, at)?);
        // Several times on the way, at no multiple of anything.
        let distance = size / 6 + 1_234_567;
        let kill = distance < left;
        let then: Option<Box<dyn FnOnce()>> = kill.then(|| -> Box<dyn FnOnce()> { Box::new(move || kill_now(victim)) });
        let content = content_from(size, upload.offset)?.take(left);
        let mut body = HalfWay { content, until: left.saturating_sub(distance), then };
        let request = Request::new("PATCH", &upload.location).header("Content-Type", "application/octet-stream");
        let outcome = registry.api_of(&gateways[at]).client().send(request.body(Body::Chunked(&mut body)));
        let given = upload.offset + left - body.content.limit();
        if !kill {
            outcome?.expect(&[202])?;
            break;
        }
        ensure!(outcome.is_err(), "a killed gateway answered");
        kills += 1;
        let other = registry.api_of(&gateways[(at + 1) % gateways.len()]);
        upload = other.upload_status(&upload).context("the session is lost")?;
        let again = given.checked_sub(upload.offset).context("more is acknowledged than was sent")?;
        ensure!(again <= PART, "{again} bytes of {given} have to be sent again");
        most = most.max(again);
        ensure!(registry.ended().len() == 1, "another process ended");
        registry.restart()?;
    }
    complete(registry, &upload, &digest, size)?;
    Ok(format!("{} MiB in one request, {kills} kills, all resumed, at most {} MiB sent again", size >> 20, most >> 20))
}

fn kill_now(pid: u32) {
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "the gateway could not be killed");
}

/// The process id of the gateway at this place.
fn pid(registry: &Registry, at: usize) -> Result<u32> {
    let name = format!("api-gateway-{}", at + 1);
    let gateway = registry.processes().iter().find(|daemon| daemon.name() == name);
    Ok(gateway.with_context(|| format!("{name} does not run"))?.pid())
}

#[test]
fn on_another_gateway() {
    check("resume", &[], &plain(), exercise);
}

#[test]
fn in_one_request() {
    check("resume", &[], &plain(), streamed);
}
