//! Images made from nothing: there is no other registry to take them from.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::environment;
use crate::tar::{Archive, gzip};
use crate::{digest, random_bytes};

/// OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Layer, compressed by gzip.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The configuration of an artifact that has none: `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Bytes with a type, named by their digest.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Media type.
    pub media_type: String,
    /// `sha256:<hex>`.
    pub digest: String,
    /// Content.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Names `bytes` by their digest.
    #[must_use]
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self { media_type: media_type.to_owned(), digest: digest(&bytes), bytes }
    }

    /// The descriptor that a manifest holds.
    #[must_use]
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// A manifest with everything it needs.
#[derive(Clone, Debug)]
pub struct Image {
    /// The image's configuration.
    pub config: Blob,
    /// Layers, base first; compressed as pushed.
    pub layers: Vec<Blob>,
    /// The uncompressed tar of each layer.
    pub tars: Vec<Vec<u8>>,
    /// The manifest itself.
    pub manifest: Blob,
    /// As in the configuration: `amd64`, `arm64`.
    pub architecture: String,
}

impl Image {
    /// An image of the given layers (tar archives), which runs `command`.
    #[must_use]
    pub fn of(tars: Vec<Vec<u8>>, architecture: &str, command: &[&str]) -> Self {
        let layers: Vec<Blob> = tars.iter().map(|tar| Blob::new(LAYER, gzip(tar))).collect();
        let diff_ids: Vec<String> = tars.iter().map(|tar| digest(tar)).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": tars.iter().map(|_| json!({"created_by": "end-to-end tests"})).collect::<Vec<_>>(),
        });
        let config = Blob::new(CONFIG, config.to_string().into_bytes());
        let manifest = manifest(MANIFEST, &config, &layers);
        Self { config, layers, tars, manifest, architecture: architecture.to_owned() }
    }

    /// An image that nobody has seen before: one file of random bytes in each layer.
    #[must_use]
    pub fn random(layer_sizes: &[usize], architecture: &str) -> Self {
        let tars = layer_sizes
            .iter()
            .enumerate()
            .map(|(at, size)| {
                Archive::default().folder("data/").file(&format!("data/{at}"), 0o644, &random_bytes(*size)).finish()
            })
            .collect();
        Self::of(tars, architecture, &["/bin/true"])
    }

    /// An image that runs on this machine and prints `marker`.
    ///
    /// # Errors
    /// When there is no static busybox.
    pub fn runnable(marker: &str) -> Result<Self> {
        let path = environment::tool("busybox").map_err(anyhow::Error::msg)?;
        let busybox = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let base = ["bin/", "dev/", "etc/", "proc/", "sys/", "tmp/"]
            .into_iter()
            .fold(Archive::default(), Archive::folder)
            .file("bin/busybox", 0o755, &busybox)
            .link("bin/sh", "busybox")
            .link("bin/cat", "busybox")
            .finish();
        let top = Archive::default().file("etc/marker", 0o644, marker.as_bytes()).finish();
        Ok(Self::of(vec![base, top], host_architecture(), &["/bin/cat", "/etc/marker"]))
    }

    /// The same content in Docker's own media types (schema 2), which older tools insist on.
    #[must_use]
    pub fn in_docker_types(mut self) -> Self {
        self.config.media_type = "application/vnd.docker.container.image.v1+json".to_owned();
        for layer in &mut self.layers {
            layer.media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned();
        }
        self.manifest = manifest("application/vnd.docker.distribution.manifest.v2+json", &self.config, &self.layers);
        self
    }

    /// The configuration and the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

fn manifest(media_type: &str, config: &Blob, layers: &[Blob]) -> Blob {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
    });
    Blob::new(media_type, manifest.to_string().into_bytes())
}

/// An index over `images`, one platform each.
#[must_use]
pub fn index(images: &[&Image]) -> Blob {
    let manifests: Vec<(&Blob, &str)> =
        images.iter().map(|image| (&image.manifest, image.architecture.as_str())).collect();
    index_of(&manifests)
}

/// An index over manifests and their architectures.
#[must_use]
pub fn index_of(manifests: &[(&Blob, &str)]) -> Blob {
    let manifests: Vec<Value> = manifests
        .iter()
        .map(|(manifest, architecture)| {
            let mut descriptor = manifest.descriptor();
            descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
            descriptor
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    Blob::new(INDEX, index.to_string().into_bytes())
}

/// An artifact about `subject`: its content, the empty configuration, and its manifest.
#[must_use]
pub fn artifact(subject: &Blob, artifact_type: &str, content: &Blob) -> (Blob, Blob) {
    let empty = Blob::new(EMPTY, b"{}".to_vec());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": empty.descriptor(),
        "layers": [content.descriptor()],
        "subject": subject.descriptor(),
    });
    (empty, Blob::new(MANIFEST, manifest.to_string().into_bytes()))
}

/// This machine's architecture as images name it.
#[must_use]
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
