//! Uploads by the registry API.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, StatusCode, header};

use crate::corpus::{Blob, Corpus, MANIFEST_TYPE, REPOSITORY, TAG, TAGS_REPOSITORY, manifest};
use crate::http_client::{Answer, Client};
use crate::scenario::PushMode;

/// Size of one PATCH of a chunked upload.
const CHUNK_BYTES: usize = 16 << 20;
const BINARY: (&str, &str) = ("content-type", "application/octet-stream");
/// How many tags to try to set by one manifest PUT: what fits a request line of 8 KiB, then what the
/// specification asks of a registry, then what every registry can.
const TAG_BATCHES: [u32; 3] = [400, 10, 1];

/// Uploads `blob` into `repository`.
pub(crate) fn blob(client: &mut Client, repository: &str, blob: &Blob, mode: PushMode) -> anyhow::Result<()> {
    let start = client
        .send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), &[], Bytes::new())?
        .expect(StatusCode::ACCEPTED)?;
    let mut session = location(&start)?;
    let last = match mode {
        PushMode::Monolithic => blob.bytes.clone(),
        PushMode::Chunked => {
            let mut from = 0;
            while from < blob.bytes.len() {
                let to = blob.bytes.len().min(from + CHUNK_BYTES);
                let range = format!("{from}-{}", to - 1);
                let headers = [BINARY, ("content-range", range.as_str())];
                let answer = client
                    .send(Method::PATCH, &session, &headers, blob.bytes.slice(from..to))?
                    .expect(StatusCode::ACCEPTED)?;
                session = location(&answer)?;
                from = to;
            }
            Bytes::new()
        }
    };
    let separator = if session.contains('?') { '&' } else { '?' };
    let path = format!("{session}{separator}digest={}", blob.digest);
    client.send(Method::PUT, &path, &[BINARY], last)?.expect(StatusCode::CREATED)?;
    Ok(())
}

/// Path and query of the `Location` header, which may be relative or absolute.
fn location(answer: &Answer) -> anyhow::Result<String> {
    let value = answer.headers.get(header::LOCATION).context("the answer has no Location")?;
    let uri: http::Uri = value.to_str()?.parse().context("the Location is no URI")?;
    Ok(uri.path_and_query().context("the Location has no path")?.to_string())
}

/// Uploads the whole image.
pub(crate) fn image(client: &mut Client, corpus: &Corpus) -> anyhow::Result<()> {
    for content in [&corpus.config, &corpus.small, &corpus.large] {
        blob(client, REPOSITORY, content, PushMode::Monolithic)?;
    }
    let path = format!("/v2/{REPOSITORY}/manifests/{TAG}");
    put_manifest(client, &path, corpus.manifest.bytes.clone())?.expect(StatusCode::CREATED)?;
    Ok(())
}

fn put_manifest(client: &mut Client, path: &str, bytes: Bytes) -> anyhow::Result<Answer> {
    client.send(Method::PUT, path, &[("content-type", MANIFEST_TYPE)], bytes)
}

/// Name of the tag with this number; names sort as the numbers do.
pub(crate) fn tag_name(number: u32) -> String {
    format!("t{number:07}")
}

/// Sets `count` tags on one image, as many at a time as the server takes.
pub(crate) fn tags(client: &mut Client, corpus: &Corpus, count: u32) -> anyhow::Result<()> {
    for content in [&corpus.config, &corpus.small] {
        blob(client, TAGS_REPOSITORY, content, PushMode::Monolithic)?;
    }
    let image = Blob::new(manifest(&corpus.config, &[&corpus.small], 0));
    let mut batches = TAG_BATCHES.iter();
    let mut batch = *batches.next().context("there is a batch size")?;
    let mut proven = false;
    let mut next = 0;
    while next < count {
        let end = count.min(next + batch);
        let path = if batch == 1 {
            format!("/v2/{TAGS_REPOSITORY}/manifests/{}", tag_name(next))
        } else {
            let parameters: Vec<String> = (next..end).map(|number| format!("tag={}", tag_name(number))).collect();
            format!("/v2/{TAGS_REPOSITORY}/manifests/{}?{}", image.digest, parameters.join("&"))
        };
        let answer = put_manifest(client, &path, image.bytes.clone())?;
        // A registry that does not know the parameter ignores it and still answers with success.
        proven = answer.status.is_success() && (proven || batch == 1 || has_tag(client, &tag_name(end - 1))?);
        match (proven, batches.clone().next()) {
            (true, _) => next = end,
            (false, Some(&smaller)) => {
                batch = smaller;
                batches.next();
            }
            (false, None) => bail!("tag {} was refused with {}", tag_name(next), answer.status),
        }
    }
    Ok(())
}

fn has_tag(client: &mut Client, tag: &str) -> anyhow::Result<bool> {
    let path = format!("/v2/{TAGS_REPOSITORY}/manifests/{tag}");
    Ok(client.get(&path, Some(("accept", MANIFEST_TYPE)))?.status.is_success())
}

#[cfg(test)]
mod tests;
