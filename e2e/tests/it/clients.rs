//! Every client that people use, doing what they do with it.
//!
//! Each runs against both topologies, open over HTTP and authenticated over TLS. What a client pushes is
//! read back through the API with every digest checked; what it pulls is compared with what was pushed.

mod buildah;
mod containerd;
mod crane;
mod docker;
mod helm;
mod oras;
mod podman;
mod regctl;
mod session;
mod skopeo;

use std::net::Ipv6Addr;

use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::registry::{Setup, Topology, Transport};

pub(crate) use session::Session;

/// Runs `exercise` against one kind of registry, or says why not.
fn check(client: &str, tools: &[&str], setup: &Setup, exercise: impl Fn(&Session)) {
    let what = format!("{client} {:?} {:?} {:?}", setup.topology, setup.transport, setup.access);
    if environment::target().unwrap() == Target::Distribution && setup.topology == Topology::Fleet {
        return environment::say(&format!("{what}: the stand-in has one topology only"));
    }
    if environment::have(&what, tools) {
        let mut setup = setup.clone();
        if client == "docker" && setup.transport == Transport::Tls {
            // It never verifies certificates of 127.0.0.0/8, but of every other address.
            setup.address = Ipv6Addr::LOCALHOST.into();
        }
        let session = Session::start(&setup);
        exercise(&session);
        environment::say(&format!("{what}: pass"));
    }
}

/// Four tests for each client: both topologies, in the clear and secured.
macro_rules! clients {
    ($($client:ident: $tools:expr;)*) => {
    $(
        mod $client {
            use entrepot_e2e::registry::{Setup, Topology};

            use crate::clients::{check, $client};

            const NAME: &str = stringify!($client);

            #[test]
            fn embedded_http() {
                check(NAME, &$tools, &Setup::plain(Topology::Embedded), $client::exercise);
            }

            #[test]
            fn embedded_tls() {
                check(NAME, &$tools, &Setup::secured(Topology::Embedded), $client::exercise);
            }

            #[test]
            fn fleet_http() {
                check(NAME, &$tools, &Setup::plain(Topology::Fleet), $client::exercise);
            }

            #[test]
            fn fleet_tls() {
                check(NAME, &$tools, &Setup::secured(Topology::Fleet), $client::exercise);
            }
        }
    )*

        /// Every client: its name, the programs it takes, and what it does.
        pub(crate) const ALL: &[(&str, &[&str], fn(&super::Session))] =
            &[$((stringify!($client), &$tools, super::$client::exercise)),*];
    };
}

pub(crate) mod real {
    clients! {
        docker: ["docker", "dockerd", "containerd", "runc", "busybox"];
        containerd: ["containerd", "ctr", "runc", "busybox"];
        podman: ["podman", "runc", "busybox"];
        buildah: ["buildah", "busybox"];
        skopeo: ["skopeo"];
        crane: ["crane"];
        oras: ["oras"];
        regctl: ["regctl"];
        helm: ["helm"];
    }
}
