//! Conformance and every real client against one fleet, one client after the other.

use std::net::Ipv6Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::image::Image;
use entrepot_e2e::registry::{Access, Registry, Setup, Topology};

use super::plain;
use crate::clients::{Session, real};
use crate::conformance;

/// All clients that `chosen` picks; each has its turn even if another fails.
fn run(setup: &Setup, chosen: impl Fn(&str) -> bool) {
    if environment::target().unwrap() == Target::Distribution {
        return environment::say("fleet clients: the stand-in has one topology only");
    }
    if !environment::have("fleet clients", &setup.scale.tools()) {
        return;
    }
    let registry = Rc::new(Registry::start(setup).unwrap());
    if setup.scale.engines.s3
        && setup.settings.iter().any(|(name, value)| name == "ENTREPOT__PULL__REDIRECT" && value == "always")
    {
        redirects(&registry);
    }
    let mut failed = Vec::new();
    for (client, tools, exercise) in real::ALL.iter().filter(|(client, ..)| chosen(client)) {
        let what = format!("fleet {client} {:?} {:?}", setup.transport, setup.access);
        if !environment::have(&what, tools) {
            continue;
        }
        let session = Session::with(registry.clone());
        // The panic has said what is wrong; here it only counts.
        match catch_unwind(AssertUnwindSafe(|| exercise(&session))) {
            Ok(()) => environment::say(&format!("{what}: pass")),
            Err(_) => failed.push(what),
        }
    }
    assert!(failed.is_empty(), "{failed:?}\n{}{}", registry.logs(), registry.engines().logs());
}

/// Or the clients would not be told from those that pull through the gateways.
fn redirects(registry: &Registry) {
    let image = Image::random(&[200_000], "amd64");
    let blob = image.blobs().max_by_key(|blob| blob.bytes.len()).unwrap();
    let api = registry.api();
    api.push_blob("redirected/app", blob).unwrap();
    let target = api.client().redirect_of(&format!("/v2/redirected/app/blobs/{}", blob.digest)).unwrap();
    assert!(target.is_some(), "nobody is redirected");
    assert_eq!(api.blob("redirected/app", &blob.digest).unwrap(), Some(blob.bytes.clone()));
}

/// Blobs come from the storage itself, by redirect.
#[test]
fn http() {
    run(&plain().with("pull.redirect", "always"), |_| true);
}

/// The same with a token, which the storage must not get: S3 takes no request with two kinds of credentials.
#[test]
fn http_managed() {
    run(&Setup { access: Access::Managed, ..plain() }.with("pull.redirect", "always"), |_| true);
}

/// Blobs pass through the gateways.
#[test]
fn tls() {
    run(&Setup::secured(Topology::Scale), |client| client != "docker");
}

/// Docker never verifies certificates of 127.0.0.0/8, but of every other address.
#[test]
fn docker_tls() {
    let setup = Setup { address: Ipv6Addr::LOCALHOST.into(), ..Setup::secured(Topology::Scale) };
    run(&setup, |client| client == "docker");
}

#[test]
fn conformance_open() {
    conformance::scale(Access::Open);
}

#[test]
fn conformance_managed() {
    conformance::scale(Access::Managed);
}
