//! Reads of other processes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use blob_store::{DataUrls, data_router};
use entrepot_core::StorageKey;
use entrepot_core::ports::blobs::BlobStore;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::support::{Bed, body, content, sha256, start};

const SECRET: &[u8] = b"thirty-two bytes of test secret!!";

struct Port {
    bed: Bed,
    urls: DataUrls,
}

impl Port {
    fn new(bed: Bed) -> Self {
        Self { bed, urls: urls(SECRET, 60) }
    }

    async fn store(&self, bytes: &[u8]) -> StorageKey {
        let position = start(1);
        self.bed.blobs.seal(position.clone(), body(bytes), sha256(bytes)).await.unwrap();
        position.key
    }

    async fn ask(&self, method: &str, url: &str, range: Option<&str>) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let router = data_router(Arc::new(self.bed.blobs.clone()), self.urls.clone());
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }
}

fn urls(secret: &[u8], seconds: u64) -> DataUrls {
    DataUrls::new(secret, "http://blobs.example:7000/", Duration::from_secs(seconds)).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn whole_objects_and_single_ranges() {
    for bed in Bed::all() {
        let port = Port::new(bed);
        let stored = content(100_000);
        let url = port.urls.sign(port.store(&stored).await);
        assert!(url.starts_with("http://blobs.example:7000/data/"), "{url}");

        let whole = port.ask("GET", &url, None).await;
        assert_eq!((whole.status(), header(&whole, "content-length")), (StatusCode::OK, "100000"));
        assert_eq!(header(&whole, "accept-ranges"), "bytes");
        assert!(bytes(whole).await == stored);

        for (range, start, end) in
            [("bytes=0-0", 0, 1), ("bytes=500-65999", 500, 66_000), ("bytes=-7", 99_993, 100_000)]
        {
            let part = port.ask("GET", &url, Some(range)).await;
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(header(&part, "content-range"), format!("bytes {start}-{}/100000", end - 1));
            assert!(bytes(part).await == stored[start..end], "{range}");
        }
        let several = port.ask("GET", &url, Some("bytes=0-1,5-6")).await;
        assert_eq!((several.status(), bytes(several).await.len()), (StatusCode::OK, 100_000));
        let beyond = port.ask("GET", &url, Some("bytes=100000-")).await;
        assert_eq!(
            (beyond.status(), header(&beyond, "content-range")),
            (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */100000")
        );
    }
}

#[tokio::test]
async fn head_tells_the_size_and_sends_nothing() {
    for bed in Bed::all() {
        let port = Port::new(bed);
        let url = port.urls.sign(port.store(b"12345").await);
        let head = port.ask("HEAD", &url, None).await;
        assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "5"));
        assert_eq!(bytes(head).await, b"");
        assert_eq!(port.ask("PUT", &url, None).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn an_empty_object() {
    for bed in Bed::all() {
        let port = Port::new(bed);
        let url = port.urls.sign(port.store(b"").await);
        let whole = port.ask("GET", &url, None).await;
        assert_eq!((whole.status(), header(&whole, "content-length")), (StatusCode::OK, "0"));
        assert_eq!(bytes(whole).await, b"");
    }
}

#[tokio::test]
async fn nothing_is_told_without_a_good_signature() {
    let port = Port::new(Bed::memory());
    let (key, absent) = (port.store(b"secret").await, StorageKey::random());
    let good = port.urls.sign(key);
    let query = good.split_once('?').unwrap().1;
    let other = urls(b"another secret of thirty-two bytes", 60);
    let hostile = [
        good.split_once('?').unwrap().0.to_owned(),
        good.replace("exp=", "exp=9"),
        good.replace("sig=", "sig=A"),
        good.replace("&sig=", "&nosig="),
        other.sign(key),
        urls(SECRET, 0).sign(key),
        port.urls.sign(absent).replace(&absent.to_string(), &key.to_string()),
        format!("/data/{}?{query}", "../../etc/passwd".replace('/', "%2f")),
        format!("/data/..%2f/x?{query}"),
        format!("/data/00/{}?{query}", key.to_string().to_uppercase().rsplit('/').next().unwrap()),
    ];
    for url in hostile {
        let refused = port.ask("GET", &url, None).await;
        assert!(
            matches!(refused.status(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND),
            "{url} was answered {}",
            refused.status()
        );
        assert!(!bytes(refused).await.windows(6).any(|part| part == b"secret"), "{url}");
    }
    assert_eq!(port.ask("GET", &good, None).await.status(), StatusCode::OK);
    assert_eq!(port.ask("GET", &port.urls.sign(absent), None).await.status(), StatusCode::NOT_FOUND);
}

#[test]
fn a_short_secret_is_refused() {
    assert!(DataUrls::new(b"short", "http://x", Duration::from_secs(1)).is_err());
}
