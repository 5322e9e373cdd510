//! Every argument and every answer of every call, any value.

use bytes::Bytes;
use entrepot_core::PageOf;
use entrepot_core::ports::auth::{
    AuthError, Authorized, Credentials, IssuedToken, RightsChange, RightsChanges, TokenRequest, TokenService,
};
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, ByteStream};
use entrepot_core::ports::garbage::{Garbage, GarbageQueue};
use entrepot_core::ports::index::{IndexError, LocatedBlob, ManifestIndex, StoredManifest};
use entrepot_core::ports::uploads::{BlobLinks, Finish, UploadIndex};
use futures_util::{StreamExt, stream};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::fakes::{Clients, Script, scripted};
use crate::generators::*;

fn run<F: Future<Output = ()>>(test: impl FnOnce(std::sync::Arc<Script>, Clients) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (script, clients) = scripted();
        test(script, clients).await;
    });
}

fn body(bytes: &Bytes) -> ByteStream {
    stream::iter([Ok(bytes.clone())]).boxed()
}

fn index<T>(value: T) -> Result<T, IndexError> {
    Ok(value)
}

fn blob<T>(value: T) -> Result<T, BlobError> {
    Ok(value)
}

fn auth<T>(value: T) -> Result<T, AuthError> {
    Ok(value)
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn blob_store(
        position in position(), bytes in bytes(), state in bytes(), digest in digest(), number in any::<u64>(),
        keys in vec(key(), 0..5), page in page(), next in option::of(text()),
    ) {
        run(|script, clients| async move {
            let appended = Appended { offset: number, state };
            script.answer(blob(appended.clone()));
            assert_eq!(clients.blobs.append(position.clone(), body(&bytes)).await.unwrap(), appended);
            assert_eq!(script.last(), format!("append {position:?} {bytes:?}"));

            script.answer(blob(number));
            assert_eq!(clients.blobs.seal(position.clone(), body(&bytes), digest).await.unwrap(), number);
            assert_eq!(script.last(), format!("seal {position:?} {bytes:?} {digest:?}"));

            script.answer(blob(()));
            clients.blobs.delete(position.key).await.unwrap();
            assert_eq!(script.last(), format!("delete {:?}", position.key));

            let keys = PageOf { items: keys, next };
            script.answer(blob(keys.clone()));
            assert_eq!(clients.blobs.list(page.clone()).await.unwrap(), keys);
            assert_eq!(script.last(), format!("list {page:?}"));
        });
    }

    #[test]
    fn manifests(
        name in repository(), reference in reference(), digest in digest(), manifest in manifest(),
        tags in vec(tag(), 0..5),
    ) {
        run(|script, clients| async move {
            script.answer(index(digest));
            assert_eq!(clients.index.resolve(&name, &reference).await.unwrap(), digest);
            assert_eq!(script.last(), format!("resolve {name:?} {reference:?}"));

            let stored =
                StoredManifest { digest, media_type: manifest.media_type.clone(), payload: manifest.payload.clone() };
            script.answer(index(stored.clone()));
            assert_eq!(clients.index.get_manifest(&name, digest).await.unwrap(), stored);
            assert_eq!(script.last(), format!("get_manifest {name:?} {digest:?}"));

            script.answer(index(()));
            clients.index.put_manifest(&name, manifest.clone(), tags.clone()).await.unwrap();
            assert_eq!(script.last(), format!("put_manifest {name:?} {manifest:?} {tags:?}"));

            script.answer(index(()));
            clients.index.delete_manifest(&name, &reference).await.unwrap();
            assert_eq!(script.last(), format!("delete_manifest {name:?} {reference:?}"));
        });
    }

    #[test]
    fn lists(
        name in repository(), page in page(), next in option::of(text()), tags in vec(tag(), 0..5),
        names in vec(repository(), 0..5), visibility in visibility(), referrers in vec(referrer(), 0..5),
        subject in digest(), kind in option::of(text()),
    ) {
        run(|script, clients| async move {
            let tags = PageOf { items: tags, next: next.clone() };
            script.answer(index(tags.clone()));
            assert_eq!(clients.index.list_tags(&name, page.clone()).await.unwrap(), tags);
            assert_eq!(script.last(), format!("list_tags {name:?} {page:?}"));

            let names = PageOf { items: names, next: next.clone() };
            script.answer(index(names.clone()));
            assert_eq!(clients.index.list_repositories(&visibility, page.clone()).await.unwrap(), names);
            assert_eq!(script.last(), format!("list_repositories {visibility:?} {page:?}"));

            let referrers = PageOf { items: referrers, next };
            script.answer(index(referrers.clone()));
            let listed = clients.index.list_referrers(&name, subject, kind.as_deref(), page.clone()).await;
            assert_eq!(listed.unwrap(), referrers);
            assert_eq!(script.last(), format!("list_referrers {name:?} {subject:?} {kind:?} {page:?}"));
        });
    }

    #[test]
    fn uploads(
        name in repository(), who in principal(), algorithm in algorithm(), id in upload_id(), digest in digest(),
        position in position(), offset in option::of(any::<u64>()), number in any::<u64>(), state in bytes(),
        keep in any::<bool>(), lost in option::of(key()),
    ) {
        run(|script, clients| async move {
            let uploads = &clients.uploads;
            script.answer(index(id));
            assert_eq!(uploads.open(&name, &who, algorithm).await.unwrap(), id);
            assert_eq!(script.last(), format!("open {name:?} {who:?} {algorithm:?}"));

            script.answer(index(who.clone()));
            assert_eq!(uploads.owner(&name, id).await.unwrap(), who);
            assert_eq!(script.last(), format!("owner {name:?} {id:?}"));

            script.answer(index(number));
            assert_eq!(uploads.status(&name, id).await.unwrap(), number);
            assert_eq!(script.last(), format!("status {name:?} {id:?}"));

            script.answer(index(position.clone()));
            assert_eq!(uploads.begin_append(&name, id, offset).await.unwrap(), position);
            assert_eq!(script.last(), format!("begin_append {name:?} {id:?} {offset:?}"));

            script.answer(index(()));
            uploads.save(id, &position, number, state.clone()).await.unwrap();
            assert_eq!(script.last(), format!("save {id:?} {position:?} {number:?} {state:?}"));

            let known = lost.map(|key| LocatedBlob { size: number, key });
            for finish in [Finish::Write { position: position.clone(), known }, Finish::Done(digest)] {
                script.answer(index(finish.clone()));
                assert_eq!(uploads.begin_finish(&name, id, offset, digest).await.unwrap(), finish);
                assert_eq!(script.last(), format!("begin_finish {name:?} {id:?} {offset:?} {digest:?}"));
            }

            script.answer(index(()));
            uploads.finish(id, &position, digest, number, lost).await.unwrap();
            assert_eq!(script.last(), format!("finish {id:?} {position:?} {digest:?} {number:?} {lost:?}"));

            script.answer(index(()));
            let held = keep.then_some(7);
            uploads.release(&name, id, held, keep).await.unwrap();
            assert_eq!(script.last(), format!("release {name:?} {id:?} {held:?} {keep:?}"));
        });
    }

    #[test]
    fn links_and_garbage(
        name in repository(), from in option::of(repository()), digest in digest(), size in any::<u64>(), key in key(),
        mounted in any::<bool>(), limit in any::<u32>(), hold in duration(), idle in duration(),
        reasons in vec(text(), 0..4), ids in vec(any::<u64>(), 0..5),
    ) {
        run(|script, clients| async move {
            let blob = LocatedBlob { size, key };
            script.answer(index(blob));
            assert_eq!(clients.links.locate(&name, digest).await.unwrap(), blob);
            assert_eq!(script.last(), format!("locate {name:?} {digest:?}"));

            script.answer(index(blob));
            assert_eq!(clients.links.stat(&name, digest).await.unwrap(), blob);
            assert_eq!(script.last(), format!("stat {name:?} {digest:?}"));

            script.answer(index(mounted));
            assert_eq!(clients.links.mount(&name, from.as_ref(), digest).await.unwrap(), mounted);
            assert_eq!(script.last(), format!("mount {name:?} {from:?} {digest:?}"));

            script.answer(index(()));
            clients.links.unlink(&name, digest).await.unwrap();
            assert_eq!(script.last(), format!("unlink {name:?} {digest:?}"));

            let items: Vec<Garbage> = reasons.into_iter().map(|reason| Garbage { id: size, key, reason }).collect();
            script.answer(index(items.clone()));
            assert_eq!(clients.garbage.lease(limit, hold, idle).await.unwrap(), items);
            assert_eq!(script.last(), format!("lease {limit:?} {hold:?} {idle:?}"));

            script.answer(index(()));
            clients.garbage.acknowledge(&ids).await.unwrap();
            assert_eq!(script.last(), format!("acknowledge {ids:?}"));
        });
    }

    #[test]
    fn tokens(
        request in token_request(), token in text(), refresh_token in option::of(text()), expires_in in duration(),
        issued_at in any::<u64>(), principal in principal(), granted in vec(scope(), 0..5),
    ) {
        run(|script, clients| async move {
            let issued = IssuedToken { token: token.clone(), expires_in, issued_at, refresh_token };
            script.answer(auth(issued.clone()));
            let answer = clients.tokens.issue(request.clone()).await.unwrap();
            assert_eq!(format!("{answer:?}"), format!("{issued:?}"));
            assert_same(&script.last_request(), &request);

            let authorized = Authorized { principal, granted };
            script.answer(auth(authorized.clone()));
            assert_eq!(clients.tokens.authorize(request.clone()).await.unwrap(), authorized);
            assert_same(&script.last_request(), &request);

            script.answer(auth(token.clone()));
            assert_eq!(clients.tokens.key_set().await.unwrap(), token);
        });
    }

    #[test]
    fn rights(
        after in any::<u64>(), cursor in any::<u64>(), more in any::<bool>(),
        changes in vec((principal(), any::<u64>()), 0..5),
    ) {
        run(|script, clients| async move {
            let changes = changes.into_iter().map(|(subject, generation)| RightsChange { subject, generation });
            let changes = RightsChanges { changes: changes.collect(), cursor, more };
            script.answer(auth(changes.clone()));
            assert_eq!(clients.tokens.changes(after).await.unwrap(), changes);
            assert_eq!(script.last(), format!("changes {after}"));
        });
    }
}

/// `Debug` leaves the secrets out.
fn assert_same(left: &TokenRequest, right: &TokenRequest) {
    let secret = |credentials: &Credentials| match credentials {
        Credentials::Anonymous => None,
        Credentials::Password { password, .. } => Some(password.clone()),
        Credentials::Refresh(token) => Some(token.clone()),
    };
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
    assert_eq!(secret(&left.credentials), secret(&right.credentials));
}

#[tokio::test]
async fn an_object_is_read_through_a_signed_url_wherever_it_lies() {
    let (script, clients) = scripted();
    let key = entrepot_core::StorageKey::random();
    let file = std::sync::Arc::new(std::fs::File::open("/dev/null").unwrap());
    let elsewhere = BlobSource::Url { url: "https://s3/x?y".to_owned(), size: 7 };
    let signed = |size| format!("http://data/{key}?size={size}");
    let cases = [
        (BlobSource::Memory(Bytes::from_static(b"abc")), signed(3), 3),
        (BlobSource::File { file, size: u64::MAX }, signed(u64::MAX), u64::MAX),
        (elsewhere, "https://s3/x?y".to_owned(), 7),
    ];
    for (source, expected_url, expected_size) in cases {
        script.answer(blob(source));
        match clients.blobs.open(key).await.unwrap() {
            BlobSource::Url { url, size } => assert_eq!((url, size), (expected_url, expected_size)),
            other => panic!("not a URL: {other:?}"),
        }
    }
}
