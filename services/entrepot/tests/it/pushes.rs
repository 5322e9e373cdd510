//! Blob uploads, each way a client does them.

use bytes::Bytes;
use entrepot::testing::TestRegistry;
use entrepot_core::{Algorithm, Digest};
use entrepot_testkit::builders::{content, content_as};

use crate::support::{assert_blob, both, completing, noise, open_upload, push_blob};

both!(open:
    p23_post_then_put_of_the_whole_blob,
    post_with_digest,
    p22_patch_streamed_without_length_or_range,
    chunks_in_order,
    p25_range_of_an_upload_is_accurate,
    chunk_out_of_order,
    last_chunk_in_put,
    empty_blob,
    sha512_announced_or_not,
    p28_wrong_digest_ends_the_session,
    p29_replayed_put,
    p24_location_is_relative_and_keeps_its_query,
    cancel,
    the_range_of_a_chunk_must_fit_its_length,
    a_session_belongs_to_its_repository,
    completing_takes_a_digest,
    lost_bytes_are_pushed_again,
);

fn p23_post_then_put_of_the_whole_blob(registry: TestRegistry) {
    let blob = content("whole");
    let location = open_upload(&registry, "team/app");
    let answer = registry.call("PUT", &completing(&location, &blob.digest)).body(blob.bytes.clone()).send().expect(201);
    assert_eq!(answer.location(), format!("/v2/team/app/blobs/{}", blob.digest));
    assert_eq!(answer.header("docker-content-digest"), blob.digest.to_string());
    assert!(answer.body.is_empty());
    assert_blob(&registry, "team/app", &blob.digest, &blob.bytes);
    let files = registry.stored_files();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].0.starts_with("data"), "sealed: {files:?}");
}

fn post_with_digest(registry: TestRegistry) {
    let blob = content("monolithic");
    let answer = push_blob(&registry, "app", &blob);
    assert_eq!(answer.header("docker-content-digest"), blob.digest.to_string());
    assert_eq!(answer.location(), format!("/v2/app/blobs/{}", blob.digest));
    assert_blob(&registry, "app", &blob.digest, &blob.bytes);

    let wrong = format!("/v2/app/blobs/uploads/?digest={}", content("other").digest);
    registry.call("POST", &wrong).body(blob.bytes).send().error(400, "DIGEST_INVALID");
    registry.call("POST", "/v2/app/blobs/uploads/?digest=sha256:short").send().error(400, "DIGEST_INVALID");
    assert_eq!(registry.stored_files().len(), 1);
}

/// docker: one PATCH in chunked transfer coding with neither Content-Length nor Content-Range.
fn p22_patch_streamed_without_length_or_range(registry: TestRegistry) {
    let bytes = noise(3 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let location = open_upload(&registry, "team/app");
    let chunks = bytes.chunks(100_000).map(Bytes::copy_from_slice).collect();
    let answer = registry.call("PATCH", &location).chunked(chunks).send().expect(202);
    assert_eq!(answer.header("range"), format!("0-{}", bytes.len() - 1));
    registry.call("PUT", &completing(answer.location(), &digest)).send().expect(201);
    assert_blob(&registry, "team/app", &digest, &bytes);
}

fn chunks_in_order(registry: TestRegistry) {
    let bytes = noise(10_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let mut location = open_upload(&registry, "app");
    for (start, end) in [(0, 4000), (4000, 4001), (4001, 10_000)] {
        let range = format!("{start}-{}", end - 1);
        let call = registry.call("PATCH", &location).header("content-range", range).body(bytes.slice(start..end));
        let answer = call.send().expect(202);
        assert_eq!(answer.header("range"), format!("0-{}", end - 1));
        assert!(!answer.header("docker-upload-uuid").is_empty());
        location = answer.location().to_owned();
    }
    registry.call("PUT", &completing(&location, &digest)).send().expect(201);
    assert_blob(&registry, "app", &digest, &bytes);
}

/// No `bytes=`, and the last byte that is safe: a client resumes from it.
fn p25_range_of_an_upload_is_accurate(registry: TestRegistry) {
    let location = open_upload(&registry, "app");
    let answer = registry.get(&location).expect(204);
    assert_eq!(answer.header("range"), "0-0");
    registry.call("PATCH", &location).body("12345").send().expect(202);
    for answer in [registry.get(&location), registry.head(&location)] {
        let answer = answer.expect(204);
        assert_eq!(answer.header("range"), "0-4");
        assert!(answer.body.is_empty() && !answer.location().is_empty());
    }
}

fn chunk_out_of_order(registry: TestRegistry) {
    let blob = content("0123456789");
    let location = open_upload(&registry, "app");
    registry.call("PATCH", &location).header("content-range", "0-3").body("0123").send().expect(202);
    for range in ["5-9", "0-4"] {
        let answer = registry.call("PATCH", &location).header("content-range", range).body("56789").send();
        answer.error(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(answer.header("range"), "0-3");
        // What the answer points to is enough to go on.
        assert_eq!(registry.get(answer.location()).expect(204).header("range"), "0-3");
    }
    let call = registry.call("PUT", &completing(&location, &blob.digest)).header("content-range", "5-9").body("56789");
    call.send().error(416, "BLOB_UPLOAD_INVALID");
    registry.call("PATCH", &location).header("content-range", "4-9").body("456789").send().expect(202);
    registry.call("PUT", &completing(&location, &blob.digest)).send().expect(201);
    assert_blob(&registry, "app", &blob.digest, &blob.bytes);
}

fn last_chunk_in_put(registry: TestRegistry) {
    for (range, text) in [(None, "one two"), (Some("4-6"), "1st 2nd")] {
        let blob = content(&format!("{text}{}", if range.is_some() { "" } else { "!" }));
        let location = open_upload(&registry, "app");
        registry.call("PATCH", &location).body(blob.bytes.slice(..4)).send().expect(202);
        let mut call = registry.call("PUT", &completing(&location, &blob.digest)).body(blob.bytes.slice(4..));
        if let Some(range) = range {
            call = call.header("content-range", range);
        }
        call.send().expect(201);
        assert_blob(&registry, "app", &blob.digest, &blob.bytes);
    }
}

fn empty_blob(registry: TestRegistry) {
    let empty = content("");
    let location = open_upload(&registry, "app");
    registry.call("PUT", &completing(&location, &empty.digest)).send().expect(201);
    let answer = registry.get(&format!("/v2/app/blobs/{}", empty.digest)).expect(200);
    assert_eq!((answer.header("content-length"), answer.body.len()), ("0", 0));
    let answer = registry.head(&format!("/v2/app/blobs/{}", empty.digest)).expect(200);
    assert_eq!(answer.header("content-length"), "0");
    let call = registry.call("GET", &format!("/v2/app/blobs/{}", empty.digest)).header("range", "bytes=0-");
    let answer = call.send();
    answer.error(416, "SIZE_INVALID");
    assert_eq!(answer.header("content-range"), "bytes */0");
}

fn sha512_announced_or_not(registry: TestRegistry) {
    let blob = content_as(Algorithm::Sha512, "a strong one");
    for query in ["?digest-algorithm=sha512", ""] {
        let answer = registry.post(&format!("/v2/app/blobs/uploads/{query}")).expect(202);
        let answer = registry.call("PATCH", answer.location()).body(blob.bytes.clone()).send().expect(202);
        let done = registry.call("PUT", &completing(answer.location(), &blob.digest)).send().expect(201);
        assert_eq!(done.header("docker-content-digest"), blob.digest.to_string());
        assert_blob(&registry, "app", &blob.digest, &blob.bytes);
    }
    registry.post("/v2/app/blobs/uploads/?digest-algorithm=md5").error(400, "DIGEST_INVALID");
}

/// Nothing of it is kept.
fn p28_wrong_digest_ends_the_session(registry: TestRegistry) {
    let (sent, promised) = (content("sent"), content("promised"));
    let location = open_upload(&registry, "app");
    registry.call("PATCH", &location).body("se").send().expect(202);
    let answer = registry.call("PUT", &completing(&location, &promised.digest)).body("nt").send();
    let error = answer.error(400, "DIGEST_INVALID");
    assert!(error["message"].as_str().unwrap().contains(&sent.digest.to_string()), "{error}");
    registry.get(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.call("PATCH", &location).body("nt").send().error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.call("PUT", &completing(&location, &sent.digest)).send().error(404, "BLOB_UPLOAD_UNKNOWN");
    for blob in [&sent, &promised] {
        registry.get(&format!("/v2/app/blobs/{}", blob.digest)).error(404, "BLOB_UNKNOWN");
    }
    let sealed: Vec<_> = registry.stored_files().into_iter().filter(|(path, _)| path.starts_with("data")).collect();
    assert!(sealed.is_empty(), "{sealed:?}");
}

/// The 201 may be lost on its way: the same request again is answered the same.
fn p29_replayed_put(registry: TestRegistry) {
    let blob = content("again");
    let location = open_upload(&registry, "app");
    registry.call("PATCH", &location).body(blob.bytes.clone()).send().expect(202);
    for _ in 0..3 {
        let answer = registry.call("PUT", &completing(&location, &blob.digest)).send().expect(201);
        assert_eq!(answer.header("docker-content-digest"), blob.digest.to_string());
        assert_eq!(answer.location(), format!("/v2/app/blobs/{}", blob.digest));
    }
    let whole = open_upload(&registry, "app");
    for _ in 0..2 {
        let call = registry.call("PUT", &completing(&whole, &blob.digest)).body(blob.bytes.clone());
        call.send().expect(201);
    }
    let other = completing(&location, &content("other").digest);
    registry.call("PUT", &other).send().error(404, "BLOB_UPLOAD_UNKNOWN");
    assert_blob(&registry, "app", &blob.digest, &blob.bytes);
}

/// Behind a proxy that ends TLS an absolute one has the wrong scheme.
fn p24_location_is_relative_and_keeps_its_query(registry: TestRegistry) {
    let answer = registry.call("POST", "/v2/app/blobs/uploads/").header("host", "registry.example.com").send();
    let location = answer.expect(202).location().to_owned();
    assert!(location.contains('?'), "clients must append with &: {location}");
    let blob = content("located");
    let digest = blob.digest.to_string().replace(':', "%3A");
    registry.call("PUT", &format!("{location}&digest={digest}")).body(blob.bytes.clone()).send().expect(201);
    assert_blob(&registry, "app", &blob.digest, &blob.bytes);
}

fn cancel(registry: TestRegistry) {
    let location = open_upload(&registry, "app");
    registry.call("PATCH", &location).body("unwanted").send().expect(202);
    registry.delete(&location).expect(204);
    registry.get(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.call("PATCH", &location).body("more").send().error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.delete(&location).error(404, "BLOB_UPLOAD_UNKNOWN");
}

fn the_range_of_a_chunk_must_fit_its_length(registry: TestRegistry) {
    let location = open_upload(&registry, "app");
    for range in ["0-9", "0-1", "4-0", "x-y", "-3", "0-99999999999999999999"] {
        let answer = registry.call("PATCH", &location).header("content-range", range).body("1234").send();
        answer.error(400, "BLOB_UPLOAD_INVALID");
    }
    // Without a length only the stream itself tells.
    for (range, sent) in [("0-9", "1234"), ("0-1", "1234")] {
        let call = registry.call("PATCH", &location).header("content-range", range);
        call.chunked(vec![Bytes::from_static(sent.as_bytes())]).send().error(400, "SIZE_INVALID");
    }
    // Nothing of it counts.
    assert_eq!(registry.get(&location).expect(204).header("range"), "0-0");
    let blob = content("after all");
    registry.call("PUT", &completing(&location, &blob.digest)).body(blob.bytes.clone()).send().expect(201);
    assert_blob(&registry, "app", &blob.digest, &blob.bytes);
}

fn a_session_belongs_to_its_repository(registry: TestRegistry) {
    let location = open_upload(&registry, "team/app");
    let elsewhere = location.replace("/team/app/", "/team/other/");
    registry.get(&elsewhere).error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.call("PATCH", &elsewhere).body("x").send().error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.delete(&elsewhere).error(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(registry.get(&location).expect(204).header("range"), "0-0");
}

fn completing_takes_a_digest(registry: TestRegistry) {
    let location = open_upload(&registry, "app");
    registry.call("PUT", &location).body("x").send().error(400, "DIGEST_INVALID");
    registry.call("PUT", &format!("{location}&digest=nonsense")).body("x").send().error(400, "DIGEST_INVALID");
    let blob = content("x");
    registry.call("PUT", &completing(&location, &blob.digest)).body("x").send().expect(201);
}

/// A disk lost them, or the database is newer than they are: the answer 201 must be true all the same.
fn lost_bytes_are_pushed_again(registry: TestRegistry) {
    for cut in [None, Some(2)] {
        let blob = content(&format!("lost {cut:?}"));
        push_blob(&registry, "team/app", &blob);
        push_blob(&registry, "rival/app", &blob);
        let size = blob.bytes.len() as u64;
        for (path, _) in registry.stored_files().iter().filter(|(_, stored)| *stored == size) {
            let path = registry.data_dir().join("blobs").join(path);
            match cut {
                None => std::fs::remove_file(path).unwrap(),
                Some(left) => std::fs::File::options().write(true).open(path).unwrap().set_len(left).unwrap(),
            }
        }
        let location = open_upload(&registry, "team/app");
        let complete = completing(&location, &blob.digest);
        registry.call("PUT", &complete).body(blob.bytes.clone()).send().expect(201);
        for repository in ["team/app", "rival/app"] {
            assert_blob(&registry, repository, &blob.digest, &blob.bytes);
        }
    }
}
