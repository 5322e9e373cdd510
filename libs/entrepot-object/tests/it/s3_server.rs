//! The contract on a real S3 server: `ENTREPOT_TEST_S3=http://KEY:SECRET@HOST:PORT/BUCKET`.

use entrepot_object::{S3Credentials, S3Options, S3Store, contract};

/// The server named by the environment, and a part of its bucket that no other run uses.
fn options(part_size: usize) -> S3Options {
    const FORM: &str = "ENTREPOT_TEST_S3 must be http://KEY:SECRET@HOST:PORT/BUCKET";
    let url = std::env::var("ENTREPOT_TEST_S3").expect(FORM);
    let (credentials, rest) = url.strip_prefix("http://").and_then(|url| url.split_once('@')).expect(FORM);
    let (access_key_id, secret_access_key) = credentials.split_once(':').expect(FORM);
    let (host, bucket) = rest.split_once('/').expect(FORM);
    S3Options {
        endpoint: Some(format!("http://{host}")),
        path_style: true,
        prefix: format!("test-{:016x}/", rand::random::<u64>()),
        credentials: Some(S3Credentials {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
        }),
        part_size,
        ..S3Options::new(bucket)
    }
}

#[tokio::test]
async fn the_self_test_passes() {
    S3Store::new(&options(8 << 20)).await.check().await.unwrap();
}

#[tokio::test]
async fn the_contract_holds() {
    contract::all(&S3Store::new(&options(8 << 20)).await).await;
}

/// Large enough for parts as S3 wants them, in several processes.
#[tokio::test]
async fn multipart_uploads_go_on_in_another_process() {
    crate::s3::goes_on_elsewhere(&options(5 << 20), 5 << 20).await;
}

#[tokio::test]
async fn an_upload_that_nothing_names_is_reaped_by_its_key() {
    crate::s3::is_reaped(&options(5 << 20), 5 << 20).await;
}
