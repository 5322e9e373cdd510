//! `[pull]`: which clients are sent to the storage.

use api_gateway::{RedirectPolicy, Redirects};
use entrepot_runtime::config::{ByteSize, Reader};
use entrepot_runtime::network::Networks;

pub(super) fn read(reader: &mut Reader<'_>) -> RedirectPolicy {
    let choices =
        [("always", Redirects::Always), ("external-only", Redirects::ExternalOnly), ("never", Redirects::Never)];
    let domains = RedirectPolicy::INTERNAL_DOMAINS.iter().map(ToString::to_string).collect();
    RedirectPolicy {
        redirects: reader.choice(
            "pull.redirect",
            Redirects::ExternalOnly,
            &choices,
            "Which blob GETs are answered with a redirect to the storage (307): all; those of clients outside \
             pull.internal_networks where the storage is outside too (https, and neither in those networks nor in \
             pull.internal_domains); or none, then all bytes pass through api-gateway.",
        ),
        internal_networks: Networks::new(reader.list(
            "pull.internal_networks",
            Networks::private(),
            "Networks that are inside: clients there get blobs from api-gateway, storage there is not shown to clients outside.",
        )),
        internal_domains: reader.list(
            "pull.internal_domains",
            domains,
            "Domains of storage that is inside, besides names without a dot.",
        ),
        min_bytes: reader
            .field("pull.redirect_min", ByteSize::kib(64), "Blobs and ranges smaller than this come from api-gateway.")
            .0,
    }
}
