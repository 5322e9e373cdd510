//! Errors: the same variant with the same fields on both sides, and sensible ones where no peer answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use entrepot_core::error::Classify;
use entrepot_core::ports::auth::{AuthError, Credentials, IssuedToken, TokenRequest, TokenService};
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, BodyError, ByteStream, WriterPosition};
use entrepot_core::ports::index::{IndexError, ManifestIndex};
use entrepot_core::{Algorithm, Digest, ErrorKind, Page, PageOf, Reference, RepositoryName, StorageKey};
use entrepot_proto::client::{BlobStoreGrpcClient, ClientConfig, Connection};
use entrepot_proto::server::Services;
use entrepot_proto::testing;

use crate::fakes::scripted;

fn digest(text: &str) -> Digest {
    Digest::of(Algorithm::Sha512, text.as_bytes())
}

fn io_error() -> Box<io::Error> {
    Box::new(io::Error::other("disk on fire"))
}

#[tokio::test]
async fn every_blob_error_arrives_as_itself() {
    let all = [
        BlobError::NotFound,
        BlobError::DigestMismatch { expected: digest("a"), actual: digest("b") },
        BlobError::OffsetMismatch { offset: u64::MAX },
        BlobError::Fenced,
        BlobError::Body(BodyError::Cut),
        BlobError::Body(BodyError::Stalled),
        BlobError::Body(BodyError::TooLong),
        BlobError::BadState,
        BlobError::NoSpace,
    ];
    let (script, clients) = scripted();
    for error in all {
        let expected = format!("{error:?}");
        script.answer(Err::<(), _>(error));
        let arrived = clients.blobs.delete(StorageKey::random()).await.unwrap_err();
        assert_eq!(format!("{arrived:?}"), expected);
    }
    // A delete may be repeated, and is, twice.
    for _ in 0..3 {
        script.answer(Err::<(), _>(BlobError::Unavailable(io_error())));
    }
    let arrived = clients.blobs.delete(StorageKey::random()).await.unwrap_err();
    assert!(matches!(arrived, BlobError::Unavailable(_)));
    assert_fault(&arrived);
    script.answer(Err::<(), _>(BlobError::Internal(io_error())));
    let arrived = clients.blobs.delete(StorageKey::random()).await.unwrap_err();
    assert!(matches!(arrived, BlobError::Internal(_)));
    assert_fault(&arrived);
}

#[tokio::test]
async fn every_index_error_arrives_as_itself() {
    let name: RepositoryName = "team/app".parse().unwrap();
    let reference = Reference::Tag("latest".parse().unwrap());
    let all = [
        IndexError::RepositoryUnknown(name.clone()),
        IndexError::BlobUnknown(digest("a")),
        IndexError::ManifestUnknown(reference.clone()),
        IndexError::ManifestUnknown(Reference::Digest(digest("a"))),
        IndexError::ReferencesMissing(vec![digest("a"), digest("b")]),
        IndexError::ReferencesMissing(Vec::new()),
        IndexError::Referenced { digest: digest("a"), by: digest("b") },
        IndexError::UploadUnknown,
        IndexError::UploadOffset { offset: u64::MAX },
        IndexError::UploadBusy,
        IndexError::NoSpace,
    ];
    let (script, clients) = scripted();
    for error in all {
        let expected = format!("{error:?}");
        script.answer(Err::<(), _>(error));
        let arrived = clients.index.delete_manifest(&name, &reference).await.unwrap_err();
        assert_eq!(format!("{arrived:?}"), expected);
    }
    script.answer(Err::<(), _>(IndexError::Unavailable(io_error())));
    let arrived = clients.index.delete_manifest(&name, &reference).await.unwrap_err();
    assert!(matches!(arrived, IndexError::Unavailable(_)));
    assert_fault(&arrived);
    script.answer(Err::<(), _>(IndexError::Internal(io_error())));
    let arrived = clients.index.delete_manifest(&name, &reference).await.unwrap_err();
    assert!(matches!(arrived, IndexError::Internal(_)));
    assert_fault(&arrived);
}

#[tokio::test]
async fn every_auth_error_arrives_as_itself() {
    let all = [
        AuthError::InvalidCredentials,
        AuthError::TooManyAttempts { retry_after: Duration::from_millis(1500) },
        AuthError::InvalidRequest("bad \u{1f600}\r\nX: y".to_owned()),
    ];
    let (script, clients) = scripted();
    let request = || TokenRequest {
        credentials: Credentials::Anonymous,
        service: None,
        scopes: Vec::new(),
        offline: false,
        peer: None,
    };
    for error in all {
        let expected = format!("{error:?}");
        script.answer(Err::<IssuedToken, _>(error));
        let arrived = clients.tokens.issue(request()).await.unwrap_err();
        assert_eq!(format!("{arrived:?}"), expected);
    }
    for _ in 0..3 {
        script.answer(Err::<IssuedToken, _>(AuthError::Unavailable(io_error())));
    }
    let arrived = clients.tokens.issue(request()).await.unwrap_err();
    assert!(matches!(arrived, AuthError::Unavailable(_)));
    assert_fault(&arrived);
    script.answer(Err::<IssuedToken, _>(AuthError::Internal(io_error())));
    let arrived = clients.tokens.issue(request()).await.unwrap_err();
    assert!(matches!(arrived, AuthError::Internal(_)));
    assert_fault(&arrived);
}

/// The cause is there for the log, in the source and not in the text of the error itself.
fn assert_fault(error: &impl Classify) {
    assert!(!error.to_string().contains("disk on fire"));
    assert!(error.source().unwrap().to_string().contains("disk on fire"), "{error:?}");
}

#[tokio::test]
async fn no_peer_is_unavailable() {
    let endpoint = format!("http://{}", crate::replicas::closed()).parse().unwrap();
    let mut config = ClientConfig::new([endpoint], testing::secret());
    config.connect_timeout = Duration::from_millis(100);
    let blobs = BlobStoreGrpcClient::new(&Connection::open(&config).unwrap());
    let error = blobs.list(Page::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_port_the_peer_does_not_offer_is_a_fault_and_not_an_outage() {
    let blobs = BlobStoreGrpcClient::new(&testing::connect(Services::new(testing::secret())));
    let error = blobs.list(Page::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error:?}");
}

/// Never answers.
struct Silent;

#[async_trait::async_trait]
impl BlobStore for Silent {
    async fn append(&self, _: WriterPosition, _: ByteStream) -> Result<Appended, BlobError> {
        std::future::pending().await
    }

    async fn seal(&self, _: WriterPosition, _: ByteStream, _: Digest) -> Result<u64, BlobError> {
        std::future::pending().await
    }

    async fn open(&self, _: StorageKey) -> Result<BlobSource, BlobError> {
        std::future::pending().await
    }

    async fn delete(&self, _: StorageKey) -> Result<(), BlobError> {
        std::future::pending().await
    }

    async fn list(&self, _: Page) -> Result<PageOf<StorageKey>, BlobError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_silent_peer_is_unavailable_after_the_deadline() {
    let services = Services::new(testing::secret()).blob_store(Arc::new(Silent), Arc::new(crate::fakes::PlainUrls));
    let channel = testing::duplex_channel(services.into_router());
    let connection = Connection::over(channel, &testing::secret(), Duration::from_millis(50));
    let error = BlobStoreGrpcClient::new(&connection).list(Page::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(format!("{error:?}").contains("DeadlineExceeded"), "{error:?}");
}
