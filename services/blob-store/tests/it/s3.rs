//! Replicas over one bucket, which may fail or lose its answers.

use std::time::Duration;

use blob_store::Blobs;
use entrepot_core::error::{Classify, ErrorKind};
use entrepot_core::ports::blobs::{BlobError, BlobSource, BlobStore, WriterPosition};
use entrepot_core::{Algorithm, Digest};
use entrepot_object::testing::s3_proxy::{FaultPlan, S3Fault, Target};
use http_body_util::BodyExt;

use crate::support::{Bucket, body, content, cut, empty, next, sha256, start};

const PART: usize = 100_000;

/// What a process without credentials reads under the URL that `open` answers.
async fn fetch(blobs: &Blobs, position: &WriterPosition) -> Vec<u8> {
    let BlobSource::Url { url, size } = blobs.open(position.key).await.unwrap() else { panic!("no URL") };
    let (status, bytes) = get(&url).await;
    assert_eq!((status, bytes.len() as u64), (200, size));
    bytes
}

async fn get(url: &str) -> (u16, Vec<u8>) {
    let url: http::Uri = url.parse().unwrap();
    let host = url.authority().unwrap().to_string();
    let socket = tokio::net::TcpStream::connect(&host).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(url.path_and_query().unwrap().as_str()).header("host", host);
    let answer =
        sender.send_request(request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn each_request_of_an_upload_goes_to_another_replica() {
    let bucket = Bucket::start(PART).await;
    let (mut position, bytes) = (start(1), content(12 * PART + 3));
    for part in bytes.chunks(3 * PART + 1) {
        let replica = bucket.replica().await;
        let appended = replica.append(position.clone(), body(part)).await.unwrap();
        position = next(&position, appended);
    }
    let replica = bucket.replica().await;
    assert_eq!(replica.seal(position.clone(), empty(), sha256(&bytes)).await.unwrap(), bytes.len() as u64);
    assert!(fetch(&bucket.replica().await, &position).await == bytes);
    assert_eq!(bucket.server.uploads(), [""; 0]);
    assert_eq!(bucket.server.objects(), [position.key.to_string()]);
}

#[tokio::test]
async fn a_signed_url_is_good_for_one_object_and_no_longer_than_it_says() {
    let bucket = Bucket::start(PART).await;
    let blobs = bucket.replica().await;
    let positions = [start(1), start(1)];
    for position in &positions {
        blobs.seal(position.clone(), body(b"secret"), sha256(b"secret")).await.unwrap();
    }
    let BlobSource::Url { url, .. } = blobs.open(positions[0].key).await.unwrap() else { panic!("no URL") };
    assert!(url.contains("X-Amz-Expires=1200&"), "{url}");
    let other = url.replace(&positions[0].key.to_string(), &positions[1].key.to_string());
    assert_eq!((get(&url).await.0, get(&other).await.0), (200, 403));
}

/// The answer to the request that makes the object gets lost: the bytes are looked at, and the push succeeds.
#[tokio::test]
async fn a_seal_whose_answer_got_lost_succeeds_if_the_digest_is_right() {
    for (size, target) in [
        (1000, Target { method: "PUT", contains: "/data/" }),
        (5 * PART, Target { method: "POST", contains: "uploadId=" }),
    ] {
        let bucket = Bucket::start(PART).await;
        let (blobs, position, bytes) = (bucket.replica().await, start(1), content(size));
        bucket.proxy.break_next(target, S3Fault::Lost);
        let sealed = blobs.seal(position.clone(), body(&bytes), sha256(&bytes)).await.unwrap();
        assert_eq!((sealed, bucket.proxy.broken()), (size as u64, 1));
        assert!(fetch(&blobs, &position).await == bytes);
    }
}

/// What was sealed can be told only by reading it. Where that fails, nobody knows; it is no "no".
#[tokio::test]
async fn a_seal_whose_object_cannot_be_read_back_is_to_be_repeated() {
    let (put, get) = (Target { method: "PUT", contains: "/data/" }, Target { method: "GET", contains: "/data/" });
    for cut in [true, false] {
        let bucket = Bucket::start(PART).await;
        let (blobs, position, bytes) = (bucket.replica().await, start(1), content(1000));
        let break_reads = async |sent: &[u8]| {
            if cut {
                bucket.proxy.follow(FaultPlan { truncate: 1000, ..FaultPlan::default() }, 7);
            } else {
                // Three tries of ours, and as many of the SDK for each.
                (0..9).for_each(|_| bucket.proxy.break_next(get, S3Fault::Unavailable));
            }
            let sealed = blobs.seal(position.clone(), body(sent), sha256(&bytes)).await;
            assert!(matches!(sealed, Err(BlobError::Unavailable(_))), "cut: {cut} {sealed:?}");
            bucket.proxy.follow(FaultPlan::default(), 7);
        };
        bucket.proxy.break_next(put, S3Fault::Lost);
        break_reads(&bytes).await;
        // A repeat that sends nothing: by itself the digest of nothing is another, and that would end the session.
        break_reads(b"").await;
        assert_eq!(blobs.seal(position.clone(), empty(), sha256(&bytes)).await.unwrap(), 1000);
        assert!(fetch(&blobs, &position).await == bytes);
    }
}

/// More answers end half-way, each of what is left, than an object is asked for from its start.
#[tokio::test]
async fn what_is_read_back_is_read_on_from_where_it_broke_off() {
    const SIZE: usize = 16 << 20;
    let bucket = Bucket::start(1 << 20).await;
    let (blobs, position, bytes) = (bucket.replica().await, start(1), content(SIZE));
    bucket.proxy.break_next(Target { method: "POST", contains: "uploadId=" }, S3Fault::Lost);
    for _ in 0..4 {
        bucket.proxy.break_next(Target { method: "GET", contains: "/data/" }, S3Fault::Truncate);
    }
    assert_eq!(blobs.seal(position.clone(), body(&bytes), sha256(&bytes)).await.unwrap(), SIZE as u64);
    assert_eq!(bucket.proxy.broken(), 5);
    assert!(fetch(&blobs, &position).await == bytes);
}

/// Same size, other bytes: the object of another replica is not taken for one's own.
#[tokio::test]
async fn another_replicas_object_is_not_taken_for_ones_own() {
    for size in [1000, 5 * PART] {
        let bucket = Bucket::start(PART).await;
        let (first, second) = (bucket.replica().await, bucket.replica().await);
        let (old, ours, theirs) = (start(1), content(size), vec![7; size]);
        let appended = second.append(WriterPosition { epoch: 2, ..old.clone() }, body(&ours)).await.unwrap();
        first.seal(old.clone(), body(&theirs), sha256(&theirs)).await.unwrap();
        let sealed = second.seal(WriterPosition { epoch: 3, ..next(&old, appended) }, empty(), sha256(&ours)).await;
        assert!(matches!(sealed, Err(BlobError::Fenced)), "{sealed:?}");
        assert!(fetch(&second, &old).await == theirs);
    }
}

/// S3 shows no byte of an upload before it is complete, so the digest is checked after that, and a wrong one leaves nothing.
#[tokio::test]
async fn a_digest_of_another_algorithm_is_checked_once_the_object_is_there() {
    let bucket = Bucket::start(PART).await;
    let (blobs, bytes) = (bucket.replica().await, content(4 * PART));
    for right in [true, false] {
        let position = start(1);
        let appended = blobs.append(position.clone(), body(&bytes[..3 * PART])).await.unwrap();
        let position = next(&position, appended);
        let expected = Digest::of(Algorithm::Sha512, if right { &bytes } else { b"other" });
        let sealed = blobs.seal(position.clone(), body(&bytes[3 * PART..]), expected).await;
        if right {
            assert_eq!(sealed.unwrap(), bytes.len() as u64);
            assert!(fetch(&blobs, &position).await == bytes);
        } else {
            assert!(matches!(sealed, Err(BlobError::DigestMismatch { .. })), "{sealed:?}");
            assert!(matches!(blobs.open(position.key).await, Err(BlobError::NotFound)));
        }
    }
}

/// After an update of the hash library nothing is known of a hash, and the bytes cannot be read yet.
#[tokio::test]
async fn a_hash_of_another_version_is_made_at_the_end() {
    let bucket = Bucket::start(PART).await;
    let (blobs, bytes) = (bucket.replica().await, content(6 * PART));
    let mut position = start(1);
    let appended = blobs.append(position.clone(), body(&bytes[..2 * PART])).await.unwrap();
    position = next(&position, appended);
    let mut state = position.state.to_vec();
    let format = state.len() - (32 + 8 + 64) - 1;
    assert_eq!(state[format], 1);
    state[format] = 77;
    position.state = state.into();
    let appended = blobs.append(position.clone(), body(&bytes[2 * PART..4 * PART])).await.unwrap();
    position = next(&position, appended);
    blobs.seal(position.clone(), body(&bytes[4 * PART..]), sha256(&bytes)).await.unwrap();
    assert!(fetch(&blobs, &position).await == bytes);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_no_multipart() {
    let bucket = Bucket::start(PART).await;
    let (blobs, position, bytes) = (bucket.replica().await, start(1), content(4 * PART));
    let broken = blobs.append(position.clone(), cut(&bytes)).await;
    assert!(matches!(broken, Err(BlobError::Body(_))), "{broken:?}");
    assert_eq!((bucket.server.uploads().len(), bucket.server.objects().len()), (0, 0));
}

#[tokio::test]
async fn a_store_that_is_down_means_later_and_never_a_fault() {
    let bucket = Bucket::start(PART).await;
    let (blobs, bytes) = (bucket.replica().await, content(2 * PART));
    bucket.proxy.follow(FaultPlan { unavailable: 1000, stall_for: Duration::ZERO, ..FaultPlan::default() }, 7);
    let position = start(1);
    for failed in [
        blobs.append(position.clone(), body(&bytes)).await.err(),
        blobs.seal(position.clone(), body(&bytes), sha256(&bytes)).await.err(),
        blobs.open(position.key).await.err(),
        blobs.delete(start(1).key).await.err(),
    ] {
        let error = failed.expect("the store is down");
        assert_eq!((error.kind(), error.kind().http_status()), (ErrorKind::Unavailable, 503), "{error:?}");
    }
    bucket.proxy.follow(FaultPlan::default(), 7);
    blobs.seal(WriterPosition { epoch: 9, ..position.clone() }, body(&bytes), sha256(&bytes)).await.unwrap();
}
