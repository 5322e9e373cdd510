//! The OCI Distribution API as typed calls; every call states what it expects.

use std::io::Read;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::digest;
use crate::http::{Body, Client, Request, Response};
use crate::image::{Blob, Image};

/// What a manifest GET says it takes.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest as the registry gave it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `Docker-Content-Digest`, checked against the bytes.
    pub digest: String,
    /// `Content-Type`.
    pub media_type: String,
    /// The stored bytes.
    pub bytes: Vec<u8>,
}

/// An open upload session.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The `Location` for the next request.
    pub location: String,
    /// Bytes the registry said it has.
    pub offset: u64,
}

/// Calls to one registry.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

impl Api {
    /// Calls through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client below.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Pushes a blob in one PUT.
    ///
    /// # Errors
    /// Unless the registry stores it.
    pub fn push_blob(&self, repository: &str, blob: &Blob) -> Result<()> {
        let upload = self.open_upload(repository)?;
        self.finish_upload(&upload, &blob.digest, &blob.bytes)
    }

    /// Pushes what a manifest needs and then the manifest.
    ///
    /// # Errors
    /// Unless the registry stores all of it.
    pub fn push_image(&self, repository: &str, reference: &str, image: &Image) -> Result<()> {
        for blob in image.blobs() {
            self.push_blob(repository, blob)?;
        }
        self.put_manifest(repository, reference, &image.manifest).map(drop)
    }

    /// Puts a manifest and checks the digest in the answer.
    ///
    /// # Errors
    /// Unless the registry stores it.
    pub fn put_manifest(&self, repository: &str, reference: &str, manifest: &Blob) -> Result<Response> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let response = self
            .client
            .send(
                Request::new("PUT", &path)
                    .header("Content-Type", &manifest.media_type)
                    .body(Body::Bytes(&manifest.bytes)),
            )?
            .expect(&[201])?;
        if response.header("docker-content-digest") != Some(&manifest.digest) {
            bail!("PUT {path} answered another digest: {:?}", response.headers);
        }
        Ok(response)
    }

    /// A manifest, its digest checked; `None` for 404.
    ///
    /// # Errors
    /// Any other answer, and bytes that do not match their digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Result<Option<Manifest>> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let response = self.client.send(Request::new("GET", &path).header("Accept", ACCEPT))?.expect(&[200, 404])?;
        if response.status == 404 {
            return Ok(None);
        }
        let header = |name: &str| response.header(name).map(str::to_owned);
        let told = header("docker-content-digest").context("no Docker-Content-Digest")?;
        if told != digest(&response.body) {
            bail!("GET {path}: the bytes are not those of {told}");
        }
        Ok(Some(Manifest {
            digest: told,
            media_type: header("content-type").context("no Content-Type")?,
            bytes: response.body,
        }))
    }

    /// A blob's bytes, its digest checked; `None` for 404.
    ///
    /// # Errors
    /// Any other answer, and bytes that do not match their digest.
    pub fn blob(&self, repository: &str, wanted: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("/v2/{repository}/blobs/{wanted}");
        let response = self.client.send(Request::new("GET", &path))?.expect(&[200, 404])?;
        if response.status == 404 {
            return Ok(None);
        }
        if digest(&response.body) != wanted {
            bail!("GET {path}: wrong bytes");
        }
        Ok(Some(response.body))
    }

    /// True when a HEAD finds the blob.
    ///
    /// # Errors
    /// Any answer but 200 and 404.
    pub fn has_blob(&self, repository: &str, wanted: &str) -> Result<bool> {
        let path = format!("/v2/{repository}/blobs/{wanted}");
        let response = self.client.send(Request::new("HEAD", path))?.expect(&[200, 404])?;
        Ok(response.status == 200)
    }

    /// Deletes a manifest or a tag; false for 404.
    ///
    /// # Errors
    /// Any answer but 202 and 404.
    pub fn delete_manifest(&self, repository: &str, reference: &str) -> Result<bool> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let response = self.client.send(Request::new("DELETE", path))?.expect(&[202, 404])?;
        Ok(response.status == 202)
    }

    /// Asks to mount; true when the registry did, false when it offered an upload instead.
    ///
    /// # Errors
    /// Any answer but 201 and 202.
    pub fn mount(&self, repository: &str, wanted: &str, from: &str) -> Result<bool> {
        let path = format!("/v2/{repository}/blobs/uploads/?mount={wanted}&from={from}");
        let response = self.client.send(Request::new("POST", path))?.expect(&[201, 202])?;
        Ok(response.status == 201)
    }

    /// The tags of a repository; empty for one that is unknown.
    ///
    /// # Errors
    /// Any answer but 200 and 404.
    pub fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let path = format!("/v2/{repository}/tags/list");
        let response = self.client.send(Request::new("GET", path))?.expect(&[200, 404])?;
        if response.status == 404 {
            return Ok(Vec::new());
        }
        Ok(response.json()?["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect())
    }

    /// Digests of what refers to `subject`, by the referrers API or by the fallback tag of registries
    /// without one.
    ///
    /// # Errors
    /// When neither gives an index.
    pub fn referrers(&self, repository: &str, subject: &str) -> Result<Vec<String>> {
        let path = format!("/v2/{repository}/referrers/{subject}");
        let response = self.client.send(Request::new("GET", path))?.expect(&[200, 404])?;
        let index: Value = if response.status == 200 {
            response.json()?
        } else {
            let tag = subject.replacen(':', "-", 1);
            match self.manifest(repository, &tag)? {
                Some(manifest) => serde_json::from_slice(&manifest.bytes)?,
                None => return Ok(Vec::new()),
            }
        };
        Ok(index["manifests"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["digest"].as_str().map(str::to_owned))
            .collect())
    }

    /// Pulls everything below `reference` and checks every digest; the digest of the root.
    ///
    /// # Errors
    /// When anything is missing or wrong.
    pub fn verify(&self, repository: &str, reference: &str) -> Result<String> {
        let manifest =
            self.manifest(repository, reference)?.with_context(|| format!("{repository}:{reference} is missing"))?;
        let content: Value = serde_json::from_slice(&manifest.bytes)?;
        if let Some(children) = content["manifests"].as_array() {
            for child in children {
                self.verify(repository, child["digest"].as_str().context("no digest")?)?;
            }
            return Ok(manifest.digest);
        }
        for blob in blobs_of(&content) {
            self.blob(repository, &blob)?.with_context(|| format!("{repository}:{reference} lacks {blob}"))?;
        }
        Ok(manifest.digest)
    }

    /// Opens an upload session.
    ///
    /// # Errors
    /// Any answer but 202.
    pub fn open_upload(&self, repository: &str) -> Result<Upload> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let response = self.client.send(Request::new("POST", path))?.expect(&[202])?;
        Ok(Upload { location: location(&response)?, offset: 0 })
    }

    /// Appends one chunk at the session's offset and takes over what the registry acknowledged.
    ///
    /// # Errors
    /// Any answer but 202.
    pub fn append(&self, upload: &mut Upload, chunk: &[u8]) -> Result<()> {
        let last = upload.offset + chunk.len() as u64 - 1;
        let response = self
            .client
            .send(
                Request::new("PATCH", &upload.location)
                    .header("Content-Type", "application/octet-stream")
                    .header("Content-Range", format!("{}-{last}", upload.offset))
                    .body(Body::Bytes(chunk)),
            )?
            .expect(&[202])?;
        *upload = acknowledged(&response)?;
        Ok(())
    }

    /// Appends a stream of unknown length, as docker does.
    ///
    /// # Errors
    /// Any answer but 202.
    pub fn append_stream(&self, upload: &mut Upload, content: &mut dyn Read) -> Result<()> {
        let response = self
            .client
            .send(
                Request::new("PATCH", &upload.location)
                    .header("Content-Type", "application/octet-stream")
                    .body(Body::Chunked(content)),
            )?
            .expect(&[202])?;
        *upload = acknowledged(&response)?;
        Ok(())
    }

    /// Asks the registry how far the session is.
    ///
    /// # Errors
    /// Any answer but 204.
    pub fn upload_status(&self, upload: &Upload) -> Result<Upload> {
        let response = self.client.send(Request::new("GET", &upload.location))?.expect(&[204])?;
        acknowledged(&response)
    }

    /// Ends the session with its last bytes.
    ///
    /// # Errors
    /// Any answer but 201.
    pub fn finish_upload(&self, upload: &Upload, wanted: &str, rest: &[u8]) -> Result<()> {
        self.put_upload(upload, wanted, Body::Bytes(rest)).map(drop)
    }

    /// Ends the session with a body of any kind.
    ///
    /// # Errors
    /// Any answer but 201.
    pub fn put_upload(&self, upload: &Upload, wanted: &str, body: Body<'_>) -> Result<Response> {
        let path = with_digest(&upload.location, wanted);
        self.client
            .send(Request::new("PUT", path).header("Content-Type", "application/octet-stream").body(body))?
            .expect(&[201])
    }
}

/// `location` with `digest=` added to whatever it has.
#[must_use]
pub fn with_digest(location: &str, wanted: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={wanted}")
}

/// The digests of all blobs that an image manifest names.
pub fn blobs_of(manifest: &Value) -> impl Iterator<Item = String> {
    std::iter::once(&manifest["config"])
        .chain(manifest["layers"].as_array().into_iter().flatten())
        .filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned))
}

fn acknowledged(response: &Response) -> Result<Upload> {
    let range = response.header("range").context("no Range")?;
    let last: u64 = range
        .trim_start_matches("bytes=")
        .split_once('-')
        .and_then(|(_, last)| last.parse().ok())
        .with_context(|| format!("not a range: {range:?}"))?;
    // An empty session also says 0-0; a session of one byte cannot be told from it.
    let offset = if last == 0 { 0 } else { last + 1 };
    Ok(Upload { location: location(response)?, offset })
}

/// The path of `Location`, whether or not it came with a host.
fn location(response: &Response) -> Result<String> {
    let value = response.header("location").context("no Location")?;
    Ok(match value.split_once("://") {
        Some((_, rest)) => rest[rest.find('/').context("Location has no path")?..].to_owned(),
        None => value.to_owned(),
    })
}
