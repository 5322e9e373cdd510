//! Parts of blobs.

use bytes::Bytes;
use entrepot::testing::TestRegistry;
use entrepot::testing::http::Response;
use entrepot_core::{Algorithm, Digest};
use entrepot_testkit::builders::Content;

use crate::support::{both, noise, push_blob};

both!(open:
    p30_p32_every_form_of_one_range,
    p33_one_part_per_range_in_order,
    p33_too_many_ranges_are_the_whole_blob,
    p34_what_is_no_range_is_ignored,
    p34_unsatisfiable,
);

const SIZE: usize = 20_000;

/// A blob in `app`, and a way to ask for parts of it.
fn blob(registry: &TestRegistry) -> (Bytes, impl Fn(&str) -> Response) {
    let bytes = noise(SIZE);
    let blob = Content { digest: Digest::of(Algorithm::Sha256, &bytes), bytes: bytes.clone() };
    push_blob(registry, "app", &blob);
    let target = format!("/v2/app/blobs/{}", blob.digest);
    (bytes, move |range: &str| registry.call("GET", &target).header("range", range).send())
}

/// The parts of a multipart answer: `Content-Range` and bytes.
fn parts(answer: &Response) -> Vec<(String, Bytes)> {
    let content_type = answer.header("content-type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("multipart");
    assert!(boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{boundary}");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let mut parts = Vec::new();
    let mut rest = &answer.body[..];
    let opening = format!("--{boundary}\r\n");
    rest = rest.strip_prefix(opening.as_bytes()).expect("an opening boundary");
    loop {
        let end = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the end of a part's head");
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let line = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).expect("Content-Range");
        let (start, end_of_range) =
            line.strip_prefix("bytes ").unwrap().split_once('/').unwrap().0.split_once('-').unwrap();
        let length = end_of_range.parse::<usize>().unwrap() - start.parse::<usize>().unwrap() + 1;
        let body = &rest[end + 4..end + 4 + length];
        parts.push((line.to_owned(), Bytes::copy_from_slice(body)));
        rest = &rest[end + 4 + length..];
        if rest == format!("\r\n--{boundary}--\r\n").as_bytes() {
            return parts;
        }
        rest = rest.strip_prefix(format!("\r\n{opening}").as_bytes()).expect("another part");
    }
}

fn p30_p32_every_form_of_one_range(registry: TestRegistry) {
    let (bytes, get) = blob(&registry);
    for (range, start, end) in [
        ("bytes=0-", 0, SIZE),
        ("bytes=100-", 100, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=5000-5999", 5000, 6000),
        ("bytes=19999-", 19_999, SIZE),
        ("bytes=19990-999999", 19_990, SIZE),
        ("bytes=-8", SIZE - 8, SIZE),
        ("bytes=-99999", 0, SIZE),
        ("bytes=5-99999999999999999999999", 5, SIZE),
    ] {
        let answer = get(range).expect(206);
        assert_eq!(answer.header("content-range"), format!("bytes {start}-{}/{SIZE}", end - 1), "{range}");
        assert_eq!(answer.header("content-length"), (end - start).to_string());
        assert_eq!(answer.body, bytes.slice(start..end), "{range}");
    }
}

/// podman counts the parts: merged or reordered ones end its pull.
fn p33_one_part_per_range_in_order(registry: TestRegistry) {
    let (bytes, get) = blob(&registry);
    for ranges in [
        vec![(0, 10), (20, 30), (19_000, SIZE)],
        vec![(500, 600), (0, 1), (400, 501)],
        vec![(0, 100), (100, 200)],
        vec![(7, 8), (7, 8), (7, 8)],
        vec![(0, 1000), (500, 1500), (0, 1500)],
    ] {
        let asked: Vec<String> = ranges.iter().map(|(start, end)| format!("{start}-{}", end - 1)).collect();
        let answer = get(&format!("bytes={}", asked.join(","))).expect(206);
        assert!(answer.find("content-range").is_none());
        let expected: Vec<(String, Bytes)> = ranges
            .iter()
            .map(|&(start, end)| (format!("bytes {start}-{}/{SIZE}", end - 1), bytes.slice(start..end)))
            .collect();
        assert_eq!(parts(&answer), expected, "{asked:?}");
    }
    let answer = get("bytes=0-3, 9-10 ,-4").expect(206);
    assert_eq!(parts(&answer).len(), 3);
    assert_eq!(parts(&answer)[2].1, bytes.slice(SIZE - 4..));
}

/// Never 416: that is fatal to podman. The whole blob is what every client can read.
fn p33_too_many_ranges_are_the_whole_blob(registry: TestRegistry) {
    let (bytes, get) = blob(&registry);
    let many = |count: usize| format!("bytes={}", (0..count).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
    let answer = get(&many(1024)).expect(206);
    let parts = parts(&answer);
    assert_eq!(parts.len(), 1024);
    assert!(parts.iter().enumerate().all(|(n, (_, part))| *part == bytes.slice(n..=n)));
    assert_eq!(get(&many(1200)).expect(200).body, bytes);
    // Ranges that add up to more than there is.
    assert_eq!(get("bytes=0-,0-").expect(200).body, bytes);
}

fn p34_what_is_no_range_is_ignored(registry: TestRegistry) {
    let (bytes, get) = blob(&registry);
    for range in ["items=0-5", "bytes", "bytes=", "bytes=a-b", "bytes=1-2-3", "bytes=0-1;2-3"] {
        let answer = get(range).expect(200);
        assert_eq!(answer.body, bytes, "{range}");
        assert!(answer.find("content-range").is_none());
    }
}

fn p34_unsatisfiable(registry: TestRegistry) {
    let (_, get) = blob(&registry);
    for range in ["bytes=20000-", "bytes=20000-20001,30000-", "bytes=-0", "bytes=9-3", "bytes=99999999999999999999-"] {
        let answer = get(range);
        answer.error(416, "SIZE_INVALID");
        assert_eq!(answer.header("content-range"), format!("bytes */{SIZE}"), "{range}");
    }
}
