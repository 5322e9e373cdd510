//! Settings.

use std::path::Path;

use entrepot::config::{BlobStorage, Config, Role};
use entrepot_runtime::config::Source;

#[test]
fn every_mistake_is_reported_at_once_with_its_key() {
    let mut source = Source::default();
    for (key, value) in [
        ("http.listen", "0.0.0.0:5000"),
        ("http.public_url", "registry.example.com"),
        ("http.tls_certificate", "/nowhere.pem"),
        ("http.keep_alive", "soon"),
        ("auth.mode", "closed"),
        ("traces.sample_percent", "101"),
        ("gc.interval", "-1s"),
        ("http.listne", "127.0.0.1:1"),
    ] {
        source.set(key, value);
    }
    let errors = Config::read(&source, Role::Embedded).unwrap_err().to_string();
    for key in [
        "http.listen",
        "http.public_url",
        "http.tls_key",
        "http.keep_alive",
        "auth.mode",
        "traces.sample_percent",
        "gc.interval",
        "http.listne",
    ] {
        assert!(
            errors.lines().any(|line| line.contains(&format!("{key} ")) || line.contains(&format!("{key}:"))),
            "{key} is missing in:\n{errors}"
        );
    }
}

#[test]
fn a_service_of_a_fleet_says_what_it_needs() {
    for (role, keys) in [
        (
            Role::ApiGateway,
            vec!["internal.secret", "internal.manifest_index", "internal.blob_store", "internal.auth_token"],
        ),
        (Role::GcWorker, vec!["internal.secret", "internal.manifest_index", "internal.blob_store"]),
        (Role::BlobStore, vec!["internal.secret"]),
        (Role::ManifestIndex, vec!["internal.secret"]),
        (Role::AuthToken, vec!["internal.secret"]),
    ] {
        let errors = Config::read(&Source::default(), role).unwrap_err().to_string();
        for key in &keys {
            assert!(errors.contains(key), "{role:?} needs {key}:\n{errors}");
        }
    }
    Config::read(&Source::default(), Role::Embedded).unwrap();
}

#[test]
fn a_bucket_is_described_whole() {
    let read = |settings: &[(&str, &str)]| {
        let mut source = Source::default();
        settings.iter().for_each(|(key, value)| source.set(key, *value));
        Config::read(&source, Role::Embedded).map(|(config, _)| config.blobs)
    };
    let errors = read(&[
        ("storage.backend", "s3"),
        ("storage.s3.endpoint", "minio:9000"),
        ("storage.s3.prefix", "a b"),
        ("storage.s3.access_key_id", "id"),
        ("storage.s3.kms_key_id", "key"),
        ("storage.s3.presign_lifetime", "5m"),
        ("storage.s3.part_size", "1MiB"),
        ("storage.s3.parallel_parts", "0"),
        ("storage.s3.buffer_memory", "8MiB"),
    ])
    .unwrap_err();
    let keys: Vec<&str> = errors.errors().iter().map(|error| error.key.as_str()).collect();
    let expected = [
        "storage.s3.bucket",
        "storage.s3.endpoint",
        "storage.s3.prefix",
        "storage.s3.secret_access_key",
        "storage.s3.kms_key_id",
        "storage.s3.presign_lifetime",
        "storage.s3.part_size",
        "storage.s3.parallel_parts",
        "storage.s3.buffer_memory",
    ];
    assert_eq!(keys, expected, "{errors}");

    assert!(matches!(read(&[("storage.s3.bucket", "unused")]).unwrap(), BlobStorage::Files));
    let known = [("storage.backend", "s3"), ("storage.s3.bucket", "images"), ("storage.s3.prefix", "/a/b/")];
    let BlobStorage::S3(options) = read(&known).unwrap() else { panic!("not S3") };
    assert_eq!((options.prefix.as_str(), options.path_style, options.part_size), ("a/b/", false, 8 << 20));
    let elsewhere = [&known[..], &[("storage.s3.endpoint", "http://127.0.0.1:9000/")]].concat();
    let BlobStorage::S3(options) = read(&elsewhere).unwrap() else { panic!("not S3") };
    assert_eq!((options.endpoint.as_deref(), options.path_style), (Some("http://127.0.0.1:9000"), true));
}

/// Open to everybody in reach only when that is said by name.
#[test]
fn an_open_registry_stays_on_this_machine() {
    for (listen, allowed) in
        [("127.0.0.1:0", true), ("[::1]:0", true), ("0.0.0.0:0", false), ("[::]:0", false), ("192.0.2.1:1", false)]
    {
        let mut source = Source::default();
        source.set("http.listen", listen);
        assert_eq!(Config::read(&source, Role::Embedded).is_ok(), allowed, "{listen}");
        source.set("auth.allow_open_network", "true");
        assert!(Config::read(&source, Role::Embedded).is_ok(), "{listen}");
        source.set("auth.allow_open_network", "false");
        source.set("auth.mode", "managed");
        assert!(Config::read(&source, Role::Embedded).is_ok(), "{listen}");
    }
}

/// `ENTREPOT_BLESS=1 cargo test -p entrepot` writes the page anew.
#[test]
fn the_reference_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let expected = format!("{}\n", entrepot::cli::reference().unwrap());
    if std::env::var_os("ENTREPOT_BLESS").is_some() {
        std::fs::write(&page, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(written == expected, "docs/configuration.md is not what `entrepot config-reference` prints");
}
