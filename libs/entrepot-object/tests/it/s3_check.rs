//! The self-test says what is wrong with a bucket.

use entrepot_object::{CheckError, S3Credentials, S3Options, S3Store};

use crate::s3_support::Bucket;

#[tokio::test]
async fn a_bucket_that_works_is_left_as_it_was() {
    let bucket = Bucket::start().await;
    bucket.store().await.check().await.unwrap();
    assert_eq!(bucket.server.objects(), [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let bucket = Bucket::start().await;
    let missing = S3Options { bucket: "no-such-bucket".to_owned(), ..bucket.options() };
    let found = S3Store::new(&missing).await.check().await;
    assert!(matches!(found, Err(CheckError::NoBucket)), "{found:?}");
    let wrong = S3Credentials { access_key_id: "nobody".to_owned(), secret_access_key: "nothing".to_owned() };
    let found = S3Store::new(&S3Options { credentials: Some(wrong), ..bucket.options() }).await.check().await;
    assert!(matches!(found, Err(CheckError::Credentials(_) | CheckError::Denied { .. })), "{found:?}");
    let store = bucket.store().await;
    bucket.server.refuse(Some("AccessDenied"));
    let found = store.check().await;
    assert!(matches!(found, Err(CheckError::Denied { action: "list objects", .. })), "{found:?}");
    bucket.server.refuse(Some("RequestTimeTooSkewed"));
    let found = store.check().await;
    assert!(matches!(found, Err(CheckError::Clock(_))), "{found:?}");
    bucket.server.refuse(None);
    bucket.server.overwrite();
    let found = store.check().await;
    assert!(matches!(found, Err(CheckError::Overwrites)), "{found:?}");
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let options = {
        let bucket = Bucket::start().await;
        bucket.options()
    };
    let found = S3Store::new(&options).await.check().await;
    assert!(matches!(found, Err(CheckError::Unreachable { .. })), "{found:?}");
}
