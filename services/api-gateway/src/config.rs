//! Settings of the gateway.

use entrepot_runtime::tls::ClientTls;
use entrepot_token::SessionSigner;

use crate::admission::{AdmissionLimits, RateLimits};
use crate::redirect::RedirectPolicy;

/// Who may do what without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Everybody everything: for one machine.
    Open,
    /// Nothing without a token, except what is granted to everybody.
    Managed,
}

/// Settings of the gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Who may do what.
    pub mode: AccessMode,
    /// Name of this registry in tokens (`aud`) and challenges (`service`).
    pub service: String,
    /// Base of absolute URLs in challenges, such as `https://registry.example.com`; without it the
    /// `Host` of the request is used.
    pub public_url: Option<String>,
    /// True when clients reach this gateway over TLS; part of the URL in challenges.
    pub tls: bool,
    /// Signs upload sessions; the same on every gateway of the registry.
    pub sessions: SessionSigner,
    /// Who is sent to the storage for a blob.
    pub pull: RedirectPolicy,
    /// What may be in flight at once.
    pub limits: AdmissionLimits,
    /// What may be asked for in a time.
    pub rates: RateLimits,
    /// Of a long request, so many bytes at a time are acknowledged.
    pub segment: SegmentSize,
    /// For blobs that lie behind `https` URLs; without it the authorities of the system are believed.
    pub data_tls: Option<ClientTls>,
}

/// Where the parts of a multipart upload become larger than its first ones.
const LATE: u64 = 8_000 << 20;

/// What a client that is cut off sends again at most: bytes before a multiple of it are acknowledged while the rest of the
/// request is still to come. An acknowledgement is a flush and a commit.
///
/// Sizes of parts that are powers of two divide it, or it them, so that none has to be kept for the segment after it; others,
/// and parts cut for want of memory, leave a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize(u64);

impl SegmentSize {
    /// The largest part of a multipart upload: for a process that nobody takes an upload over from.
    pub const LARGEST_PART: Self = Self(64 << 20);
    /// The first parts of a multipart upload, and the largest where they have grown: another gateway goes on after it.
    pub const FIRST_PARTS: Self = Self(8 << 20);

    /// How many bytes more belong to the segment that `offset` lies in.
    pub(crate) fn left(self, offset: u64) -> u64 {
        let size = if offset < LATE { self.0 } else { self.0.max(Self::LARGEST_PART.0) };
        size - offset % size
    }
}
