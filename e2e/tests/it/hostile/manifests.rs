//! Manifests that are wrong in every way that one can be.

use anyhow::{Context, Result, ensure};
use entrepot_e2e::http::Response;
use entrepot_e2e::image::{INDEX, MANIFEST};
use serde_json::{Value, json};

use super::target::{Case, GHOST, HONEST, Victim, oci_error};

pub(super) const CASES: &[Case] = &[
    ("syntax", syntax),
    ("too large", too_large),
    ("too deep", too_deep),
    ("confused types", confused_types),
    ("absurd descriptors", absurd_descriptors),
    ("missing blobs", missing_blobs),
    ("wrong digest", wrong_digest),
    ("too many descriptors", too_many_descriptors),
    ("content types", content_types),
];

fn put(victim: &Victim<'_>, media_type: &str, body: &[u8]) -> Result<Response> {
    victim.send("PUT", &format!("/v2/{GHOST}/manifests/latest"), &[("Content-Type", media_type)], body)
}

fn invalid(victim: &Victim<'_>, media_type: &str, body: &[u8]) -> Result<()> {
    let shown: String = String::from_utf8_lossy(body).chars().take(120).collect();
    oci_error(&put(victim, media_type, body)?, &[400, 404, 413], &[]).context(shown)
}

/// A manifest whose blobs exist, changed by `change`; pushed where they exist.
fn honest_but(victim: &Victim<'_>, change: impl Fn(&mut Value)) -> Result<()> {
    let mut manifest: Value = serde_json::from_slice(&victim.image.manifest.bytes)?;
    change(&mut manifest);
    let path = format!("/v2/{HONEST}/manifests/changed");
    let body = manifest.to_string();
    let response = victim.send("PUT", &path, &[("Content-Type", MANIFEST)], body.as_bytes())?;
    let outcome = oci_error(&response, &[400, 404], &[]).context(body);
    if response.status == 201 {
        victim.api.delete_manifest(HONEST, "changed")?;
    }
    outcome
}

fn syntax(victim: &Victim<'_>) -> Result<()> {
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"0",
        b"\"a\"",
        b"{}",
        b"{\"schemaVersion\":2}",
        b"\xff\xfe{}",
        b"{\"schemaVersion\":2,\"a\":\"\xc3\x28\"}",
        b"{\"schemaVersion\":1,\"name\":\"a\",\"tag\":\"b\",\"fsLayers\":[]}",
        b"{\"schemaVersion\":99,\"config\":{},\"layers\":[]}",
        b"{\"schemaVersion\":2,\"config\":null,\"layers\":null}",
        b"{\"schemaVersion\":2,\"schemaVersion\":2,\"config\":{},\"layers\":[]}",
    ] {
        invalid(victim, MANIFEST, body)?;
    }
    Ok(())
}

fn too_large(victim: &Victim<'_>) -> Result<()> {
    let padding = "a".repeat(5 << 20);
    let body = json!({"schemaVersion": 2, "annotations": {"a": padding}}).to_string();
    oci_error(&put(victim, MANIFEST, body.as_bytes())?, &[413], &[])
}

fn too_deep(victim: &Victim<'_>) -> Result<()> {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let body = format!("{{\"schemaVersion\":2,\"a\":{}0{}}}", open.repeat(100_000), close.repeat(100_000));
        invalid(victim, MANIFEST, body.as_bytes())?;
    }
    Ok(())
}

/// One document must not be an image to one reader and an index to another.
fn confused_types(victim: &Victim<'_>) -> Result<()> {
    honest_but(victim, |manifest| manifest["mediaType"] = json!(INDEX))?;
    honest_but(victim, |manifest| manifest["manifests"] = json!([]))?;
    let both = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "layers": [], "config": {}});
    invalid(victim, INDEX, both.to_string().as_bytes())
}

fn absurd_descriptors(victim: &Victim<'_>) -> Result<()> {
    for size in [json!(-1), json!(1e30), json!("5"), json!(null), json!(1.5)] {
        honest_but(victim, |manifest| manifest["config"]["size"] = size.clone())?;
    }
    for digest in ["sha256:", "", "sha256:../../../etc/passwd", "sha256:ABC", "a:b:c"] {
        honest_but(victim, |manifest| manifest["layers"][0]["digest"] = json!(digest))?;
        honest_but(victim, |manifest| {
            manifest["subject"] = json!({"mediaType": MANIFEST, "size": 1, "digest": digest});
        })?;
    }
    honest_but(victim, |manifest| manifest["layers"] = json!({"a": 1}))?;
    honest_but(victim, |manifest| manifest["subject"] = json!("a"))
}

fn missing_blobs(victim: &Victim<'_>) -> Result<()> {
    let response = put(victim, MANIFEST, &victim.image.manifest.bytes)?;
    oci_error(&response, &[400, 404], &["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"])
}

fn wrong_digest(victim: &Victim<'_>) -> Result<()> {
    let digest = &victim.blob.digest;
    let path = format!("/v2/{HONEST}/manifests/{digest}");
    let response = victim.send("PUT", &path, &[("Content-Type", MANIFEST)], &victim.image.manifest.bytes)?;
    oci_error(&response, &[400], &["DIGEST_INVALID", "MANIFEST_INVALID"])?;
    ensure!(victim.api.manifest(HONEST, digest)?.is_none(), "stored under another digest");
    Ok(())
}

/// Descriptors are small: four megabytes hold tens of thousands, and each costs a lookup.
fn too_many_descriptors(victim: &Victim<'_>) -> Result<()> {
    let layers: Vec<Value> =
        (0..25_000).map(|at| json!({"mediaType": "a/b", "size": at, "digest": format!("sha256:{at:064x}")})).collect();
    let body = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": layers[0], "layers": layers});
    invalid(victim, MANIFEST, body.to_string().as_bytes())
}

fn content_types(victim: &Victim<'_>) -> Result<()> {
    for kind in ["text/html", "application/json", "", "a", "application/vnd.oci.image.manifest.v1+json/../x"] {
        invalid(victim, kind, &victim.image.manifest.bytes)?;
    }
    Ok(())
}
