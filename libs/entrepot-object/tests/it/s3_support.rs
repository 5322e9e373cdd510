//! A bucket to test on, behind a proxy that can break requests.

use bytes::Bytes;
use entrepot_object::testing::s3_proxy::{S3Fault, S3Proxy, Target};
use entrepot_object::testing::s3_server::S3Server;
use entrepot_object::{
    Durability, ListQuery, ListScope, ObjectKey, ObjectStore, ObjectWriter, S3Options, S3Store, WriterState, contract,
};

/// Size of a part in these tests.
pub(crate) const PART: usize = 1000;

pub(crate) struct Bucket {
    pub(crate) server: S3Server,
    pub(crate) proxy: S3Proxy,
}

impl Bucket {
    pub(crate) async fn start() -> Self {
        let server = S3Server::start(PART).await.unwrap();
        let proxy = S3Proxy::start(server.address()).await.unwrap();
        Self { server, proxy }
    }

    pub(crate) fn options(&self) -> S3Options {
        S3Options { part_size: PART, prefix: "some/where/".to_owned(), ..self.server.options(Some(self.proxy.url())) }
    }

    /// One process's handle on the bucket: another one shares nothing with it.
    pub(crate) async fn store(&self) -> S3Store {
        S3Store::new(&self.options()).await
    }

    pub(crate) fn break_next(&self, method: &'static str, contains: &'static str, fault: S3Fault) {
        self.proxy.break_next(Target { method, contains }, fault);
    }

    /// Names below the prefix that are not objects: tails.
    pub(crate) fn tails(&self) -> usize {
        self.server.objects().iter().filter(|key| key.starts_with("some/where/.tails/")).count()
    }
}

/// `size` bytes in which no two parts are alike, other ones for each salt.
pub(crate) fn bytes(size: usize, salt: usize) -> Bytes {
    (0..size).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16) ^ salt) & 0xff).unwrap()).collect()
}

pub(crate) async fn write(writer: &mut dyn ObjectWriter, bytes: &Bytes) {
    for start in (0..bytes.len()).step_by(777) {
        let chunk = bytes.slice(start..bytes.len().min(start + 777));
        writer.write(vec![chunk]).await.unwrap();
    }
}

/// Appends as one request does.
pub(crate) async fn append(
    store: &S3Store,
    key: &ObjectKey,
    epoch: u64,
    from: &WriterState,
    bytes: &Bytes,
) -> WriterState {
    let mut writer = store.open_writer(key, epoch, from).await.unwrap();
    write(&mut *writer, bytes).await;
    writer.checkpoint(Durability::Durable).await.unwrap()
}

pub(crate) async fn contents(store: &S3Store, key: &ObjectKey) -> Vec<u8> {
    contract::fetch(&store.open(key).await.unwrap()).await.unwrap()
}

pub(crate) async fn unsealed(store: &S3Store) -> Vec<(String, u64)> {
    let query = ListQuery { scope: ListScope::Unsealed, prefix: String::new(), after: None, limit: 100 };
    let found = store.list(&query).await.unwrap();
    found.iter().map(|entry| (entry.key.to_string(), entry.meta.size)).collect()
}
