//! What is measured, and the floor under each figure.
//!
//! Every figure is "smaller is better", so that one ratio reads the same everywhere.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::server::ServerKind;

/// One line of the comparison.
#[derive(Debug)]
pub struct Scenario {
    /// Name on the command line and in the JSON file.
    pub name: &'static str,
    /// What the load is.
    pub title: &'static str,
    /// Unit of the figure.
    pub unit: &'static str,
    /// Unit of the wall-time rate; empty where there is none.
    pub rate_unit: &'static str,
    /// How it is measured.
    pub work: Work,
    /// Servers that can take part.
    pub servers: &'static [ServerKind],
    /// What ours must reach.
    pub floors: &'static [Floor],
}

/// How a scenario loads the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Closed-loop GETs by wrk.
    Get(Target),
    /// One upload of 512 MiB.
    Push(PushMode),
    /// Pages of 100 tags at random places, one after another.
    TagsPage,
    /// Resident memory some seconds after the start, before any load.
    IdleMemory,
    /// From exec to the first 200 on `/v2/`.
    Start,
}

/// What a GET fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The manifest by its tag.
    ManifestByTag,
    /// A layer of 1 MiB.
    SmallBlob,
    /// A layer of 200 MB.
    LargeBlob,
    /// 64 KiB at random places of the large layer.
    Range,
}

/// The two ways in which clients upload a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushMode {
    /// POST, then one PUT with the whole content.
    Monolithic,
    /// POST, a PATCH with `Content-Range` for each chunk, then an empty PUT.
    Chunked,
}

/// A limit that ours must keep, judged on the median of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Floor {
    /// At least this many times less than Distribution in the same round.
    TimesLessThanDistribution(f64),
    /// The figure itself is at most this.
    AtMost(f64),
    /// Wall throughput is at least this fraction of one-core SHA-256 in the same round.
    OfSha256(f64),
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimesLessThanDistribution(times) => write!(f, ">= {times}x less than Distribution"),
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::OfSha256(fraction) => write!(f, ">= {fraction} of one-core SHA-256"),
        }
    }
}

impl Serialize for Floor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const EVERYONE: &[ServerKind] = &[ServerKind::Ours, ServerKind::Distribution, ServerKind::Nginx];
const REGISTRIES: &[ServerKind] = &[ServerKind::Ours, ServerKind::Distribution];

/// All scenarios, in the order in which a round runs them.
pub const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "manifest-tag",
        title: "GET of a 2 KiB manifest by tag",
        unit: "us CPU/request",
        rate_unit: "requests/s",
        work: Work::Get(Target::ManifestByTag),
        servers: EVERYONE,
        floors: &[Floor::TimesLessThanDistribution(8.0)],
    },
    Scenario {
        name: "blob-1m",
        title: "GET of a 1 MiB blob",
        unit: "us CPU/request",
        rate_unit: "requests/s",
        work: Work::Get(Target::SmallBlob),
        servers: EVERYONE,
        floors: &[Floor::TimesLessThanDistribution(3.5)],
    },
    Scenario {
        name: "blob-200m",
        title: "GET of a 200 MB blob",
        unit: "us CPU/request",
        rate_unit: "requests/s",
        work: Work::Get(Target::LargeBlob),
        servers: EVERYONE,
        floors: &[Floor::TimesLessThanDistribution(1.4)],
    },
    Scenario {
        name: "range-64k",
        title: "GET of 64 KiB ranges of a 200 MB blob",
        unit: "us CPU/request",
        rate_unit: "requests/s",
        work: Work::Get(Target::Range),
        servers: EVERYONE,
        floors: &[Floor::TimesLessThanDistribution(10.0)],
    },
    Scenario {
        name: "push-512m",
        title: "push of 512 MiB, one PUT",
        unit: "CPU-s/GB",
        rate_unit: "MB/s",
        work: Work::Push(PushMode::Monolithic),
        servers: REGISTRIES,
        floors: &[Floor::OfSha256(0.75), Floor::TimesLessThanDistribution(1.5)],
    },
    Scenario {
        name: "push-chunked",
        title: "push of 512 MiB, PATCHes of 16 MiB",
        unit: "CPU-s/GB",
        rate_unit: "MB/s",
        work: Work::Push(PushMode::Chunked),
        servers: REGISTRIES,
        floors: &[],
    },
    Scenario {
        name: "tags-page",
        title: "page of 100 tags",
        unit: "ms p99",
        rate_unit: "pages/s",
        work: Work::TagsPage,
        servers: &[ServerKind::Ours],
        floors: &[Floor::AtMost(3.0)],
    },
    Scenario {
        name: "idle-memory",
        title: "resident memory when idle",
        unit: "MB",
        rate_unit: "",
        work: Work::IdleMemory,
        servers: EVERYONE,
        floors: &[Floor::AtMost(15.0)],
    },
    Scenario {
        name: "start",
        title: "exec to the first 200",
        unit: "ms",
        rate_unit: "",
        work: Work::Start,
        servers: EVERYONE,
        floors: &[Floor::AtMost(40.0)],
    },
];
