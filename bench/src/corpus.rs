//! The data that every server gets: one image with two layers, and the content of the pushes.

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use serde_json::json;

/// Repository of the image.
pub(crate) const REPOSITORY: &str = "bench/image";
/// Repository that uploads go to.
pub(crate) const PUSH_REPOSITORY: &str = "bench/push";
/// Repository with many tags.
pub(crate) const TAGS_REPOSITORY: &str = "bench/tags";
/// Tag of the image.
pub(crate) const TAG: &str = "v1";
/// Media type of the manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Size of one pushed blob.
pub(crate) const PUSH_BYTES: usize = 512 << 20;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const SMALL_BYTES: usize = 1 << 20;
const LARGE_BYTES: usize = 200_000_000;
/// What the manifest of a usual image with some ten layers comes to.
const MANIFEST_BYTES: usize = 2048;

/// Content and its digest (`sha256:` and hexadecimal digits).
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) bytes: Bytes,
}

impl Blob {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { digest: sha256(&bytes), bytes }
    }
}

/// The digest of `bytes` as the registry API writes it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest::digest(&digest::SHA256, bytes)))
}

/// The image.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) config: Blob,
    pub(crate) small: Blob,
    pub(crate) large: Blob,
    pub(crate) manifest: Blob,
}

impl Corpus {
    pub(crate) fn generate() -> Self {
        Self::of_sizes(SMALL_BYTES, LARGE_BYTES)
    }

    /// Quick to make, for tests of how it is sent.
    #[cfg(test)]
    pub(crate) fn small() -> Self {
        Self::of_sizes(100, 1000)
    }

    fn of_sizes(small: usize, large: usize) -> Self {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = Blob::new(config.to_string().into());
        let small = Blob::new(noise(small, 1).freeze());
        let large = Blob::new(noise(large, 2).freeze());
        let manifest = Blob::new(manifest(&config, &[&small, &large], MANIFEST_BYTES));
        Self { config, small, large, manifest }
    }
}

/// An image manifest, padded by an annotation to `size` bytes where it is shorter.
pub(crate) fn manifest(config: &Blob, layers: &[&Blob], size: usize) -> Bytes {
    let descriptor = |media_type: &str, blob: &Blob| json!({"mediaType": media_type, "digest": blob.digest, "size": blob.bytes.len()});
    let text = |padding: usize| {
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, config),
            "layers": layers.iter().map(|layer| descriptor(LAYER_TYPE, layer)).collect::<Vec<_>>(),
            "annotations": {"dev.entrepot.bench.padding": "x".repeat(padding)},
        })
        .to_string()
    };
    text(size.saturating_sub(text(0).len())).into()
}

/// Content of pushes: incompressible, and different each time so that no server can know it.
#[derive(Debug)]
pub(crate) struct PushPayload {
    bytes: Bytes,
    serial: u64,
}

impl PushPayload {
    pub(crate) fn generate(size: usize) -> Self {
        Self { bytes: noise(size, 3).freeze(), serial: 0 }
    }

    /// New content of the same size.
    pub(crate) fn renew(&mut self) -> Bytes {
        self.serial += 1;
        let mut bytes = match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(bytes) => bytes,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        bytes[..8].copy_from_slice(&self.serial.to_le_bytes());
        self.bytes = bytes.freeze();
        self.bytes.clone()
    }
}

/// Bytes of a fixed xorshift sequence: incompressible, the same in every run.
fn noise(size: usize, seed: u64) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(size + 8);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests;
