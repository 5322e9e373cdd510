use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::digest::Algorithm;

fn digest_of(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

fn descriptor(media_type: &str, text: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(text), "size": text.len()})
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", "config"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "layer")],
    })
}

fn index() -> Value {
    json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [descriptor(MediaType::OCI_MANIFEST, "child")]})
}

fn parse_as(content_type: Option<&str>, document: &Value) -> Result<Manifest, ManifestError> {
    let payload = Bytes::from(serde_json::to_vec(document).unwrap());
    let digest = Digest::of(Algorithm::Sha256, &payload);
    let content_type = content_type.map(|text| text.parse().unwrap());
    Manifest::parse(content_type.as_ref(), payload, digest)
}

fn parse(document: &Value) -> Result<Manifest, ManifestError> {
    parse_as(None, document)
}

fn with(mut document: Value, key: &str, value: Value) -> Value {
    document[key] = value;
    document
}

#[test]
fn an_image_depends_on_config_and_layers() {
    let manifest = parse(&image()).unwrap();
    let mut expected = vec![digest_of("config"), digest_of("layer")];
    expected.sort();
    assert_eq!(manifest.references.iter().map(|r| r.digest).collect::<Vec<_>>(), expected);
    assert!(manifest.references.iter().all(|r| r.kind == ReferenceKind::Blob));
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    assert_eq!(manifest.subject, None);
}

#[test]
fn an_index_depends_on_its_children_and_keeps_unknown_fields() {
    let document = with(index(), "x-vendor", json!({"deep": [1, 2]}));
    let manifest = parse_as(Some("application/vnd.oci.image.index.v1+json; charset=utf-8"), &document).unwrap();
    assert_eq!(manifest.references[0].kind, ReferenceKind::Child);
    assert_eq!(manifest.artifact_type, None);
    assert_eq!(serde_json::from_slice::<Value>(&manifest.payload).unwrap(), document);
}

/// A `BuildKit` cache is an index whose entries are layers and a cache config.
#[test]
fn a_buildkit_cache_index_is_accepted() {
    let document = with(
        index(),
        "manifests",
        json!([
            descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "layer"),
            descriptor("application/vnd.buildkit.cacheconfig.v0", "cache")
        ]),
    );
    assert_eq!(parse(&document).unwrap().references.len(), 2);
}

#[test]
fn subject_and_artifact_type_are_read() {
    let document =
        with(with(image(), "subject", descriptor(MediaType::OCI_MANIFEST, "subject")), "artifactType", json!("a/b"));
    let manifest = parse(&with(document, "annotations", json!({"k": "v"}))).unwrap();
    assert_eq!(manifest.subject, Some(digest_of("subject")));
    assert_eq!(manifest.artifact_type.as_deref(), Some("a/b"));
    assert_eq!(manifest.annotations["k"], "v");
    assert_eq!(manifest.references.len(), 2, "the subject is not a dependency");
}

/// Clients give it names of their own; only what no text column and no log takes is refused.
#[test]
fn an_artifact_type_is_a_text_without_control_characters() {
    for name in ["sbom", "my type", "a/b; v=1", "naïve/✓", ""] {
        let manifest = parse(&with(image(), "artifactType", json!(name))).unwrap();
        assert_eq!(manifest.artifact_type.as_deref() == Some(name), !name.is_empty(), "{name:?}");
    }
    for name in ["\0", "a\0", "a/b\r\nX: y", "a\u{7f}", "\u{85}"] {
        let refused = parse(&with(image(), "artifactType", json!(name)));
        assert!(matches!(refused, Err(ManifestError::ArtifactType)), "{name:?}");
    }
}

/// Encoders in Go write absent maps and lists as `null`.
#[test]
fn null_stands_for_absent() {
    let mut document = with(image(), "annotations", Value::Null);
    document["config"]["annotations"] = Value::Null;
    document["config"]["urls"] = Value::Null;
    assert_eq!(parse(&document).unwrap().references.len(), 2);
}

#[test]
fn foreign_layers_are_not_required() {
    let mut foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "far");
    foreign["urls"] = json!(["https://example.com/layer"]);
    let manifest = parse(&with(image(), "layers", json!([foreign]))).unwrap();
    let layer = manifest.references.iter().find(|r| r.digest == digest_of("far")).unwrap();
    assert_eq!(layer.kind, ReferenceKind::ForeignBlob);
}

#[test]
fn artifacts_and_unknown_types_are_read_by_their_fields() {
    let artifact =
        json!({"mediaType": MediaType::OCI_ARTIFACT, "artifactType": "x/y", "blobs": [descriptor("a/b", "blob")]});
    assert_eq!(parse(&artifact).unwrap().references[0].digest, digest_of("blob"));
    let unknown = json!({"anything": true, "layers": [descriptor("a/b", "blob")]});
    assert_eq!(parse_as(Some("application/vnd.example.v9+json"), &unknown).unwrap().references.len(), 1);
}

#[test]
fn refuses_documents_with_two_meanings() {
    use ManifestError as E;
    let both = with(image(), "manifests", json!([]));
    assert!(matches!(parse(&both), Err(E::Ambiguous)));
    assert!(matches!(parse_as(Some(MediaType::OCI_INDEX), &image()), Err(E::MediaTypeMismatch { .. })));
    assert!(matches!(parse(&with(image(), "schemaVersion", json!(1))), Err(E::SchemaVersion)));
    assert!(matches!(parse(&json!({"schemaVersion": 2})), Err(E::UnknownType)));
    assert!(matches!(
        parse_as(Some(MediaType::OCI_MANIFEST), &json!({"schemaVersion": 2})),
        Err(E::MissingField { field: "config", .. })
    ));
    assert!(matches!(
        parse_as(Some(MediaType::OCI_INDEX), &json!({"schemaVersion": 2})),
        Err(E::MissingField { field: "manifests", .. })
    ));
    assert!(matches!(
        parse_as(Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), &image()),
        Err(E::Schema1)
    ));
    let schema1 = with(image(), "mediaType", json!("application/vnd.docker.distribution.manifest.v1+json"));
    assert!(matches!(parse(&schema1), Err(E::Schema1)));
    for size in [json!(-1), json!("1"), json!(1.5), json!(1e300), json!(1u64 << 63), json!(u64::MAX)] {
        let mut bad = image();
        bad["config"]["size"] = size;
        assert!(matches!(parse(&bad), Err(E::Field(_))));
    }
    let mut traversal = image();
    traversal["config"]["digest"] = json!("sha256:../../../etc/passwd");
    assert!(matches!(parse(&traversal), Err(E::Field(_))));
}

#[test]
fn refuses_what_is_too_much() {
    let layers: Vec<Value> = (0..=MAX_DESCRIPTORS).map(|n| descriptor("a/b", &n.to_string())).collect();
    assert!(matches!(parse(&with(image(), "layers", json!(layers))), Err(ManifestError::TooManyDescriptors)));
    let payload = Bytes::from(vec![b' '; MAX_MANIFEST_BYTES + 1]);
    let error = Manifest::parse(None, payload, digest_of("")).unwrap_err();
    assert_eq!((error.kind(), error.kind().http_status()), (ErrorKind::TooLarge, 413));
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let digest = digest_of("");
        let _ = Manifest::parse(None, Bytes::from(bytes), digest);
    }
}

#[test]
fn annotations_that_a_list_of_referrers_repeats_have_a_limit() {
    let annotated = |size: usize| {
        // Escapes do not count: what is kept is the text.
        let value = format!("\u{1}{}", "x".repeat(size - "first".len() - "other".len() - 2));
        with(image(), "annotations", json!({"first": "1", "other": value}))
    };
    parse(&annotated(3 << 20)).unwrap();
    let annotated = |size| parse(&with(annotated(size), "subject", descriptor(MediaType::OCI_MANIFEST, "subject")));
    assert_eq!(annotated(MAX_ANNOTATION_BYTES).unwrap().annotations.len(), 2);
    let error = annotated(MAX_ANNOTATION_BYTES + 1).unwrap_err();
    assert_eq!((error.kind(), error.oci_code()), (ErrorKind::Invalid, OciCode::ManifestInvalid));
    let said = error.to_string();
    assert!(said.contains("524289") && said.contains("524288"), "{said}");
}
