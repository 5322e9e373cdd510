use std::{fs, path::Path, sync::Arc};

use axum::{Extension, Router, routing::get};
use entrepot_runtime::{
    listen::{CertificateFiles, Reload, Tls, TlsError},
    sendfile::FileSender,
    serve::{Peer, ServeOptions},
    shutdown::DrainConfig,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{DEADLINE, TestServer, collect, request, start_with};

struct Made {
    der: CertificateDer<'static>,
    certificate: String,
    key: String,
}

fn make() -> Made {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Made { der: made.cert.der().clone(), certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

fn files(folder: &Path) -> CertificateFiles {
    CertificateFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") }
}

fn write(folder: &Path, certificate: &str, key: &str) {
    fs::write(folder.join("tls.crt"), certificate).unwrap();
    fs::write(folder.join("tls.key"), key).unwrap();
}

async fn connect(server: &TestServer, trusted: &Made, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(server.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), tcp).await
}

fn router() -> Router {
    Router::new().route(
        "/",
        get(|peer: Extension<Peer>, sender: Option<Extension<FileSender>>| async move {
            assert!(peer.tls && sender.is_none());
            "hello"
        }),
    )
}

fn serve(tls: &Tls, options: ServeOptions) -> TestServer {
    start_with(router(), options, DrainConfig::IMMEDIATE, Some(tls))
}

#[tokio::test]
async fn both_protocols_are_spoken_over_tls() {
    let (folder, made) = (tempfile::tempdir().unwrap(), make());
    write(folder.path(), &made.certificate, &made.key);
    let server = serve(&Tls::new(files(folder.path())).unwrap(), ServeOptions::default());

    let stream = connect(&server, &made, b"http/1.1").await.unwrap();
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(collect(send.send_request(request(server.address, "/")).await.unwrap()).await, "hello");

    let stream = connect(&server, &made, b"h2").await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut send, connection) = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(collect(send.send_request(request(server.address, "/")).await.unwrap()).await, "hello");
}

#[tokio::test]
async fn a_new_certificate_is_used_for_new_connections_and_a_bad_one_is_not() {
    let (folder, old, new) = (tempfile::tempdir().unwrap(), make(), make());
    write(folder.path(), &old.certificate, &old.key);
    let tls = Tls::new(files(folder.path())).unwrap();
    let server = serve(&tls, ServeOptions::default());
    connect(&server, &old, b"h2").await.unwrap();
    assert!(matches!(tls.reload(), Reload::Unchanged));

    // The certificate is written before its key, as a careless copy does.
    write(folder.path(), &new.certificate, &old.key);
    assert!(matches!(tls.reload(), Reload::Kept(TlsError::Mismatch { .. })));
    assert!(matches!(tls.reload(), Reload::Unchanged), "a bad pair is reported once");
    write(folder.path(), "not a certificate", &old.key);
    assert!(matches!(tls.reload(), Reload::Kept(TlsError::Malformed { .. })));
    fs::remove_file(folder.path().join("tls.key")).unwrap();
    assert!(matches!(tls.reload(), Reload::Kept(TlsError::Unreadable { .. })));
    connect(&server, &old, b"h2").await.unwrap();

    write(folder.path(), &new.certificate, &new.key);
    assert!(matches!(tls.reload(), Reload::Replaced));
    connect(&server, &new, b"h2").await.unwrap();
    connect(&server, &old, b"h2").await.unwrap_err();
}

#[tokio::test]
async fn the_watcher_picks_up_a_new_certificate_by_itself() {
    let (folder, old, new) = (tempfile::tempdir().unwrap(), make(), make());
    write(folder.path(), &old.certificate, &old.key);
    let tls = Tls::new(files(folder.path())).unwrap();
    let server = serve(&tls, ServeOptions::default());
    let watcher = tokio::spawn(tls.watch(std::time::Duration::from_millis(10)));
    write(folder.path(), &new.certificate, &new.key);
    crate::support::eventually("the new certificate is served", async || connect(&server, &new, b"h2").await.is_ok())
        .await;
    watcher.abort();
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut() {
    let (folder, made) = (tempfile::tempdir().unwrap(), make());
    write(folder.path(), &made.certificate, &made.key);
    let options = ServeOptions { handshake_timeout: std::time::Duration::from_millis(200), ..ServeOptions::default() };
    let server = serve(&Tls::new(files(folder.path())).unwrap(), options);
    let mut client = server.connect().await;
    assert!(!client.stays_open(DEADLINE / 4).await);
}
