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
        ("database.url", "mysql://u:s3cret@db/x"),
        ("database.max_connections", "0"),
        ("http.listne", "127.0.0.1:1"),
        ("http.trusted_proxies", "proxy.example.com"),
        ("pull.redirect", "sometimes"),
        ("pull.internal_networks", "10.0.0.0/33"),
        ("limits.requests", "0"),
        ("limits.tenant_requests", "0"),
        ("limits.queue_timeout", "1m"),
        ("limits.principal_requests_per_second", "0"),
        ("limits.tenant_bytes_per_second", "0"),
        ("limits.burst", "0s"),
        ("limits.upload_memory", "1MiB"),
        ("auth.token_lifetime", "1h"),
        ("auth.service", "the \"registry\""),
        ("internal.secret", "x"),
        ("http.max_connections", "0"),
        ("http.max_head", "1"),
        ("gc.upload_idle", "0s"),
        ("log.level", "loud"),
        ("traces.otlp_endpoint", "collector:4317"),
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
        "database.url",
        "database.max_connections",
        "http.listne",
        "http.trusted_proxies",
        "pull.redirect",
        "pull.internal_networks",
        "limits.requests",
        "limits.tenant_requests",
        "limits.queue_timeout",
        "limits.principal_requests_per_second",
        "limits.tenant_bytes_per_second",
        "limits.burst",
        "limits.upload_memory",
        "auth.token_lifetime",
        "auth.service",
        "internal.secret",
        "http.max_connections",
        "http.max_head",
        "gc.upload_idle",
        "log.level",
        "traces.otlp_endpoint",
    ] {
        assert!(
            errors.lines().any(|line| line.contains(&format!("{key} ")) || line.contains(&format!("{key}:"))),
            "{key} is missing in:\n{errors}"
        );
    }
    assert!(!errors.contains("s3cret"), "a password is shown:\n{errors}");
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
fn what_stands_in_challenges_and_signs_uploads_is_checked() {
    let secret = "0123456789abcdef0123456789abcdef";
    for (key, value, allowed) in [
        ("auth.token_lifetime", "5m", true),
        ("auth.token_lifetime", "5m1s", false),
        ("auth.token_lifetime", "0s", false),
        ("auth.service", "registry.example.com:5000", true),
        ("auth.service", "a\"b", false),
        ("auth.service", "a b", false),
        ("auth.service", "", false),
        ("http.public_url", "https://registry.example.com/", true),
        ("http.public_url", "https://a\",error=\"x", false),
        ("http.public_url", "https://registry.example.com/images", false),
        ("gc.interval", "10ms", true),
        ("gc.interval", "0s", false),
        ("log.level", "warn", true),
        ("log.level", "info,h2=debug", true),
        ("log.level", "entrepot=bogus", false),
        ("internal.secret", secret, true),
        ("internal.secret", &secret[1..], false),
    ] {
        let mut source = Source::default();
        source.set(key, value);
        let read = Config::read(&source, Role::Embedded);
        assert_eq!(read.is_ok(), allowed, "{key} = {value:?}");
        if let Err(error) = read {
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}

/// What `entries` make of a gateway's configuration, the rest of which is right.
fn gateway(entries: &[(&str, &str)]) -> Result<Config, String> {
    let mut source = Source::default();
    for (key, value) in [
        ("auth.mode", "managed"),
        ("internal.secret", "0123456789abcdef0123456789abcdef"),
        ("internal.auth_token", "http://127.0.0.1:1"),
        ("internal.blob_store", "http://127.0.0.1:2"),
        ("internal.manifest_index", "http://127.0.0.1:3"),
    ]
    .iter()
    .chain(entries)
    {
        source.set(key, *value);
    }
    Config::read(&source, Role::ApiGateway).map(|(config, _)| config).map_err(|errors| errors.to_string())
}

#[test]
fn a_peer_has_one_endpoint_or_several() {
    let one = gateway(&[("internal.manifest_index", "http://manifest-index:5100")]).unwrap();
    assert_eq!(one.internal.manifest_index.len(), 1);
    let two = gateway(&[("internal.manifest_index", "http://a:5100, http://b:5100")]).unwrap();
    let hosts: Vec<&str> = two.internal.manifest_index.iter().map(entrepot_proto::Endpoint::host).collect();
    assert_eq!(hosts, ["a", "b"]);

    let folder = std::env::temp_dir().join(format!("entrepot-endpoints-{}", std::process::id()));
    let text = "[internal]\nmanifest_index = [\"http://a:5100\", \"http://b:5100\"]\nblob_store = \"http://c:5100\"\n";
    std::fs::write(&folder, text).unwrap();
    let source = Source::load(Some(&folder), []);
    std::fs::remove_file(&folder).unwrap();
    let (config, _) = Config::read(&source.unwrap(), Role::Embedded).unwrap();
    assert_eq!((config.internal.manifest_index.len(), config.internal.blob_store.len()), (2, 1));

    for (value, reason) in [
        ("", "is needed by api-gateway"),
        ("manifest-index:5100", "must begin with http://"),
        ("http://manifest-index", "names no port"),
        ("http://a:1,http://a:1", "twice"),
        ("https://a:1", "internal.tls_certificate"),
    ] {
        let error = gateway(&[("internal.manifest_index", value)]).unwrap_err();
        assert!(error.contains("internal.manifest_index") && error.contains(reason), "{value:?}: {error}");
    }
}

#[test]
fn tls_between_services_is_whole_and_everywhere() {
    let files = [
        ("internal.tls_certificate", "/tls/tls.crt"),
        ("internal.tls_key", "/tls/tls.key"),
        ("internal.tls_authorities", "/tls/ca.crt"),
    ];
    let secured = [
        ("internal.auth_token", "https://auth-token:1"),
        ("internal.blob_store", "https://blob-store:1"),
        ("internal.manifest_index", "https://manifest-index:1"),
    ];
    assert!(gateway(&[&files[..], &secured[..]].concat()).unwrap().internal.tls.is_some());
    for missing in 0..3 {
        let mut some = files.to_vec();
        let (key, _) = some.remove(missing);
        let error = gateway(&[&some[..], &secured[..]].concat()).unwrap_err();
        assert!(
            error.contains(&format!("{key} is missing")) || error.contains(&format!("{key}: is missing")),
            "{error}"
        );
    }
    let error = gateway(&[&files[..], &secured[..2]].concat()).unwrap_err();
    assert!(error.contains("internal.manifest_index") && error.contains("https://"), "{error}");

    let mut source = Source::default();
    for (key, value) in files {
        source.set(key, value);
    }
    source.set("internal.secret", "0123456789abcdef0123456789abcdef");
    source.set("internal.data_url", "http://blob-store:5101");
    let error = Config::read(&source, Role::BlobStore).unwrap_err().to_string();
    assert!(error.contains("internal.data_url"), "{error}");
    source.set("internal.data_url", "https://blob-store:5101");
    Config::read(&source, Role::BlobStore).unwrap();
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

    assert!(matches!(read(&[]).unwrap(), BlobStorage::Files));
    let unused = read(&[("storage.s3.bucket", "images")]).unwrap_err().to_string();
    assert!(unused.contains("has no effect unless storage.backend is s3"), "{unused}");
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
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let page = Path::new(&package).join("../../docs/configuration.md");
    let expected = format!("{}\n", entrepot::cli::reference().unwrap());
    if std::env::var_os("ENTREPOT_BLESS").is_some() {
        std::fs::write(&page, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(written == expected, "docs/configuration.md is not what `entrepot config-reference` prints");
}

/// A file of the workspace.
fn file(path: &str) -> String {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    std::fs::read_to_string(Path::new(&package).join("../..").join(path)).unwrap()
}

const ROLES: [(&str, Role); 6] = [
    ("api-gateway", Role::ApiGateway),
    ("auth-token", Role::AuthToken),
    ("manifest-index", Role::ManifestIndex),
    ("blob-store", Role::BlobStore),
    ("gc-worker", Role::GcWorker),
    ("migrate", Role::Accounts),
];

/// What Docker Compose gives each service: the file it mounts and the environment.
#[test]
fn the_compose_file_configures_every_service() {
    let compose = file("deploy/compose/compose.yaml");
    let secret = "0123456789abcdef0123456789abcdef";
    let environment: Vec<(String, String)> = compose
        .lines()
        .filter_map(|line| line.trim().split_once(": ").filter(|(name, _)| name.starts_with("ENTREPOT__")))
        .map(|(name, value)| {
            // As `./make-secrets` fills it in.
            let value = match (value.find("${"), value.find('}')) {
                (Some(start), Some(end)) => format!("{}{secret}{}", &value[..start], &value[end + 1..]),
                _ => value.to_owned(),
            };
            (name.to_owned(), value)
        })
        .collect();
    assert!(environment.len() >= 4, "{environment:?}");
    let settings = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&settings, file("deploy/compose/entrepot.toml")).unwrap();
    for (command, role) in ROLES {
        assert!(compose.contains(&format!("command: [{command}, --config, /etc/entrepot.toml]")), "{command}");
        let variables = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let source = Source::load(Some(settings.path()), variables).unwrap();
        let config = Config::read(&source, role).unwrap_or_else(|error| panic!("{command}: {error}")).0;
        assert!(matches!(config.blobs, BlobStorage::S3(_)) && config.database.postgres.is_some(), "{command}");
        assert!(config.redis.url.is_some());
    }
}

/// What the guide says to write is taken as written.
#[test]
fn the_settings_of_the_guide_are_right() {
    let guide = file("docs/fleet.md");
    let block = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("database-url", "postgres://entrepot:secret@pg-1:5432,pg-2:5432/entrepot?sslmode=verify-full"),
        ("redis-url", "rediss://:secret@redis:6379"),
        ("internal", "0123456789abcdef0123456789abcdef"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let secrets = format!("\"{}/", folder.path().display());
    let settings = folder.path().join("fleet.toml");
    std::fs::write(&settings, block.replace("\"/run/secrets/", &secrets)).unwrap();
    for (command, role) in ROLES {
        let source = Source::load(Some(&settings), []).unwrap();
        let read = Config::read(&source, role);
        assert!(read.is_ok(), "{command}: {}", read.err().unwrap());
    }
}

/// A section that came twice would be an error in the TOML file it is copied to.
#[test]
fn the_reference_has_each_section_once() {
    let reference = entrepot::cli::reference().unwrap();
    let mut sections: Vec<&str> = reference.lines().filter(|line| line.starts_with("## ")).collect();
    let all = sections.len();
    sections.sort_unstable();
    sections.dedup();
    assert_eq!(sections.len(), all, "{reference}");
}
