use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// What a look at the first of the hosts of `url` finds.
async fn look(url: String) -> Sighting {
    let options = PostgresOptions::parse(&url).unwrap().connect_timeout(Duration::from_secs(60));
    Connector::new(&options).look_for(Place { host: 0, backend: 1 }).await
}

fn url(address: SocketAddr, mode: &str) -> String {
    format!("postgres://user@{address}/name?sslmode={mode}")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn nobody_is_where_a_connection_is_refused_or_ends_without_a_word() {
    let (listener, address) = listen().await;
    let ends = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    };
    assert_eq!(tokio::join!(look(url(address, "disable")), ends).0, Sighting::Nothing);
    drop(listener);
    assert_eq!(look(url(address, "disable")).await, Sighting::Nothing);
}

#[tokio::test]
async fn nobody_is_where_nothing_is_said() {
    let (_listener, address) = listen().await;
    assert_eq!(look(url(address, "disable")).await, Sighting::Nothing);
}

/// A server without TLS is there, whatever we think of it.
#[tokio::test]
async fn a_server_that_we_do_not_accept_is_there() {
    let (listener, address) = listen().await;
    let declines = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 8]).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        stream
    };
    assert_eq!(tokio::join!(look(url(address, "require")), declines).0, Sighting::Session);
}

#[test]
fn a_fault_of_our_own_is_not_taken_for_the_end_of_the_server() {
    use ErrorKind::*;

    for kind in [ConnectionRefused, ConnectionReset, ConnectionAborted, HostUnreachable, NetworkUnreachable, TimedOut] {
        assert!(shows_nobody(&sqlx::Error::Io(kind.into())), "{kind}");
    }
    // ENFILE and EMFILE have no kind of their own, and neither has a name that is not resolved.
    let no_file = [23, 24].map(io::Error::from_raw_os_error);
    let no_name = io::Error::other("failed to lookup address information");
    for error in no_file.into_iter().chain([no_name, AddrNotAvailable.into(), PermissionDenied.into()]) {
        assert!(!shows_nobody(&sqlx::Error::Io(error)));
    }
    assert!(!shows_nobody(&sqlx::Error::Tls("invalid peer certificate".into())));
}
