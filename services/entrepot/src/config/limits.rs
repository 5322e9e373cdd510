//! `[limits]`: what may be in flight at once, and asked for in a time.

use std::time::Duration;

use api_gateway::{AdmissionLimits, Rate, RateLimits};
use entrepot_core::ports::budget::Limit;
use entrepot_runtime::config::{ByteSize, Reader};
use entrepot_runtime::memory;

/// For a machine that does not say how much memory it has.
const FALLBACK_BYTES: u64 = 1 << 30;
/// Less than this and one upload fills it.
const LEAST_BYTES: u64 = 64 << 20;

/// Less than this and one upload cannot be taken.
const LEAST_UPLOAD_MEMORY: ByteSize = ByteSize(4 << 20);

/// Limits of api-gateway, and of blob-store's memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What may be in flight at once.
    pub admission: AdmissionLimits,
    /// What may be asked for in a time.
    pub rates: RateLimits,
    /// Bytes of uploads that blob-store may hold.
    pub upload_memory: u64,
}

impl Limits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self { admission: admission(reader), rates: rates(reader), upload_memory: upload_memory(reader) }
    }
}

fn admission(reader: &mut Reader<'_>) -> AdmissionLimits {
    let requests = reader.field(
        "limits.requests",
        8_000,
        "Requests in flight; below http.max_connections. Starting a push may fill 70 % of it, reading blobs 85 %, look-ups 95 %, \
         pushes under way all: so new pushes are refused first (503).",
    );
    if requests == 0 {
        reader.reject("limits.requests", "must be at least 1");
    }
    let bytes: Option<ByteSize> = reader.optional(
        "limits.bytes_in_flight",
        "Bytes of bodies that may be in memory, an upload counting up to 4MiB and a download 256KiB; shared out as limits.requests. \
         By default a quarter of the memory of the machine or container.",
    );
    let derived = memory::limit().map_or(FALLBACK_BYTES, |memory| (memory / 4).max(LEAST_BYTES));
    let tenant_requests: Option<usize> = reader.optional(
        "limits.tenant_requests",
        "Requests in flight of one tenant (429 beyond). Without it a tenant may use what others leave, up to half of it \
         (50 % for starting a push to 65 % for pushes under way), beyond which only tenants below their fair share are let in.",
    );
    if tenant_requests == Some(0) {
        reader.reject("limits.tenant_requests", "must be at least 1; leave it out for no limit");
    }
    let tenant_bytes: Option<ByteSize> = reader.optional(
        "limits.tenant_bytes_in_flight",
        "Bytes of bodies of one tenant that may be in memory (429 beyond); without it shared out as limits.tenant_requests.",
    );
    let queue_timeout = reader.field(
        "limits.queue_timeout",
        Duration::from_secs(1),
        "How long a request waits for its turn before it is refused, at most 10s.",
    );
    if queue_timeout > Duration::from_secs(10) {
        reader.reject("limits.queue_timeout", "must be at most 10s: a client that is told to come back is better off");
    }
    AdmissionLimits {
        requests,
        bytes_in_flight: bytes.map_or(derived, |bytes| bytes.0),
        tenant_requests,
        tenant_bytes_in_flight: tenant_bytes.map(|bytes| bytes.0),
        queue_timeout,
        queued: reader.field(
            "limits.queued",
            1_000,
            "Requests that wait for their turn; a tenant may have a quarter of them.",
        ),
    }
}

fn upload_memory(reader: &mut Reader<'_>) -> u64 {
    let key = "limits.upload_memory";
    let memory: Option<ByteSize> = reader.optional(
        key,
        "Memory of blob-store for uploads on their way to the storage: 4MiB each, up to 16MiB while there is enough, and 256KiB over a bucket; beyond it \
         uploads are refused (503). By default an eighth of the memory of the machine or container, and at least 64MiB.",
    );
    if memory.is_some_and(|memory| memory.0 < LEAST_UPLOAD_MEMORY.0) {
        reader.reject(key, "must be at least 4MiB, which one upload needs");
    }
    let derived = memory::limit().map_or(FALLBACK_BYTES, |memory| (memory / 8).max(LEAST_BYTES));
    memory.map_or(derived, |memory| memory.0)
}

fn rates(reader: &mut Reader<'_>) -> RateLimits {
    let mut requests = |whose: &str, doc: &str| -> Option<u64> {
        let key = format!("limits.{whose}_requests_per_second");
        let rate: Option<u32> = reader.optional(&key, doc);
        if rate == Some(0) {
            reader.reject(&key, "must be at least 1; leave it out for no limit");
        }
        rate.map(u64::from)
    };
    let tenant_requests = requests(
        "tenant",
        "Requests a second below one tenant (429 beyond), on all gateways together where they share Redis; none by default. The chunks of a push under way do not count.",
    );
    let principal_requests = requests("principal", "Requests a second of one user or robot; none by default.");
    let mut bytes = |whose: &str, doc: &str| -> Option<u64> {
        let key = format!("limits.{whose}_bytes_per_second");
        let rate: Option<ByteSize> = reader.optional(&key, doc);
        if rate == Some(ByteSize(0)) {
            reader.reject(&key, "must be at least 1; leave it out for no limit");
        }
        rate.map(|rate| rate.0)
    };
    let tenant_bytes = bytes(
        "tenant",
        "Bytes a second of blobs pulled below one tenant, as limits.tenant_requests_per_second; none by default.",
    );
    let principal_bytes = bytes("principal", "Bytes a second of blobs pulled by one user or robot; none by default.");
    let burst: Duration = reader.field(
        "limits.burst",
        Duration::from_secs(10),
        "What a rate may save up, in seconds of it, at least 1s.",
    );
    if burst < Duration::from_secs(1) {
        reader.reject("limits.burst", "must be at least 1s");
    }
    let limit = |rate: u64| Limit::new(rate, rate.saturating_mul(burst.as_secs().max(1)));
    RateLimits {
        tenant: Rate { requests: tenant_requests.map(limit), bytes: tenant_bytes.map(limit) },
        principal: Rate { requests: principal_requests.map(limit), bytes: principal_bytes.map(limit) },
    }
}
