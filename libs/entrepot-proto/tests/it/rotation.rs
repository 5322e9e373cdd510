//! Certificates between services change while calls are made.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use entrepot_core::ErrorKind;
use entrepot_core::error::Classify;
use entrepot_proto::client::{ClientConfig, ConfigError, Connection, Endpoint};
use entrepot_runtime::listen::{CertificateFiles, Reload, Tls};
use entrepot_runtime::shutdown::DrainConfig;
use entrepot_runtime::tls::{ClientTls, MutualFiles};
use entrepot_testkit::certificates::{Authority, write_authorities};
use futures_util::future::join_all;

use crate::replicas::{Replica, client, config, once};

fn files(folder: &Path) -> MutualFiles {
    let identity = CertificateFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
    MutualFiles { identity, authorities: folder.join("ca.crt") }
}

fn secured(replica: &Replica, host: &str) -> Endpoint {
    format!("https://{host}:{}", replica.address.port()).parse().unwrap()
}

fn replica(tls: &Tls) -> Replica {
    Replica::at(([127, 0, 0, 1], 0).into(), DrainConfig::IMMEDIATE, Some(tls))
}

fn with(tls: &ClientTls, endpoint: Endpoint) -> ClientConfig {
    let mut config = config([endpoint]);
    config.tls = Some(tls.clone());
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_everything_under_load_costs_no_call() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    old.issue(&["localhost", "127.0.0.1"]).write(theirs.path(), &[&old]);
    old.issue(&["gateway"]).write(ours.path(), &[&old]);
    let server_tls = Tls::mutual(files(theirs.path())).unwrap();
    let client_tls = ClientTls::mutual(files(ours.path())).unwrap();
    let replica = replica(&server_tls);
    let stop = AtomicBool::new(false);
    let calls = AtomicUsize::new(0);
    // Connections live long, so each round of callers opens its own: every handshake is under test.
    let callers = (0..4).map(|_| async {
        let mut failures = Vec::new();
        while !stop.load(SeqCst) {
            let client = client(&with(&client_tls, secured(&replica, "127.0.0.1")));
            for _ in 0..5 {
                failures.extend(once(&client).await.err().map(|error| format!("{error:?}")));
                calls.fetch_add(1, SeqCst);
            }
        }
        failures
    });
    let rotation = async {
        let settle = async || {
            let before = calls.load(SeqCst);
            crate::poll("calls go on", || calls.load(SeqCst) > before + 40).await;
        };
        let (server_tls, client_tls) = (&server_tls, &client_tls);
        for (from, to) in [(&old, &new), (&new, &old), (&old, &new)] {
            settle().await;
            write_authorities(theirs.path(), &[from, to]);
            assert!(matches!(server_tls.reload(), Reload::Replaced));
            write_authorities(ours.path(), &[from, to]);
            assert!(matches!(client_tls.reload(), Reload::Replaced));
            settle().await;
            to.issue(&["localhost", "127.0.0.1"]).write(theirs.path(), &[from, to]);
            assert!(matches!(server_tls.reload(), Reload::Replaced));
            settle().await;
            // In between, something unusable: nothing changes.
            std::fs::write(ours.path().join("tls.crt"), "half a file").unwrap();
            assert!(matches!(client_tls.reload(), Reload::Kept(_)));
            settle().await;
            to.issue(&["gateway"]).write(ours.path(), &[to]);
            assert!(matches!(client_tls.reload(), Reload::Replaced));
            write_authorities(theirs.path(), &[to]);
            assert!(matches!(server_tls.reload(), Reload::Replaced));
        }
        settle().await;
        stop.store(true, SeqCst);
    };
    let (failures, ()) = tokio::join!(join_all(callers), rotation);
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    assert_eq!(failures, Vec::<String>::new(), "of {} calls", calls.load(SeqCst));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_under_another_name_or_of_another_authority_is_no_peer() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ours.issue(&["127.0.0.1"]).write(here.path(), &[&ours]);
    foreign.issue(&["127.0.0.1"]).write(there.path(), &[&foreign]);
    let client_tls = ClientTls::mutual(files(here.path())).unwrap();
    let friend = replica(&Tls::mutual(files(here.path())).unwrap());
    let impostor = replica(&Tls::mutual(files(there.path())).unwrap());
    once(&client(&with(&client_tls, secured(&friend, "127.0.0.1")))).await.unwrap();
    for endpoint in [secured(&friend, "localhost"), secured(&impostor, "127.0.0.1")] {
        let mut config = with(&client_tls, endpoint);
        config.connect_timeout = Duration::from_millis(500);
        let error = once(&client(&config)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    let intruder = ClientTls::mutual(files(there.path())).unwrap();
    let mut config = with(&intruder, secured(&friend, "127.0.0.1"));
    config.connect_timeout = Duration::from_millis(500);
    once(&client(&config)).await.unwrap_err();
    assert_eq!((friend.calls(), impostor.calls()), (1, 0));
}

#[tokio::test]
async fn there_is_no_way_from_tls_to_plaintext_and_back() {
    let authority = Authority::new("ours");
    let folder = tempfile::tempdir().unwrap();
    authority.issue(&["127.0.0.1"]).write(folder.path(), &[&authority]);
    let tls = ClientTls::mutual(files(folder.path())).unwrap();
    let open = |endpoint: &str, tls: Option<&ClientTls>| {
        let mut config = config([endpoint.parse().unwrap()]);
        config.tls = tls.cloned();
        Connection::open(&config).map(|_| ())
    };
    open("https://blob-store:5100", Some(&tls)).unwrap();
    open("http://blob-store:5100", None).unwrap();
    assert!(matches!(open("https://blob-store:5100", None), Err(ConfigError::NoCertificate { .. })));
    assert!(matches!(open("http://blob-store:5100", Some(&tls)), Err(ConfigError::Plaintext { .. })));
    assert!(matches!(open("https://blob_store!:5100", Some(&tls)), Err(ConfigError::Name { .. })));
    let nowhere = Connection::open(&config([]));
    assert!(matches!(nowhere, Err(ConfigError::NoEndpoint)));
}
