//! Content to push, made from a few words.

use bytes::Bytes;
use entrepot_core::{Algorithm, Digest, Manifest, MediaType};
use serde_json::{Value, json};

/// Some bytes and their digest.
#[derive(Clone, Debug)]
pub struct Content {
    /// Digest of `bytes`.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Bytes,
}

/// Content with the sha256 digest of a text.
pub fn content(text: &str) -> Content {
    content_as(Algorithm::Sha256, text)
}

/// Content with a digest of this algorithm.
pub fn content_as(algorithm: Algorithm, text: &str) -> Content {
    Content { digest: Digest::of(algorithm, text.as_bytes()), bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

/// Type of the layers made here.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Type of the configs made here.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A manifest under construction.
#[derive(Clone, Debug)]
pub struct ManifestBuilder {
    document: Value,
    algorithm: Algorithm,
}

impl ManifestBuilder {
    /// An image of a config and layers.
    pub fn image(config: &Content, layers: &[Content]) -> Self {
        let layers: Vec<Value> = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
        Self::of(json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": layers,
        }))
    }

    /// An index of manifests.
    pub fn index(children: &[Manifest]) -> Self {
        let children: Vec<Value> = children
            .iter()
            .map(|child| json!({"mediaType": child.media_type, "digest": child.digest, "size": child.payload.len()}))
            .collect();
        Self::of(json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": children}))
    }

    /// An index whose entries are layers, as a build cache is pushed.
    pub fn cache(layers: &[Content]) -> Self {
        let layers: Vec<Value> = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
        Self::of(json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": layers}))
    }

    fn of(document: Value) -> Self {
        Self { document, algorithm: Algorithm::Sha256 }
    }

    /// Adds a layer that may be stored elsewhere.
    #[must_use]
    pub fn foreign_layer(mut self, layer: &Content) -> Self {
        let mut foreign = descriptor(LAYER, layer);
        foreign["urls"] = json!(["https://layers.example.com/1"]);
        self.document["layers"].as_array_mut().unwrap().push(foreign);
        self
    }

    /// Refers to another manifest.
    #[must_use]
    pub fn subject(mut self, subject: Digest) -> Self {
        self.document["subject"] = json!({"mediaType": MediaType::OCI_MANIFEST, "digest": subject, "size": 2});
        self
    }

    /// Sets `artifactType`.
    #[must_use]
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.document["artifactType"] = json!(artifact_type);
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.document["annotations"][key] = json!(value);
        self
    }

    /// Chooses the algorithm of its digest (sha256).
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The manifest, parsed as a registry does.
    pub fn build(self) -> Manifest {
        let payload = Bytes::from(serde_json::to_vec(&self.document).unwrap());
        let digest = Digest::of(self.algorithm, &payload);
        Manifest::parse(None, payload, digest).unwrap()
    }
}

fn descriptor(media_type: &str, content: &Content) -> Value {
    json!({"mediaType": media_type, "digest": content.digest, "size": content.bytes.len()})
}
