//! Images on disk, in the two forms that clients load: OCI image layout and `docker save` archive.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::image::{Blob, Image};
use crate::tar::Archive;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Writes `root` (a manifest or an index over `images`) as an OCI image layout called `name`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, name: &str, root: &Blob, images: &[&Image]) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    for blob in contents(root, images) {
        let path = blobs.join(hex(&blob.digest));
        std::fs::write(&path, &blob.bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    std::fs::write(folder.join("oci-layout"), LAYOUT)?;
    std::fs::write(folder.join("index.json"), entry(name, root).to_string())?;
    Ok(())
}

/// The same layout as one tar archive, for `ctr images import`.
#[must_use]
pub fn archive(name: &str, root: &Blob, images: &[&Image]) -> Vec<u8> {
    let start = Archive::default().file("oci-layout", 0o644, LAYOUT.as_bytes()).file(
        "index.json",
        0o644,
        entry(name, root).to_string().as_bytes(),
    );
    contents(root, images)
        .fold(start, |archive, blob| archive.file(&format!("blobs/sha256/{}", hex(&blob.digest)), 0o644, &blob.bytes))
        .finish()
}

/// What `docker save` writes, for `docker load`.
#[must_use]
pub fn docker_archive(reference: &str, image: &Image) -> Vec<u8> {
    let layers: Vec<String> = (0..image.tars.len()).map(|at| format!("layer{at}.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [reference], "Layers": layers}]);
    let start = Archive::default().file("manifest.json", 0o644, manifest.to_string().as_bytes()).file(
        "config.json",
        0o644,
        &image.config.bytes,
    );
    layers.iter().zip(&image.tars).fold(start, |archive, (name, tar)| archive.file(name, 0o644, tar)).finish()
}

/// Every blob once.
fn contents<'a>(root: &'a Blob, images: &'a [&'a Image]) -> impl Iterator<Item = &'a Blob> {
    let mut seen = std::collections::BTreeSet::new();
    std::iter::once(root)
        .chain(images.iter().flat_map(|image| image.blobs().chain([&image.manifest])))
        .filter(move |blob| seen.insert(&blob.digest))
}

fn entry(name: &str, root: &Blob) -> Value {
    let mut descriptor = root.descriptor();
    let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
    descriptor["annotations"] = json!({
        "org.opencontainers.image.ref.name": tag,
        "io.containerd.image.name": name,
    });
    json!({"schemaVersion": 2, "manifests": [descriptor]})
}

fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}
