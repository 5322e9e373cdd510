//! A registry of one repository with one manifest, one blob and one open upload: small enough for a new one each run.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use api_gateway::{
    AccessMode, AdmissionLimits, Gateway, GatewayConfig, Ports, RateLimits, RedirectPolicy, Redirects, SegmentSize,
};
use async_trait::async_trait;
use blob_store::Blobs;
use bytes::Bytes;
use entrepot_core::ports::auth::{Authorized, Credentials, IssuedToken, RightsChanges, TokenRequest};
use entrepot_core::ports::blobs::{BlobStore, ByteStream, WriterPosition};
use entrepot_core::ports::index::{LocatedBlob, Referrer, StoredManifest, Visibility};
use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_core::ports::uploads::Finish;
use entrepot_core::ports::{AuthError, BlobLinks, IndexError, ManifestIndex, TokenService, UploadIndex};
use entrepot_core::{
    Algorithm, Digest, Manifest, MediaType, Page, PageOf, Principal, Reference, RepositoryName, StorageKey, Tag,
    TokenBuckets, UploadId,
};
use entrepot_object::MemoryStore;
use entrepot_runtime::network::Networks;
use entrepot_runtime::shutdown::{Drain, DrainConfig};
use entrepot_token::{KeySet, SessionSigner, Signer, SigningKey};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};

pub(crate) const SERVICE: &str = "registry";
const REPOSITORY: &str = "team/app";
const TAG: &str = "latest";
const BLOB: &[u8] = b"hello world";
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// The open upload, and where its first bytes lie.
const SESSION: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
const SESSION_KEY: &str = "data/67/67e55044-10b1-426f-9247-bb680e5fe0c8";
const SESSION_BYTES: &[u8] = b"hello";
/// The upload that a request starts.
const FRESH: &str = "68e55044-10b1-426f-9247-bb680e5fe0c8";
const FRESH_KEY: &str = "data/68/68e55044-10b1-426f-9247-bb680e5fe0c8";
const BLOB_KEY: &str = "data/69/69e55044-10b1-426f-9247-bb680e5fe0c8";

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(SigningKey::generate().unwrap(), SERVICE));

fn sessions() -> SessionSigner {
    SessionSigner::new(&[7; 32])
}

/// The `_sig` of the open upload.
pub(crate) fn signature() -> String {
    sessions().sign(&REPOSITORY.parse().unwrap(), SESSION.parse().unwrap())
}

/// A token for everything in the repository.
pub(crate) fn token() -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let scopes = ["repository:team/app:pull,push,delete", "registry:catalog:*"].map(|scope| scope.parse().unwrap());
    SIGNER.sign(&Principal::User("alice".into()), &scopes, &[], 0, now, 300).unwrap()
}

#[derive(Clone)]
pub(crate) struct Registry {
    blobs: Blobs,
    /// Where the open upload stands.
    session: WriterPosition,
}

impl Registry {
    pub(crate) async fn new() -> Self {
        let blobs = Blobs::new(Arc::new(MemoryStore::default()));
        blobs.seal(start(BLOB_KEY), body(BLOB), blob()).await.unwrap();
        let mut session = start(SESSION_KEY);
        let appended = blobs.append(session.clone(), body(SESSION_BYTES)).await.unwrap();
        (session.epoch, session.offset, session.state) = (2, appended.offset, appended.state);
        Self { blobs, session }
    }

    pub(crate) fn gateway(self, mode: AccessMode) -> Gateway {
        let config = GatewayConfig {
            mode,
            segment: SegmentSize::LARGEST_PART,
            service: SERVICE.into(),
            public_url: None,
            tls: true,
            sessions: sessions(),
            pull: RedirectPolicy {
                redirects: Redirects::Never,
                internal_networks: Networks::default(),
                internal_domains: Vec::new(),
                min_bytes: 0,
            },
            limits: AdmissionLimits {
                requests: 100,
                bytes_in_flight: 1 << 30,
                tenant_requests: None,
                tenant_bytes_in_flight: None,
                queue_timeout: Duration::ZERO,
                queued: 1,
            },
            rates: RateLimits::default(),
            data_tls: None,
        };
        let this = Arc::new(self);
        let ports = Ports {
            manifests: this.clone(),
            uploads: this.clone(),
            links: this.clone(),
            blobs: Arc::new(this.blobs.clone()),
            tokens: this.clone(),
            notices: this,
            budget: Arc::new(TokenBuckets::new()),
        };
        Gateway::new(&config, ports, Drain::new(DrainConfig::IMMEDIATE))
    }

    /// Where an upload of the repository stands.
    fn upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
    ) -> Result<WriterPosition, IndexError> {
        let position = match id.to_string().as_str() {
            SESSION if repository.as_str() == REPOSITORY => self.session.clone(),
            FRESH => start(FRESH_KEY),
            _ => return Err(IndexError::UploadUnknown),
        };
        match offset {
            Some(offset) if offset != position.offset => Err(IndexError::UploadOffset { offset: position.offset }),
            _ => Ok(position),
        }
    }
}

fn start(key: &str) -> WriterPosition {
    let key: StorageKey = key.parse().unwrap();
    WriterPosition { key, algorithm: Algorithm::Sha256, epoch: 1, offset: 0, state: Bytes::new() }
}

fn body(bytes: &'static [u8]) -> ByteStream {
    stream::iter([Ok(Bytes::from_static(bytes))]).boxed()
}

fn blob() -> Digest {
    Digest::of(Algorithm::Sha256, BLOB)
}

fn manifest() -> Digest {
    Digest::of(Algorithm::Sha256, MANIFEST.as_bytes())
}

fn known(repository: &RepositoryName) -> Result<(), IndexError> {
    match repository.as_str() {
        REPOSITORY => Ok(()),
        _ => Err(IndexError::RepositoryUnknown(repository.clone())),
    }
}

/// One entry; a page after something goes on for ever, so that what a client sent comes back in a `Link`.
fn page<T>(item: T, page: Page) -> PageOf<T> {
    assert!(page.limit <= Page::MAX_LIMIT);
    PageOf { items: vec![item], next: page.after }
}

#[async_trait]
impl ManifestIndex for Registry {
    async fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Digest, IndexError> {
        known(repository)?;
        match reference {
            Reference::Tag(tag) if tag.as_str() == TAG => Ok(manifest()),
            Reference::Digest(digest) if *digest == manifest() => Ok(*digest),
            Reference::Tag(_) | Reference::Digest(_) => Err(IndexError::ManifestUnknown(reference.clone())),
        }
    }

    async fn get_manifest(&self, repository: &RepositoryName, digest: Digest) -> Result<StoredManifest, IndexError> {
        let digest = self.resolve(repository, &Reference::Digest(digest)).await?;
        let media_type = MediaType::OCI_INDEX.parse().unwrap();
        Ok(StoredManifest { digest, media_type, payload: Bytes::from_static(MANIFEST.as_bytes()) })
    }

    async fn put_manifest(&self, _: &RepositoryName, manifest: Manifest, _: Vec<Tag>) -> Result<(), IndexError> {
        let missing: Vec<Digest> =
            manifest.references.iter().map(|reference| reference.digest).filter(|digest| *digest != blob()).collect();
        if missing.is_empty() { Ok(()) } else { Err(IndexError::ReferencesMissing(missing)) }
    }

    async fn delete_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), IndexError> {
        self.resolve(repository, reference).await.map(drop)
    }

    async fn list_tags(&self, repository: &RepositoryName, asked: Page) -> Result<PageOf<Tag>, IndexError> {
        known(repository)?;
        Ok(page(TAG.parse().unwrap(), asked))
    }

    async fn list_repositories(&self, _: &Visibility, asked: Page) -> Result<PageOf<RepositoryName>, IndexError> {
        Ok(page(REPOSITORY.parse().unwrap(), asked))
    }

    async fn list_referrers(
        &self,
        _: &RepositoryName,
        _: Digest,
        artifact_type: Option<&str>,
        asked: Page,
    ) -> Result<PageOf<Referrer>, IndexError> {
        let referrer = Referrer {
            digest: manifest(),
            media_type: MediaType::OCI_INDEX.parse().unwrap(),
            size: MANIFEST.len() as u64,
            artifact_type: artifact_type.map(str::to_owned),
            annotations: [("name".to_owned(), "value".to_owned())].into(),
        };
        Ok(page(referrer, asked))
    }
}

#[async_trait]
impl UploadIndex for Registry {
    async fn open(&self, _: &RepositoryName, _: &Principal, _: Algorithm) -> Result<UploadId, IndexError> {
        Ok(FRESH.parse().unwrap())
    }

    async fn owner(&self, repository: &RepositoryName, id: UploadId) -> Result<Principal, IndexError> {
        self.upload(repository, id, None).map(|_| Principal::User("alice".into()))
    }

    async fn status(&self, repository: &RepositoryName, id: UploadId) -> Result<u64, IndexError> {
        self.upload(repository, id, None).map(|position| position.offset)
    }

    async fn begin_append(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
    ) -> Result<WriterPosition, IndexError> {
        self.upload(repository, id, offset)
    }

    async fn save(&self, _: UploadId, before: &WriterPosition, offset: u64, state: Bytes) -> Result<(), IndexError> {
        assert!(offset >= before.offset && !state.is_empty());
        Ok(())
    }

    async fn begin_finish(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
        _: Digest,
    ) -> Result<Finish, IndexError> {
        self.upload(repository, id, offset).map(|position| Finish::Write { position, known: None })
    }

    async fn finish(
        &self,
        _: UploadId,
        position: &WriterPosition,
        _: Digest,
        size: u64,
        _: Option<StorageKey>,
    ) -> Result<(), IndexError> {
        assert_eq!(self.blobs.open(position.key).await.unwrap().size(), size);
        Ok(())
    }

    async fn release(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        _: Option<u64>,
        _: bool,
    ) -> Result<(), IndexError> {
        self.upload(repository, id, None).map(drop)
    }
}

#[async_trait]
impl BlobLinks for Registry {
    async fn locate(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        known(repository)?;
        if digest != blob() {
            return Err(IndexError::BlobUnknown(digest));
        }
        Ok(LocatedBlob { size: BLOB.len() as u64, key: BLOB_KEY.parse().unwrap() })
    }

    async fn stat(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        self.locate(repository, digest).await
    }

    async fn mount(
        &self,
        _: &RepositoryName,
        from: Option<&RepositoryName>,
        digest: Digest,
    ) -> Result<bool, IndexError> {
        from.map_or(Ok(()), known)?;
        Ok(digest == blob())
    }

    async fn unlink(&self, repository: &RepositoryName, digest: Digest) -> Result<(), IndexError> {
        match self.locate(repository, digest).await {
            Ok(_) => Err(IndexError::Referenced { digest, by: manifest() }),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl TokenService for Registry {
    async fn issue(&self, _: TokenRequest) -> Result<IssuedToken, AuthError> {
        panic!("a gateway issues no tokens");
    }

    /// Grants everything to alice and nothing to bob.
    async fn authorize(&self, request: TokenRequest) -> Result<Authorized, AuthError> {
        let Credentials::Password { name, password } = request.credentials else {
            panic!("only names and passwords are sent straight to a registry");
        };
        let granted = match (name.as_str(), password.as_str()) {
            ("alice", "secret") => request.scopes,
            ("bob", "secret") => Vec::new(),
            ("slow", _) => return Err(AuthError::TooManyAttempts { retry_after: Duration::from_secs(1) }),
            _ => return Err(AuthError::InvalidCredentials),
        };
        Ok(Authorized { principal: Principal::User(name), granted })
    }

    async fn key_set(&self) -> Result<String, AuthError> {
        Ok(KeySet::new([SIGNER.key().public()]).to_json())
    }

    async fn changes(&self, after: u64) -> Result<RightsChanges, AuthError> {
        Ok(RightsChanges { changes: Vec::new(), cursor: after, more: false })
    }
}

impl Notices for Registry {
    fn publish(&self, _: Notice) {}

    fn subscribe(&self) -> BoxStream<'static, Notice> {
        stream::pending().boxed()
    }
}
