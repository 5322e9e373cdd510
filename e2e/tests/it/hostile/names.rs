//! Repository names, tags, digests and paths.

use anyhow::{Result, ensure};

use super::target::{Case, GHOST, HONEST, Victim, oci_error, refused, statuses};

pub(super) const CASES: &[Case] = &[
    ("repository names", repository_names),
    ("tags", tags),
    ("digests", digests),
    ("path traversal", traversal),
    ("header injection by query", injection),
    ("reflected host", reflected_host),
    ("page sizes", page_sizes),
    ("long paths", long_paths),
];

/// Names outside the grammar, percent-encoded where the request line needs it.
const NAMES: &[&str] = &[
    "UPPER",
    "a//b",
    "-a",
    "a-",
    "a_",
    ".a",
    "a..b",
    "a/_b",
    "a/.b",
    "%2e%2e",
    "a%2f%2e%2e%2fb",
    "a%00b",
    "a%0d%0ab",
    "%c3%a9",
    "a%20b",
    "a%5cb",
    "a:b",
    "a@b",
    "%ff",
];

fn repository_names(victim: &Victim<'_>) -> Result<()> {
    let long = "a/".repeat(200) + "a";
    for name in NAMES.iter().copied().chain([long.as_str()]) {
        for (method, path) in [
            ("GET", format!("/v2/{name}/tags/list")),
            ("GET", format!("/v2/{name}/manifests/latest")),
            ("POST", format!("/v2/{name}/blobs/uploads/")),
        ] {
            let response = victim.send(method, &path, &[], b"")?;
            oci_error(&response, &[400, 404], &["NAME_INVALID", "NAME_UNKNOWN", "UNSUPPORTED"])
                .map_err(|error| error.context(format!("{method} {path}")))?;
        }
    }
    Ok(())
}

fn tags(victim: &Victim<'_>) -> Result<()> {
    let long = "t".repeat(129);
    for tag in [".a", "-a", "a%20b", "a%2fb", "a%00", "%c3%a9", "a+b", long.as_str()] {
        let path = format!("/v2/{GHOST}/manifests/{tag}");
        let manifest = &victim.image.manifest;
        let response = victim.send("PUT", &path, &[("Content-Type", &manifest.media_type)], &manifest.bytes)?;
        oci_error(&response, &[400, 404], &[]).map_err(|error| error.context(tag.to_owned()))?;
    }
    Ok(())
}

fn digests(victim: &Victim<'_>) -> Result<()> {
    let upper = victim.blob.digest.to_uppercase().replace("SHA256", "sha256");
    let long = format!("{}0", victim.blob.digest);
    for digest in [
        "sha256:abc",
        "sha256:",
        "sha256",
        ":abc",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:..%2f..%2f..%2fetc%2fpasswd",
        "sha256:zz",
        upper.as_str(),
        long.as_str(),
    ] {
        for path in [format!("/v2/{HONEST}/blobs/{digest}"), format!("/v2/{HONEST}/referrers/{digest}")] {
            let response = victim.send("GET", &path, &[], b"")?;
            oci_error(&response, &[400, 404], &[]).map_err(|error| error.context(path.clone()))?;
        }
        let path = format!("/v2/{GHOST}/blobs/uploads/?digest={digest}");
        let response = victim.send("POST", &path, &[("Content-Type", "application/octet-stream")], b"content")?;
        ensure!(response.status != 201, "stored under {digest}");
    }
    Ok(())
}

fn traversal(victim: &Victim<'_>) -> Result<()> {
    for path in [
        "/v2/../../../../etc/passwd",
        "/../../../../etc/passwd",
        "/v2/honest/app/blobs/../../../../../etc/passwd",
        "/v2/honest/app/blobs/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v2/honest/app/manifests/..%2f..%2f..%2fetc%2fpasswd",
        "/v2/honest/app/blobs/uploads/..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/v2/..%5c..%5cetc/tags/list",
        "/data/aa/00000000-0000-0000-0000-000000000000",
    ] {
        let answer = victim.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())?;
        ensure!(!answer.contains("root:"), "{path} gave a file away");
        ensure!(!statuses(&answer).contains(&200), "{path} was found: {answer}");
    }
    Ok(())
}

fn injection(victim: &Victim<'_>) -> Result<()> {
    let evil = "x%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0aHTTP/1.1%20200%20OK";
    for (method, path) in [
        ("GET", format!("/v2/{HONEST}/tags/list?n=1&last={evil}")),
        ("GET", format!("/v2/_catalog?n=1&last={evil}")),
        ("GET", format!("/v2/{HONEST}/referrers/{}?artifactType={evil}", victim.image.manifest.digest)),
        ("POST", format!("/v2/{GHOST}/blobs/uploads/?mount={evil}&from={evil}")),
        ("GET", format!("/v2/{HONEST}/manifests/{evil}")),
        ("GET", format!("/v2/{evil}/tags/list")),
        ("GET", format!("/{evil}")),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let answer = victim.raw(request.as_bytes())?;
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        ensure!(!head.contains("\nset-cookie"), "{path} injected a header: {answer}");
        ensure!(statuses(&answer).len() <= 1, "{path} split the response: {answer}");
    }
    Ok(())
}

fn reflected_host(victim: &Victim<'_>) -> Result<()> {
    let request = format!(
        "POST /v2/{HONEST}/blobs/uploads/ HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: evil.test\r\n\
         X-Forwarded-Proto: gopher\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let answer = victim.raw(request.as_bytes())?;
    ensure!(statuses(&answer) == [202], "{answer}");
    ensure!(!answer.contains("evil.test") && !answer.contains("gopher"), "reflected: {answer}");
    Ok(())
}

fn page_sizes(victim: &Victim<'_>) -> Result<()> {
    for n in ["0", "1", "1000000", "99999999999999999999", "-1", "x", ""] {
        for list in [format!("/v2/{HONEST}/tags/list?n={n}"), format!("/v2/_catalog?n={n}")] {
            let response = victim.send("GET", &list, &[], b"")?;
            ensure!([200, 400].contains(&response.status), "{list}: {}", response.status);
        }
    }
    Ok(())
}

fn long_paths(victim: &Victim<'_>) -> Result<()> {
    let path = "a".repeat(1 << 20);
    for request in
        [format!("GET /v2/{path} HTTP/1.1\r\nHost: a\r\n\r\n"), format!("GET /v2/?{path} HTTP/1.1\r\nHost: a\r\n\r\n")]
    {
        refused(&victim.raw(request.as_bytes())?)?;
    }
    Ok(())
}
