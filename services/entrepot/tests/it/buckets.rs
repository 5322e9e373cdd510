//! A registry whose blobs lie in a bucket.

use entrepot::config::{Config, Role};
use entrepot::testing::{TestRegistry, Topology};
use entrepot_core::{Algorithm, Digest};
use entrepot_object::testing::s3_server::S3Server;
use entrepot_runtime::config::Source;
use entrepot_testkit::builders::Content;
use tokio::runtime::Runtime;

use crate::support::{noise, push_blob};

/// An S3 server that runs as long as it is held.
struct Bucket {
    server: S3Server,
    runtime: Runtime,
}

impl Bucket {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(S3Server::start(5 << 20)).unwrap();
        Self { server, runtime }
    }

    /// The settings that an operator would write.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let options = self.server.options(None);
        let credentials = options.credentials.unwrap();
        vec![
            ("storage.backend", "s3".to_owned()),
            ("storage.s3.bucket", options.bucket),
            ("storage.s3.endpoint", options.endpoint.unwrap()),
            ("storage.s3.prefix", "registry".to_owned()),
            ("storage.s3.access_key_id", credentials.access_key_id),
            ("storage.s3.secret_access_key", credentials.secret_access_key),
        ]
    }
}

fn blob(size: usize) -> Content {
    let bytes = noise(size);
    Content { digest: Digest::of(Algorithm::Sha256, &bytes), bytes }
}

#[test]
fn blobs_are_pushed_to_and_pulled_from_a_bucket() {
    for topology in [Topology::Local, Topology::Grpc] {
        let bucket = Bucket::start();
        let settings = bucket.settings();
        let builder = TestRegistry::builder(topology);
        let registry = settings.iter().fold(builder, |builder, (key, value)| builder.set(key, value)).start();

        let small = blob(1000);
        push_blob(&registry, "team/app", &small);
        let large = blob(12 << 20);
        let mut location = registry.call("POST", "/v2/team/app/blobs/uploads/").send().expect(202);
        for chunk in [large.bytes.slice(..1000), large.bytes.slice(1000..)] {
            let target = location.header("location").to_owned();
            location = registry.call("PATCH", &target).body(chunk).send().expect(202);
        }
        let target = format!("{}&digest={}", location.header("location"), large.digest);
        registry.call("PUT", &target).send().expect(201);

        for blob in [&small, &large] {
            let target = format!("/v2/team/app/blobs/{}", blob.digest);
            assert!(registry.get(&target).expect(200).body == blob.bytes);
            let part = registry.call("GET", &target).header("range", "bytes=10-99").send().expect(206);
            assert!(part.body == blob.bytes.slice(10..100));
        }
        let objects = bucket.server.objects();
        assert_eq!((objects.len(), bucket.server.uploads().len()), (2, 0), "{objects:?}");
        assert!(objects.iter().all(|key| key.starts_with("registry/data/")), "{objects:?}");
        assert!(!registry.data_dir().join("blobs").exists());
        drop(registry);
        bucket.runtime.shutdown_background();
    }
}

/// A bucket that cannot be used is found out at the start, and the setting to look at is named.
#[test]
fn a_registry_does_not_start_on_a_bucket_it_cannot_use() {
    let bucket = Bucket::start();
    let directory = tempfile::tempdir().unwrap();
    for (key, value, code, expected) in [
        ("storage.s3.bucket", "elsewhere", None, "storage.s3.bucket"),
        ("storage.s3.access_key_id", "nobody", None, "storage.s3.access_key_id"),
        ("storage.s3.prefix", "x", Some("RequestTimeTooSkewed"), "clock"),
        ("storage.s3.prefix", "x", Some("AccessDenied"), "may not list"),
    ] {
        bucket.server.refuse(code);
        let mut source = Source::default();
        for (key, value) in bucket.settings() {
            source.set(key, value);
        }
        source.set("storage.data_dir", directory.path().display().to_string());
        source.set("http.listen", "127.0.0.1:0");
        source.set("admin.listen", "");
        source.set(key, value);
        let (config, _) = Config::read(&source, Role::Embedded).unwrap();
        let refused = bucket.runtime.block_on(entrepot::embedded::run(config)).unwrap_err();
        let text = refused.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains(expected), "{text}");
    }
}
