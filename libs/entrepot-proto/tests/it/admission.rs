//! Who may call at all.

use std::sync::Arc;
use std::time::Duration;

use entrepot_core::error::Classify;
use entrepot_core::ports::blobs::{BlobError, BlobStore, ByteStream, WriterPosition};
use entrepot_core::{Algorithm, ErrorKind, StorageKey};
use entrepot_proto::InternalSecret;
use entrepot_proto::client::Connection;
use entrepot_proto::testing;
use futures_util::{StreamExt, stream};

use crate::fakes::{Clients, Script, services};

#[tokio::test]
async fn a_wrong_secret_is_refused_before_the_port_is_reached() {
    let script = Arc::new(Script::default());
    let channel = testing::duplex_channel(services(&script).into_router());
    let other = InternalSecret::new("another-secret-of-tests-of-32-letters").unwrap();
    let stranger = Clients::over(&Connection::over(channel.clone(), &other, Duration::from_secs(10)));
    let error = stranger.blobs.delete(StorageKey::random()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error:?}");
    assert!(format!("{error:?}").contains("the internal secret is missing or wrong"), "{error:?}");

    let position = WriterPosition {
        key: StorageKey::random(),
        algorithm: Algorithm::Sha256,
        epoch: 0,
        offset: 0,
        state: bytes::Bytes::new(),
    };
    let endless: ByteStream = stream::repeat_with(|| Ok(bytes::Bytes::from_static(&[0; 4096]))).boxed();
    assert!(matches!(stranger.blobs.append(position, endless).await, Err(BlobError::Internal(_))));
    assert_eq!(script.last(), "");

    let friend = Clients::over(&Connection::over(channel, &testing::secret(), Duration::from_secs(10)));
    script.answer(Ok::<(), BlobError>(()));
    friend.blobs.delete(StorageKey::random()).await.unwrap();
}
