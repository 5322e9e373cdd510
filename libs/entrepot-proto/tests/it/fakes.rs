//! A fake of every port that notes its calls and answers what the test laid ready.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::auth::{AuthError, Authorized, IssuedToken, RightsChanges, TokenRequest, TokenService};
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, ByteStream, WriterPosition};
use entrepot_core::ports::garbage::{Garbage, GarbageQueue};
use entrepot_core::ports::index::{IndexError, LocatedBlob, ManifestIndex, Referrer, StoredManifest, Visibility};
use entrepot_core::ports::uploads::{BlobLinks, Finish, UploadIndex};
use entrepot_core::{
    Algorithm, Digest, Manifest, Page, PageOf, Principal, Reference, RepositoryName, StorageKey, Tag, UploadId,
};
use entrepot_proto::client::{
    BlobLinksGrpcClient, BlobStoreGrpcClient, Connection, GarbageQueueGrpcClient, ManifestIndexGrpcClient,
    TokenServiceGrpcClient, UploadIndexGrpcClient,
};
use entrepot_proto::server::{Services, SignUrl};
use entrepot_proto::testing;
use futures_util::StreamExt;

#[derive(Default)]
pub struct Script {
    calls: Mutex<Vec<String>>,
    requests: Mutex<Vec<TokenRequest>>,
    answers: Mutex<VecDeque<Box<dyn Any + Send>>>,
}

impl Script {
    /// Lays an answer ready; it must have the type of the call that takes it.
    pub fn answer<T: Send + 'static>(&self, answer: T) {
        self.answers.lock().unwrap().push_back(Box::new(answer));
    }

    /// The last call, arguments in `Debug` form.
    pub fn last(&self) -> String {
        self.calls.lock().unwrap().last().cloned().unwrap_or_default()
    }

    pub fn last_request(&self) -> TokenRequest {
        self.requests.lock().unwrap().last().cloned().unwrap()
    }

    fn take<T: 'static>(&self, call: String) -> T {
        self.calls.lock().unwrap().push(call);
        let answer = self.answers.lock().unwrap().pop_front().expect("an answer was laid ready");
        *answer.downcast().expect("the answer has the type of the call")
    }
}

/// Signs by writing the key and size into the URL.
pub struct PlainUrls;

impl SignUrl for PlainUrls {
    fn sign_url(&self, key: StorageKey, size: u64) -> String {
        format!("http://data/{key}?size={size}")
    }
}

pub struct Clients {
    pub blobs: BlobStoreGrpcClient,
    pub index: ManifestIndexGrpcClient,
    pub uploads: UploadIndexGrpcClient,
    pub links: BlobLinksGrpcClient,
    pub garbage: GarbageQueueGrpcClient,
    pub tokens: TokenServiceGrpcClient,
}

impl Clients {
    pub fn over(connection: &Connection) -> Self {
        Self {
            blobs: BlobStoreGrpcClient::new(connection),
            index: ManifestIndexGrpcClient::new(connection),
            uploads: UploadIndexGrpcClient::new(connection),
            links: BlobLinksGrpcClient::new(connection),
            garbage: GarbageQueueGrpcClient::new(connection),
            tokens: TokenServiceGrpcClient::new(connection),
        }
    }
}

pub fn services(script: &Arc<Script>) -> Services {
    Services::new(testing::secret())
        .blob_store(script.clone(), Arc::new(PlainUrls))
        .manifest_index(script.clone())
        .upload_index(script.clone())
        .blob_links(script.clone())
        .garbage_queue(script.clone())
        .token_service(script.clone())
}

/// A script and clients of all its ports.
pub fn scripted() -> (Arc<Script>, Clients) {
    let script = Arc::new(Script::default());
    let connection = testing::connect(services(&script));
    (script, Clients::over(&connection))
}

async fn collect(mut body: ByteStream) -> Result<Bytes, BlobError> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk.map_err(BlobError::Body)?);
    }
    Ok(all.into())
}

#[async_trait]
impl BlobStore for Script {
    async fn append(&self, position: WriterPosition, body: ByteStream) -> Result<Appended, BlobError> {
        let body = collect(body).await?;
        self.take(format!("append {position:?} {body:?}"))
    }

    async fn seal(&self, position: WriterPosition, body: ByteStream, expected: Digest) -> Result<u64, BlobError> {
        let body = collect(body).await?;
        self.take(format!("seal {position:?} {body:?} {expected:?}"))
    }

    async fn open(&self, key: StorageKey) -> Result<BlobSource, BlobError> {
        self.take(format!("open {key:?}"))
    }

    async fn delete(&self, key: StorageKey) -> Result<(), BlobError> {
        self.take(format!("delete {key:?}"))
    }

    async fn list(&self, page: Page) -> Result<PageOf<StorageKey>, BlobError> {
        self.take(format!("list {page:?}"))
    }
}

#[async_trait]
impl ManifestIndex for Script {
    async fn resolve(&self, repository: &RepositoryName, reference: &Reference) -> Result<Digest, IndexError> {
        self.take(format!("resolve {repository:?} {reference:?}"))
    }

    async fn get_manifest(&self, repository: &RepositoryName, digest: Digest) -> Result<StoredManifest, IndexError> {
        self.take(format!("get_manifest {repository:?} {digest:?}"))
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: Manifest,
        tags: Vec<Tag>,
    ) -> Result<(), IndexError> {
        self.take(format!("put_manifest {repository:?} {manifest:?} {tags:?}"))
    }

    async fn delete_manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), IndexError> {
        self.take(format!("delete_manifest {repository:?} {reference:?}"))
    }

    async fn list_tags(&self, repository: &RepositoryName, page: Page) -> Result<PageOf<Tag>, IndexError> {
        self.take(format!("list_tags {repository:?} {page:?}"))
    }

    async fn list_repositories(
        &self,
        visibility: &Visibility,
        page: Page,
    ) -> Result<PageOf<RepositoryName>, IndexError> {
        self.take(format!("list_repositories {visibility:?} {page:?}"))
    }

    async fn list_referrers(
        &self,
        repository: &RepositoryName,
        subject: Digest,
        artifact_type: Option<&str>,
        page: Page,
    ) -> Result<PageOf<Referrer>, IndexError> {
        self.take(format!("list_referrers {repository:?} {subject:?} {artifact_type:?} {page:?}"))
    }
}

#[async_trait]
impl UploadIndex for Script {
    async fn open(
        &self,
        repository: &RepositoryName,
        principal: &Principal,
        algorithm: Algorithm,
    ) -> Result<UploadId, IndexError> {
        self.take(format!("open {repository:?} {principal:?} {algorithm:?}"))
    }

    async fn owner(&self, repository: &RepositoryName, id: UploadId) -> Result<Principal, IndexError> {
        self.take(format!("owner {repository:?} {id:?}"))
    }

    async fn status(&self, repository: &RepositoryName, id: UploadId) -> Result<u64, IndexError> {
        self.take(format!("status {repository:?} {id:?}"))
    }

    async fn begin_append(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
    ) -> Result<WriterPosition, IndexError> {
        self.take(format!("begin_append {repository:?} {id:?} {offset:?}"))
    }

    async fn save(&self, id: UploadId, before: &WriterPosition, offset: u64, state: Bytes) -> Result<(), IndexError> {
        self.take(format!("save {id:?} {before:?} {offset:?} {state:?}"))
    }

    async fn begin_finish(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        offset: Option<u64>,
        digest: Digest,
    ) -> Result<Finish, IndexError> {
        self.take(format!("begin_finish {repository:?} {id:?} {offset:?} {digest:?}"))
    }

    async fn finish(
        &self,
        id: UploadId,
        position: &WriterPosition,
        digest: Digest,
        size: u64,
        lost: Option<StorageKey>,
    ) -> Result<(), IndexError> {
        self.take(format!("finish {id:?} {position:?} {digest:?} {size:?} {lost:?}"))
    }

    async fn release(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        epoch: Option<u64>,
        keep: bool,
    ) -> Result<(), IndexError> {
        self.take(format!("release {repository:?} {id:?} {epoch:?} {keep:?}"))
    }
}

#[async_trait]
impl BlobLinks for Script {
    async fn locate(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        self.take(format!("locate {repository:?} {digest:?}"))
    }

    async fn stat(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        self.take(format!("stat {repository:?} {digest:?}"))
    }

    async fn mount(
        &self,
        repository: &RepositoryName,
        from: Option<&RepositoryName>,
        digest: Digest,
    ) -> Result<bool, IndexError> {
        self.take(format!("mount {repository:?} {from:?} {digest:?}"))
    }

    async fn unlink(&self, repository: &RepositoryName, digest: Digest) -> Result<(), IndexError> {
        self.take(format!("unlink {repository:?} {digest:?}"))
    }
}

#[async_trait]
impl GarbageQueue for Script {
    async fn lease(&self, limit: u32, hold: Duration, idle: Duration) -> Result<Vec<Garbage>, IndexError> {
        self.take(format!("lease {limit:?} {hold:?} {idle:?}"))
    }

    async fn acknowledge(&self, ids: &[u64]) -> Result<(), IndexError> {
        self.take(format!("acknowledge {ids:?}"))
    }
}

#[async_trait]
impl TokenService for Script {
    async fn issue(&self, request: TokenRequest) -> Result<IssuedToken, AuthError> {
        self.requests.lock().unwrap().push(request);
        self.take("issue".to_owned())
    }

    async fn authorize(&self, request: TokenRequest) -> Result<Authorized, AuthError> {
        self.requests.lock().unwrap().push(request);
        self.take("authorize".to_owned())
    }

    async fn key_set(&self) -> Result<String, AuthError> {
        self.take("key_set".to_owned())
    }

    async fn changes(&self, after: u64) -> Result<RightsChanges, AuthError> {
        self.take(format!("changes {after}"))
    }
}
