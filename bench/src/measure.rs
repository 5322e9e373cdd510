//! One measurement of one server.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::StatusCode;
use serde::Serialize;

use crate::cli::Folders;
use crate::corpus::{Blob, sha256};
use crate::corpus::{
    Corpus, MANIFEST_TYPE, PUSH_BYTES, PUSH_REPOSITORY, PushPayload, REPOSITORY, TAG, TAGS_REPOSITORY,
};
use crate::http_client::Client;
use crate::procfs::{CpuMeter, resident_mb};
use crate::rounds::Plan;
use crate::scenario::{PushMode, Scenario, Target, Work};
use crate::server::{Server, ServerKind, serve_files};
use crate::stats::{Spread, percentile};
use crate::tools::Tools;
use crate::upload;
use crate::wrk::{Load, RANGE_BYTES};

const WARM_UP: Duration = Duration::from_secs(1);
const WARM_UP_PUSH_BYTES: usize = 16 << 20;
/// Long enough for what a server does right after its start.
const IDLE_AFTER: Duration = Duration::from_secs(5);
/// Work that a server does for a push may end shortly after its answer; it is counted too.
const PUSH_SETTLE: Duration = Duration::from_millis(100);
/// The folder of the data that pushes leave.
const PUSHES: &str = "push";
const STARTS: usize = 5;
const TAGS_PER_PAGE: usize = 100;
const WARM_UP_PAGES: u32 = 200;
const PAGES: u32 = 3000;

/// One figure of one server in one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// In the unit of the scenario; smaller is better.
    pub(crate) value: f64,
    /// Units per second of wall time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// Wall throughput as a fraction of one-core SHA-256 measured right before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) of_sha256: Option<f64>,
    /// Share of the machine that other programs used meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) foreign: Option<f64>,
    /// Other figures worth keeping, by name and unit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) more: BTreeMap<&'static str, f64>,
}

impl Sample {
    fn of(value: f64) -> Self {
        Self { value, rate: None, of_sha256: None, foreign: None, more: BTreeMap::new() }
    }
}

/// The state of a run: what the servers hold and what they are loaded with.
pub(crate) struct Bench<'a> {
    tools: &'a Tools,
    plan: &'a Plan,
    folders: &'a Folders,
    corpus: Corpus,
    payload: PushPayload,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(plan: &'a Plan, tools: &'a Tools, folders: &'a Folders) -> Self {
        Self { tools, plan, folders, corpus: Corpus::generate(), payload: PushPayload::generate(PUSH_BYTES) }
    }

    /// Writes and removes as much as a push does. The first use of memory costs a virtual machine far
    /// more than the next, and whoever came first would pay for it.
    pub(crate) fn touch_memory(&mut self) -> anyhow::Result<()> {
        let content = self.payload.renew();
        for folder in [&self.folders.reads, &self.folders.pushes] {
            let path = folder.join("touch");
            for _ in 0..2 {
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path)?;
                file.write_all(&content)?;
            }
            std::fs::remove_file(&path)?;
        }
        Ok(())
    }

    /// Gives a server what the scenarios need and checks that it serves it right, so that nobody is
    /// fast by being wrong.
    pub(crate) fn seed(&self, kind: ServerKind) -> anyhow::Result<()> {
        let data = self.data(kind, "image");
        if kind == ServerKind::Nginx {
            serve_files(&data, &self.corpus)?;
            return self.verify(&self.server(kind, "image")?);
        }
        let server = self.server(kind, "image")?;
        upload::image(&mut Client::connect(server.address)?, &self.corpus)?;
        self.verify(&server)?;
        drop(server);
        let lists_tags = |scenario: &&Scenario| scenario.work == Work::TagsPage && scenario.servers.contains(&kind);
        if self.plan.scenarios.iter().any(lists_tags) {
            let server = self.server(kind, "tags")?;
            upload::tags(&mut Client::connect(server.address)?, &self.corpus, self.plan.tags)?;
        }
        Ok(())
    }

    pub(crate) fn measure(&mut self, scenario: &Scenario, kind: ServerKind) -> anyhow::Result<Sample> {
        match scenario.work {
            Work::Get(target) => self.get(kind, target),
            Work::Push(mode) => self.push(kind, mode),
            Work::TagsPage => self.tags_page(kind),
            Work::IdleMemory => {
                let server = self.server(kind, "image")?;
                std::thread::sleep(IDLE_AFTER);
                Ok(Sample::of(resident_mb(server.pid())?))
            }
            Work::Start => {
                let starts: Vec<f64> = (0..STARTS)
                    .map(|_| Ok(self.server(kind, "image")?.start.as_secs_f64() * 1e3))
                    .collect::<anyhow::Result<_>>()?;
                Ok(Sample::of(Spread::of(&starts).context("there was no start")?.median))
            }
        }
    }

    fn data(&self, kind: ServerKind, purpose: &str) -> PathBuf {
        let folder = if purpose == PUSHES { &self.folders.pushes } else { &self.folders.reads };
        folder.join(kind.name()).join(purpose)
    }

    fn server(&self, kind: ServerKind, purpose: &str) -> anyhow::Result<Server> {
        Server::start(kind, self.tools, &self.data(kind, purpose))
    }

    fn path(&self, target: Target) -> String {
        match target {
            Target::ManifestByTag => format!("/v2/{REPOSITORY}/manifests/{TAG}"),
            Target::SmallBlob => format!("/v2/{REPOSITORY}/blobs/{}", self.corpus.small.digest),
            Target::LargeBlob | Target::Range => format!("/v2/{REPOSITORY}/blobs/{}", self.corpus.large.digest),
        }
    }

    fn verify(&self, server: &Server) -> anyhow::Result<()> {
        let mut client = Client::connect(server.address)?;
        let wholes = [
            (Target::ManifestByTag, &self.corpus.manifest),
            (Target::SmallBlob, &self.corpus.small),
            (Target::LargeBlob, &self.corpus.large),
        ];
        for (target, content) in wholes {
            let path = self.path(target);
            let answer = client.get(&path, Some(("accept", MANIFEST_TYPE)))?.expect(StatusCode::OK)?;
            ensure!(sha256(&answer.body) == content.digest, "{path} has wrong content");
        }
        let from = 12_345;
        let range = format!("bytes={from}-{}", from + RANGE_BYTES - 1);
        let path = self.path(Target::Range);
        let answer = client.get(&path, Some(("range", &range)))?.expect(StatusCode::PARTIAL_CONTENT)?;
        ensure!(
            answer.body == self.corpus.large.bytes[from..from + RANGE_BYTES],
            "a range of {path} has wrong content"
        );
        Ok(())
    }

    fn get(&self, kind: ServerKind, target: Target) -> anyhow::Result<Sample> {
        let server = self.server(kind, "image")?;
        let path = self.path(target);
        let load = Load {
            path: &path,
            accept: if target == Target::ManifestByTag { MANIFEST_TYPE } else { "*/*" },
            ranges_of: (target == Target::Range).then_some(self.corpus.large.bytes.len()),
        };
        let run = |time| load.run(&mut self.tools.wrk.command(), server.address, time, &self.folders.reads);
        run(WARM_UP)?;
        let meter = CpuMeter::start(server.pid())?;
        let counts = run(self.plan.load)?;
        let used = meter.stop()?;
        // Of large answers so few fit a run that the unfinished ones count.
        let units = match target {
            Target::LargeBlob => counts.bytes / self.corpus.large.bytes.len() as f64,
            Target::ManifestByTag | Target::SmallBlob | Target::Range => counts.requests,
        };
        Ok(Sample {
            rate: Some(units / counts.micros * 1e6),
            foreign: Some(used.foreign),
            more: [("latency_p50_us", counts.p50), ("latency_p99_us", counts.p99)].into(),
            ..Sample::of(used.server / units * 1e6)
        })
    }

    fn push(&mut self, kind: ServerKind, mode: PushMode) -> anyhow::Result<Sample> {
        let data = self.data(kind, PUSHES);
        if data.exists() {
            std::fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
        }
        let server = self.server(kind, PUSHES)?;
        let mut client = Client::connect(server.address)?;
        let warm_up = Blob::new(PushPayload::generate(WARM_UP_PUSH_BYTES).renew());
        upload::blob(&mut client, PUSH_REPOSITORY, &warm_up, mode)?;

        let bytes = self.payload.renew();
        let hashing = Instant::now();
        let content = Blob::new(bytes);
        let sha256_rate = PUSH_BYTES as f64 / 1e6 / hashing.elapsed().as_secs_f64();
        // What others left to write must not slow this server's own writes.
        rustix::fs::sync();
        let meter = CpuMeter::start(server.pid())?;
        let began = Instant::now();
        upload::blob(&mut client, PUSH_REPOSITORY, &content, mode)?;
        let rate = PUSH_BYTES as f64 / 1e6 / began.elapsed().as_secs_f64();
        std::thread::sleep(PUSH_SETTLE);
        let used = meter.stop()?;
        drop(server);
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
        Ok(Sample {
            rate: Some(rate),
            of_sha256: Some(rate / sha256_rate),
            foreign: Some(used.foreign),
            more: [("sha256_mb_s", sha256_rate)].into(),
            ..Sample::of(used.server / (PUSH_BYTES as f64 / 1e9))
        })
    }

    fn tags_page(&self, kind: ServerKind) -> anyhow::Result<Sample> {
        let server = self.server(kind, "tags")?;
        let mut client = Client::connect(server.address)?;
        let places = self.plan.tags.saturating_sub(TAGS_PER_PAGE as u32 + 1).max(1);
        // Spread out over the whole list, and the same in every run.
        let place = |page: u32| (u64::from(page) * 0x9E37_79B1 % u64::from(places)) as u32;
        for page in 0..WARM_UP_PAGES {
            tags_after(&mut client, place(page))?;
        }
        let meter = CpuMeter::start(server.pid())?;
        let millis: Vec<f64> = (0..PAGES)
            .map(|page| {
                let began = Instant::now();
                tags_after(&mut client, place(page))?;
                Ok(began.elapsed().as_secs_f64() * 1e3)
            })
            .collect::<anyhow::Result<_>>()?;
        let used = meter.stop()?;
        let p50 = percentile(&millis, 0.5).context("no page was read")?;
        Ok(Sample {
            rate: Some(f64::from(PAGES) / used.wall),
            foreign: Some(used.foreign),
            more: [("latency_p50_ms", p50), ("cpu_us_per_page", used.server / f64::from(PAGES) * 1e6)].into(),
            ..Sample::of(percentile(&millis, 0.99).context("no page was read")?)
        })
    }
}

/// Fetches one page and checks where it begins; reading all of it as JSON would be timed too.
fn tags_after(client: &mut Client, number: u32) -> anyhow::Result<()> {
    let last = upload::tag_name(number);
    let path = format!("/v2/{TAGS_REPOSITORY}/tags/list?n={TAGS_PER_PAGE}&last={last}");
    let answer = client.get(&path, None)?.expect(StatusCode::OK)?;
    let first = format!("[\"{}\"", upload::tag_name(number + 1));
    let size = TAGS_PER_PAGE * (last.len() + 3);
    let found = answer.body.windows(first.len()).any(|window| window == first.as_bytes());
    ensure!(found && answer.body.len() >= size, "{path} is not the page after {last}");
    Ok(())
}
