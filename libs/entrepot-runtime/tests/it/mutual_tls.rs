//! TLS between services: both sides prove who they are, and what they prove it with changes while they run.

use std::{fs, io, path::Path, sync::Arc};

use axum::{Router, routing::get};
use entrepot_runtime::{
    listen::{CertificateFiles, Reload, Tls, TlsError},
    serve::ServeOptions,
    shutdown::DrainConfig,
    tls::{Alpn, ClientTls, MutualFiles, ServerName, TlsStream},
};
use entrepot_testkit::certificates::{Authority, Issued, write_authorities};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{TestServer, collect, eventually, request, start_with};

fn files(folder: &Path) -> MutualFiles {
    let identity = CertificateFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
    MutualFiles { identity, authorities: folder.join("ca.crt") }
}

fn folder(issued: &Issued, authorities: &[&Authority]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    issued.write(folder.path(), authorities);
    folder
}

fn serve(tls: &Tls) -> TestServer {
    let router = Router::new().route("/", get(|| async { "hello" }));
    start_with(router, ServeOptions::default(), DrainConfig::IMMEDIATE, Some(tls))
}

async fn dial(server: &TestServer, tls: &ClientTls, name: &str) -> io::Result<TlsStream> {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    tls.connect(ServerName::try_from(name.to_owned()).unwrap(), Alpn::H2, tcp).await
}

/// Whether a whole request works: with TLS 1.3 a client learns only then that its certificate was refused.
async fn works(server: &TestServer, stream: io::Result<tokio_rustls::client::TlsStream<TcpStream>>) -> bool {
    let Ok(stream) = stream else { return false };
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let Ok((mut send, connection)) = handshake else { return false };
    tokio::spawn(connection);
    match send.send_request(request(server.address, "/")).await {
        Ok(response) => collect(response).await == "hello",
        Err(_) => false,
    }
}

/// A client that shows whatever it is told to, or nothing.
async fn stranger(server: &TestServer, trusted: &Authority, shown: Option<&Issued>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.certificate.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain = CertificateDer::pem_slice_iter(shown.certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), tcp).await;
    works(server, stream).await
}

#[tokio::test]
async fn only_clients_that_the_authorities_know_get_in() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let at = folder(&ours.issue(&["localhost"]), &[&ours]);
    let server = serve(&Tls::mutual(files(at.path())).unwrap());
    assert!(stranger(&server, &ours, Some(&ours.issue(&["client"]))).await);
    assert!(!stranger(&server, &ours, None).await, "no certificate");
    assert!(!stranger(&server, &ours, Some(&foreign.issue(&["client"]))).await, "another authority");
    assert!(!stranger(&server, &ours, Some(&ours.issue_expired(&["client"]))).await, "expired");
    assert!(!stranger(&server, &ours, Some(&ours.issue_for_servers(&["client"]))).await, "not for clients");
    let mut plain = server.connect().await;
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = plain.rest().await;
    assert!(!answer.windows(5).any(|window| window == b"hello"), "no plaintext");
}

#[tokio::test]
async fn a_client_checks_the_name_and_the_authority_of_the_server() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let at = folder(&ours.issue(&["localhost", "127.0.0.1"]), &[&ours]);
    let server = serve(&Tls::mutual(files(at.path())).unwrap());
    let client = ClientTls::mutual(files(at.path())).unwrap();
    assert!(works(&server, dial(&server, &client, "localhost").await).await);
    assert!(works(&server, dial(&server, &client, "127.0.0.1").await).await);
    dial(&server, &client, "manifest-index").await.unwrap_err();

    let elsewhere = folder(&foreign.issue(&["localhost"]), &[&foreign]);
    let impostor = serve(&Tls::mutual(files(elsewhere.path())).unwrap());
    dial(&impostor, &client, "localhost").await.unwrap_err();
    let public = ClientTls::public(Some(files(at.path()))).unwrap();
    assert!(works(&server, dial(&server, &public, "localhost").await).await);
    dial(&impostor, &public, "localhost").await.unwrap_err();
}

#[test]
fn a_certificate_that_others_would_refuse_is_not_taken() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let good = ours.issue(&["localhost"]);
    let at = folder(&good, &[&ours]);
    let (server, client) = (Tls::mutual(files(at.path())).unwrap(), ClientTls::mutual(files(at.path())).unwrap());
    for bad in
        [foreign.issue(&["localhost"]), ours.issue_expired(&["localhost"]), ours.issue_for_servers(&["localhost"])]
    {
        bad.write(at.path(), &[&ours]);
        assert!(matches!(server.reload(), Reload::Kept(TlsError::Untrusted { .. })));
        assert!(matches!(client.reload(), Reload::Kept(TlsError::Untrusted { .. })));
        assert!(matches!(Tls::mutual(files(at.path())), Err(TlsError::Untrusted { .. })));
        assert!(matches!(client.reload(), Reload::Unchanged), "a bad certificate is reported once");
    }
    good.write(at.path(), &[]);
    assert!(matches!(server.reload(), Reload::Kept(TlsError::Malformed { .. })), "no authority at all");
    fs::remove_file(at.path().join("ca.crt")).unwrap();
    assert!(matches!(client.reload(), Reload::Kept(TlsError::Unreadable { .. })));
    good.write(at.path(), &[&ours, &foreign]);
    assert!(matches!(server.reload(), Reload::Replaced));
    assert!(matches!(client.reload(), Reload::Replaced));
}

#[tokio::test]
async fn an_authority_is_replaced_in_three_steps_without_a_gap() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (a, b) = (folder(&old.issue(&["localhost"]), &[&old]), folder(&old.issue(&["localhost"]), &[&old]));
    let server_tls = Tls::mutual(files(a.path())).unwrap();
    let client_tls = ClientTls::mutual(files(b.path())).unwrap();
    let server = serve(&server_tls);
    let check = async |step: &str| {
        assert!(works(&server, dial(&server, &client_tls, "localhost").await).await, "{step}");
    };
    check("before").await;
    write_authorities(a.path(), &[&old, &new]);
    assert!(matches!(server_tls.reload(), Reload::Replaced));
    check("the server believes both").await;
    write_authorities(b.path(), &[&old, &new]);
    assert!(matches!(client_tls.reload(), Reload::Replaced));
    check("both believe both").await;
    new.issue(&["localhost"]).write(a.path(), &[&old, &new]);
    assert!(matches!(server_tls.reload(), Reload::Replaced));
    check("the server shows the new").await;
    new.issue(&["client"]).write(b.path(), &[&new]);
    assert!(matches!(client_tls.reload(), Reload::Replaced));
    write_authorities(a.path(), &[&new]);
    assert!(matches!(server_tls.reload(), Reload::Replaced));
    check("after").await;
    assert!(!stranger(&server, &new, Some(&old.issue(&["client"]))).await, "the old authority is forgotten");
}

#[tokio::test]
async fn the_watcher_of_a_client_picks_up_a_new_certificate_by_itself() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let at = folder(&old.issue(&["localhost"]), &[&old]);
    let server_at = folder(&new.issue(&["localhost"]), &[&new]);
    let server = serve(&Tls::mutual(files(server_at.path())).unwrap());
    let client = ClientTls::mutual(files(at.path())).unwrap();
    let watcher = tokio::spawn(client.clone().watch(std::time::Duration::from_millis(10)));
    assert!(!works(&server, dial(&server, &client, "localhost").await).await);
    new.issue(&["client"]).write(at.path(), &[&new]);
    eventually("the new certificate is shown", async || {
        works(&server, dial(&server, &client, "localhost").await).await
    })
    .await;
    watcher.abort();
}
