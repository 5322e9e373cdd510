//! Several gateways over the same services, without anything that tells one of the other.

use std::io::Write;
use std::time::{Duration, Instant};

use entrepot::testing::http::Call;
use entrepot::testing::{TestGateways, TestRegistry, poll};
use entrepot_core::{Algorithm, Digest};
use entrepot_testkit::builders::content;

use crate::support::{
    assert_blob, completing, image, noise, open_upload, push_blob, push_image, push_manifest, put_manifest,
};

const PASSWORD: &str = "correct horse battery";
/// How long a deletion, or a change of rights, may go unnoticed at another gateway.
const BOUND: Duration = Duration::from_secs(5);
/// How much later than the bound a busy machine may notice it.
const SLACK: Duration = Duration::from_secs(3);

fn two(mode: &str) -> (TestGateways, TestRegistry, TestRegistry) {
    let fleet = TestGateways::start(mode, &[]);
    let (one, other) = (fleet.gateway(), fleet.gateway());
    (fleet, one, other)
}

#[test]
fn a_tag_is_the_same_everywhere_at_once() {
    let (_fleet, one, other) = two("open");
    let images: Vec<_> = (0..3).map(|n| push_image(&one, "app", "seed", &format!("image {n}"))).collect();
    let mut before = None;
    for round in 0..30 {
        let (writer, reader) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let manifest = &images[round % images.len()];
        push_manifest(writer, "app", "moving", manifest);
        for gateway in [reader, writer] {
            let answer = gateway.get("/v2/app/manifests/moving").expect(200);
            assert_eq!(answer.body, manifest.payload, "round {round}");
            assert_eq!(answer.header("docker-content-digest"), manifest.digest.to_string());
            let head = gateway.head("/v2/app/manifests/moving").expect(200);
            assert_eq!(head.header("etag"), format!("\"{}\"", manifest.digest));
        }
        // What a client holds of the tag's last content does not make it think that nothing moved.
        if let Some(etag) = before.replace(format!("\"{}\"", manifest.digest)) {
            let call = reader.call("GET", "/v2/app/manifests/moving").header("if-none-match", &etag);
            assert_eq!(call.send().expect(200).body, manifest.payload);
        }
        assert_eq!(reader.get("/v2/app/tags/list").json()["tags"], serde_json::json!(["moving", "seed"]));
        if round % 5 == 4 {
            writer.delete("/v2/app/manifests/moving").expect(202);
            for gateway in [reader, writer] {
                gateway.get("/v2/app/manifests/moving").error(404, "MANIFEST_UNKNOWN");
                let etag = format!("\"{}\"", manifest.digest);
                let call = gateway.call("GET", "/v2/app/manifests/moving").header("if-none-match", &etag);
                call.send().error(404, "MANIFEST_UNKNOWN");
                assert_eq!(gateway.get("/v2/app/tags/list").json()["tags"], serde_json::json!(["seed"]));
            }
        }
    }
}

#[test]
fn a_manifest_deleted_elsewhere_takes_its_tags_along_at_once() {
    let (_fleet, one, other) = two("open");
    let manifest = push_image(&one, "app", "v1", "image");
    let by_digest = format!("/v2/app/manifests/{}", manifest.digest);
    // Both have the manifest ready to send.
    for gateway in [&one, &other] {
        gateway.get(&by_digest).expect(200);
        gateway.get("/v2/app/manifests/v1").expect(200);
    }
    one.delete(&by_digest).expect(202);
    for gateway in [&other, &one] {
        gateway.get("/v2/app/manifests/v1").error(404, "MANIFEST_UNKNOWN");
        assert_eq!(gateway.get("/v2/app/tags/list").json()["tags"], serde_json::json!([]));
        // A client that is told that it is there does not push it.
        gateway.head(&by_digest).expect(404);
    }
    one.get(&by_digest).error(404, "MANIFEST_UNKNOWN");
}

/// What is read by digest comes from memory for a moment, never for longer.
#[test]
fn what_was_deleted_elsewhere_is_gone_in_time() {
    let (_fleet, one, other) = two("open");
    let manifest = push_image(&one, "app", "v1", "image");
    let blob = content("a blob without a manifest");
    push_blob(&one, "app", &blob);
    let targets = [format!("/v2/app/manifests/{}", manifest.digest), format!("/v2/app/blobs/{}", blob.digest)];
    for target in &targets {
        other.get(target).expect(200);
    }
    for target in &targets {
        one.delete(target).expect(202);
    }
    // A client that asks whether it has to push is never answered from memory.
    other.head(&targets[1]).expect(404);
    let deleted = Instant::now();
    for target in &targets {
        poll("the deletion to be seen", || {
            let status = other.get(target).status;
            assert!(status == 404 || deleted.elapsed() < BOUND + SLACK, "{target} is still served");
            (status == 404).then_some(())
        });
    }
}

#[test]
fn an_upload_goes_on_at_any_gateway() {
    let (_fleet, one, other) = two("open");
    let bytes = noise(3 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let (first, rest) = (bytes.slice(..1 << 20), bytes.slice(1 << 20..));
    let location = open_upload(&one, "app");
    let location = one.call("PATCH", &location).body(first.clone()).send().expect(202).location().to_owned();
    assert_eq!(other.get(&location).expect(204).header("range"), format!("0-{}", first.len() - 1));
    // Bytes that were acknowledged elsewhere are not taken twice.
    let call = other.call("PATCH", &location).header("content-range", format!("0-{}", first.len() - 1));
    assert_eq!(call.body(first.clone()).send().expect(416).header("range"), format!("0-{}", first.len() - 1));
    let second = rest.slice(..rest.len() / 2);
    let range = format!("{}-{}", first.len(), first.len() + second.len() - 1);
    let call = other.call("PATCH", &location).header("content-range", &range).body(second.clone());
    let location = call.send().expect(202).location().to_owned();
    let finish = completing(&location, &digest);
    one.call("PUT", &finish).body(rest.slice(second.len()..)).send().expect(201);
    // The answer got lost; the client asks elsewhere.
    let again = other.call("PUT", &finish).send().expect(201);
    assert_eq!(again.header("docker-content-digest"), digest.to_string());
    let another = content("another").digest;
    other.call("PUT", &completing(&location, &another)).send().error(404, "BLOB_UPLOAD_UNKNOWN");
    for gateway in [&one, &other] {
        assert_blob(gateway, "app", &digest, &bytes);
    }
}

#[test]
fn an_upload_outlives_the_gateway_that_took_it() {
    let (_fleet, mut one, other) = two("open");
    let bytes = noise(8 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let acknowledged = 1 << 20;
    let location = open_upload(&one, "app");
    let location =
        one.call("PATCH", &location).body(bytes.slice(..acknowledged)).send().expect(202).location().to_owned();
    let stored = || one.stored_files().iter().map(|(_, size)| *size).max().unwrap_or(0);
    let before = stored();
    let mut stalled = one.connect();
    let head =
        format!("PATCH {location} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", bytes.len() - acknowledged);
    stalled.write_all(head.as_bytes()).unwrap();
    stalled.write_all(&bytes[acknowledged..5 << 20]).unwrap();
    poll("bytes of the second chunk to be written", || (stored() > before).then_some(()));
    one.kill();
    assert_eq!(other.get(&location).expect(204).header("range"), format!("0-{}", acknowledged - 1));
    let range = format!("{acknowledged}-{}", bytes.len() - 1);
    let call = other.call("PATCH", &location).header("content-range", &range).body(bytes.slice(acknowledged..));
    let location = call.send().expect(202).location().to_owned();
    other.call("PUT", &completing(&location, &digest)).send().expect(201);
    assert_blob(&other, "app", &digest, &bytes);
}

/// Alice, who may do everything in `team/*`, and a token of hers.
fn alice(fleet: &TestGateways, gateway: &TestRegistry) -> String {
    fleet.admin(async |admin| {
        admin.add_user("alice", PASSWORD).await.unwrap();
        admin.grant("alice", "team/*", "*").await.unwrap();
    });
    token(gateway)
}

fn token(gateway: &TestRegistry) -> String {
    gateway.token(Some(("alice", PASSWORD)), &["repository:team/app:*"])
}

/// Sends a call until it is refused for its token; every gateway has to come to it within the bound.
fn refused_in_time(gateways: &[&TestRegistry], since: Instant, call: impl Fn(&TestRegistry) -> Call) {
    for gateway in gateways {
        let answer = poll("the token to be refused", || {
            let answer = call(gateway).send();
            let refused = answer.status == 401;
            assert!(refused || since.elapsed() < BOUND + SLACK, "still accepted: {answer:?}");
            refused.then_some(answer)
        });
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{answer:?}");
    }
}

#[test]
fn a_right_that_was_taken_away_ends_everywhere_in_time() {
    let (fleet, one, other) = two("managed");
    let old = alice(&fleet, &one);
    let (manifest, blobs) = image("image");
    for blob in &blobs {
        let target = format!("/v2/team/app/blobs/uploads/?digest={}", blob.digest);
        one.call("POST", &target).bearer(&old).body(blob.bytes.clone()).send().expect(201);
    }
    let opened = other.call("POST", "/v2/team/app/blobs/uploads/").bearer(&old).send().expect(202);
    let list = |gateway: &TestRegistry| gateway.call("GET", "/v2/team/app/tags/list").bearer(&old);
    let put = |gateway: &TestRegistry, token: &str| {
        let call = gateway.call("PUT", "/v2/team/app/manifests/v1").bearer(token);
        call.header("content-type", manifest.media_type.as_str()).body(manifest.payload.clone()).send()
    };
    put(&other, &old).expect(201);
    for gateway in [&one, &other] {
        list(gateway).send().expect(200);
    }
    fleet.admin(async |admin| admin.grant("alice", "team/*", "pull").await.unwrap());
    let changed = Instant::now();
    refused_in_time(&[&one, &other], changed, list);
    for gateway in [&one, &other] {
        assert!(put(gateway, &old).header("www-authenticate").contains("error=\"invalid_token\""));
        // The next token holds what is left.
        let new = token(gateway);
        gateway.call("GET", "/v2/team/app/tags/list").bearer(&new).send().expect(200);
        put(gateway, &new).error(403, "DENIED");
    }
    // An upload that had begun may end; nothing becomes visible by that.
    let blob = content("begun before");
    let finish = completing(opened.location(), &blob.digest);
    one.call("PUT", &finish).body(blob.bytes.clone()).send().expect(201);
}

#[test]
fn whatever_changes_rights_counts_in_time() {
    let (fleet, one, other) = two("managed");
    alice(&fleet, &one);
    let robot = std::cell::RefCell::new(String::new());
    fleet.admin(async |admin| {
        robot.replace(admin.add_robot("ci").await.unwrap());
        admin.grant("ci", "team/*", "pull").await.unwrap();
        admin.grant("anonymous", "public/*", "pull").await.unwrap();
    });
    let get = |token: &str| {
        let token = token.to_owned();
        move |gateway: &TestRegistry| gateway.call("GET", "/v2/").bearer(&token)
    };
    let robots = |secret: &str| one.token(Some(("ci", secret)), &["repository:team/app:pull"]);
    let gateways = [&one, &other];

    let of_robot = robots(&robot.borrow());
    get(&of_robot)(&other).send().expect(200);
    fleet.admin(async |admin| {
        robot.replace(admin.renew_robot("ci").await.unwrap());
    });
    refused_in_time(&gateways, Instant::now(), get(&of_robot));

    let (of_robot, of_alice) = (robots(&robot.borrow()), token(&one));
    fleet.admin(async |admin| admin.remove("ci").await.unwrap());
    refused_in_time(&gateways, Instant::now(), get(&of_robot));
    get(&of_alice)(&other).send().expect(200);

    fleet.admin(async |admin| admin.set_password("alice", "another password").await.unwrap());
    refused_in_time(&gateways, Instant::now(), get(&of_alice));

    let anonymous = one.token(None, &["repository:public/tool:pull"]);
    get(&anonymous)(&other).send().expect(200);
    fleet.admin(async |admin| admin.revoke("anonymous", "public/*").await.unwrap());
    refused_in_time(&gateways, Instant::now(), get(&anonymous));
}

#[test]
fn without_auth_token_pushes_are_refused_and_pulls_go_on() {
    let (mut fleet, one, _other) = two("managed");
    let token = alice(&fleet, &one);
    let get = || one.call("GET", "/v2/team/app/manifests/v1").bearer(&token).send();
    let push = || one.call("POST", "/v2/team/app/blobs/uploads/").bearer(&token).send();
    push().expect(202);
    get().expect(404);
    fleet.kill_tokens();
    let killed = Instant::now();
    let refused = poll("a push to be refused", || {
        let answer = push();
        assert!(answer.status == 503 || killed.elapsed() < BOUND + SLACK, "{answer:?}");
        (answer.status == 503).then_some(answer)
    });
    refused.error(503, "UNAVAILABLE");
    refused.header("retry-after");
    get().expect(404);
    one.call("DELETE", "/v2/team/app/manifests/v1").bearer(&token).send().error(503, "UNAVAILABLE");
}

#[test]
fn manifests_of_one_gateway_can_be_referenced_at_another() {
    let (_fleet, one, other) = two("open");
    let (manifest, blobs) = image("split");
    push_blob(&one, "app", &blobs[0]);
    put_manifest(&other, "app", "v1", &manifest).error(404, "MANIFEST_BLOB_UNKNOWN");
    push_blob(&other, "app", &blobs[1]);
    put_manifest(&one, "app", "v1", &manifest).expect(201);
    assert_eq!(other.get("/v2/app/manifests/v1").expect(200).body, manifest.payload);
}
