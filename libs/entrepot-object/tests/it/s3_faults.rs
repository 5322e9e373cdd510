//! An S3 that fails, gets slow, and loses its answers.

use std::time::Duration;

use entrepot_object::testing::s3_proxy::{FaultPlan, S3Fault};
use entrepot_object::{Durability, ObjectError, ObjectKey, ObjectStore, S3Options, S3Store, WriterState};
use futures_util::StreamExt;

use crate::s3_support::{Bucket, PART, append, bytes, contents, write};
use crate::support::key;

/// Tries of one request by the SDK.
const ATTEMPTS: usize = 3;

#[tokio::test]
async fn one_failed_request_is_made_again() {
    for fault in [S3Fault::Unavailable, S3Fault::Reset] {
        for (method, contains) in
            [("POST", "uploads"), ("PUT", "partNumber=2"), ("PUT", ".tails"), ("POST", "uploadId=")]
        {
            let bucket = Bucket::start().await;
            let store = bucket.store().await;
            let (key, whole) = (key("again"), bytes(3 * PART + 5, 0));
            bucket.break_next(method, contains, fault);
            let state = append(&store, &key, 1, &WriterState::start(), &whole).await;
            store.seal(&key, 2, &state).await.unwrap();
            assert_eq!(bucket.proxy.broken(), 1, "{fault:?} {method} {contains}");
            assert!(contents(&store, &key).await == whole);
        }
    }
}

/// The server did it and nobody heard: parts and tails are sent again, a second multipart is swept.
#[tokio::test]
async fn a_lost_answer_to_a_write_changes_nothing() {
    for (method, contains) in [("POST", "uploads"), ("PUT", "partNumber=2"), ("PUT", ".tails")] {
        let bucket = Bucket::start().await;
        let store = bucket.store().await;
        let (key, whole) = (key("unheard"), bytes(3 * PART + 5, 0));
        bucket.break_next(method, contains, S3Fault::Lost);
        let state = append(&store, &key, 1, &WriterState::start(), &whole).await;
        store.seal(&key, 2, &state).await.unwrap();
        assert_eq!(bucket.proxy.broken(), 1, "{method} {contains}");
        assert!(contents(&store, &key).await == whole);
        assert_eq!((bucket.server.uploads().len(), bucket.server.objects().len()), (0, 1));
    }
}

/// A push of one request is over when it is sealed: what it left then would stay for ever.
#[tokio::test]
async fn an_upload_that_was_begun_twice_leaves_nothing_when_the_first_request_seals_it() {
    for lost_too in [false, true] {
        let bucket = Bucket::start().await;
        let store = bucket.store().await;
        let (key, whole) = (key("begun-twice"), bytes(3 * PART + 5, 0));
        bucket.break_next("POST", "uploads", S3Fault::Lost);
        let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
        write(&mut *writer, &whole).await;
        let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
        drop(writer);
        assert_eq!(bucket.server.uploads().len(), 2);
        if lost_too {
            bucket.break_next("POST", "uploadId=", S3Fault::Lost);
            let sealed = store.seal(&key, 1, &state).await;
            assert!(matches!(sealed, Err(ObjectError::AlreadySealed { .. })), "{sealed:?}");
            store.seal(&key, 1, &WriterState { offset: state.offset, ..WriterState::start() }).await.unwrap();
        } else {
            store.seal(&key, 1, &state).await.unwrap();
        }
        assert!(contents(&store, &key).await == whole);
        assert_eq!((bucket.server.uploads().len(), bucket.server.objects().len()), (0, 1));
    }
}

/// Looking for leftovers is a request more, which a push that went well does without.
#[tokio::test]
async fn an_upload_of_one_request_that_was_begun_once_is_not_swept() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let (key, whole) = (key("begun-once"), bytes(3 * PART + 5, 0));
    let mut writer = store.open_writer(&key, 1, &WriterState::start()).await.unwrap();
    write(&mut *writer, &whole).await;
    let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
    drop(writer);
    store.seal(&key, 1, &state).await.unwrap();
    assert_eq!(bucket.server.count("ListMultipartUploads"), 0);
}

/// The driver cannot tell its own object from another's, so it says that there is one; who knows the digest can.
#[tokio::test]
async fn a_lost_answer_to_a_seal_is_found_out_by_a_repeat() {
    for (size, method, contains) in [(10, "PUT", "data/"), (3 * PART, "POST", "uploadId=")] {
        let bucket = Bucket::start().await;
        let store = bucket.store().await;
        let (key, whole) = (key("sealed-unheard"), bytes(size, 0));
        let state = append(&store, &key, 1, &WriterState::start(), &whole).await;
        bucket.break_next(method, contains, S3Fault::Lost);
        let sealed = store.seal(&key, 2, &state).await;
        assert!(matches!(sealed, Err(ObjectError::AlreadySealed { .. })), "{sealed:?}");
        assert_eq!(bucket.proxy.broken(), 1);
        let by_size = |offset| WriterState { offset, ..WriterState::start() };
        store.seal(&key, 3, &by_size(size as u64)).await.unwrap();
        let other = store.seal(&key, 3, &by_size(size as u64 + 1)).await;
        assert!(matches!(other, Err(ObjectError::AlreadySealed { .. })), "{other:?}");
        assert!(contents(&store, &key).await == whole);
    }
}

/// S3 begins its answer with 200 before it knows how the request ends.
#[tokio::test]
async fn an_error_in_the_body_of_a_200_is_an_error() {
    for times in [1, ATTEMPTS] {
        let bucket = Bucket::start().await;
        let store = bucket.store().await;
        let (key, whole) = (key("two-hundred"), bytes(3 * PART, 0));
        let state = append(&store, &key, 1, &WriterState::start(), &whole).await;
        for _ in 0..times {
            bucket.break_next("POST", "uploadId=", S3Fault::ErrorInBody);
        }
        let mut sealed = store.seal(&key, 2, &state).await;
        if times == ATTEMPTS {
            assert!(matches!(sealed, Err(ObjectError::Io { .. })), "{sealed:?}");
            sealed = store.seal(&key, 2, &state).await;
        }
        sealed.unwrap();
        assert_eq!(bucket.proxy.broken(), times as u64);
        assert!(contents(&store, &key).await == whole);
    }
}

/// Three tries and no more, and then an error that means: later.
#[tokio::test]
async fn a_store_that_is_down_is_tried_three_times_and_then_left_alone() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    bucket.proxy.follow(FaultPlan { unavailable: 1000, ..FaultPlan::default() }, 1);
    let mut asked = 0;
    loop {
        let before = bucket.proxy.requests();
        let failed = store.stat(&key("down")).await;
        match failed {
            Err(ObjectError::Io { .. }) => {
                // A budget may cut retries short.
                let tries = bucket.proxy.requests() - before;
                assert!((1..=ATTEMPTS as u64).contains(&tries), "{tries} tries");
                asked += 1;
                assert!(asked < 100, "the breaker does not open");
            }
            Err(ObjectError::Busy { .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked, 10);
    let before = bucket.proxy.requests();
    assert!(matches!(store.open(&key("down")).await, Err(ObjectError::Busy { .. })));
    assert_eq!(bucket.proxy.requests(), before, "the store was asked");
}

/// What comes again and again must not use up the retries of those who come later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_one_request_in_six_is_asked_again_for_as_long_as_it_lasts() {
    const CALLS: usize = 3000;
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    store
        .seal(&key("there"), 1, &append(&store, &key("there"), 1, &WriterState::start(), &bytes(10, 0)).await)
        .await
        .unwrap();
    bucket.proxy.follow(FaultPlan { unavailable: 170, ..FaultPlan::default() }, 1);
    // As it is with pushes: each looks for an object that is not there yet.
    let calls = futures_util::stream::iter(0..CALLS).map(|number| {
        let (store, key) = (store.clone(), key(if number % 3 == 0 { "nothing" } else { "there" }));
        async move { store.stat(&key).await }
    });
    let failed = calls.buffer_unordered(100).filter(|outcome| {
        let failed = !matches!(outcome, Ok(_) | Err(ObjectError::NotFound { .. }));
        async move { failed }
    });
    let failed = failed.count().await;
    // Three failures in a row are 15 of 3,000; without retries it would be 510.
    assert!(failed < 45, "{failed} of {CALLS} failed");
    assert!(bucket.proxy.broken() as usize > CALLS / 6, "{} were broken", bucket.proxy.broken());
}

/// One try gets no answer; there is time for the next before anybody who asked gives up.
#[tokio::test]
async fn a_request_that_is_not_answered_is_made_again() {
    let bucket = Bucket::start().await;
    let store = S3Store::new(&hasty(&bucket)).await;
    let (key, whole) = (key("silent"), bytes(10, 0));
    let state = append(&store, &key, 1, &WriterState::start(), &whole).await;
    store.seal(&key, 2, &state).await.unwrap();
    bucket.proxy.follow(FaultPlan { stall_for: Duration::from_secs(600), ..FaultPlan::default() }, 1);
    for _ in 1..ATTEMPTS {
        bucket.break_next("HEAD", "data/", S3Fault::Stall);
    }
    let stat = tokio::time::timeout(Duration::from_secs(9), store.stat(&key)).await;
    assert_eq!(stat.expect("nobody waits so long").unwrap().size, 10);
    assert_eq!(bucket.proxy.broken(), ATTEMPTS as u64 - 1);
}

/// Whoever asks has a deadline, and gives up before all tries of a request are over.
#[tokio::test]
async fn a_silent_store_is_left_alone_although_nobody_waits_to_the_end() {
    let bucket = Bucket::start().await;
    let options = hasty(&bucket);
    let store = S3Store::new(&options).await;
    bucket.proxy.follow(FaultPlan { stall: 1000, stall_for: Duration::from_secs(600), ..FaultPlan::default() }, 1);
    let mut asked = 0;
    loop {
        match tokio::time::timeout(options.attempt_timeout * 3 / 2, store.stat(&key("silent"))).await {
            Err(_) => asked += 1,
            Ok(Err(ObjectError::Busy { .. })) => break,
            Ok(other) => panic!("{other:?}"),
        }
        assert!(asked < 100, "the breaker does not open");
    }
    assert_eq!(asked, 10);
}

/// Clients hang up all the time.
#[tokio::test]
async fn callers_that_give_up_at_once_say_nothing_about_the_store() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let key = key("hung-up");
    for _ in 0..50 {
        assert!(tokio::time::timeout(Duration::ZERO, store.stat(&key)).await.is_err(), "it did not wait");
    }
    assert!(matches!(store.stat(&key).await, Err(ObjectError::NotFound { .. })));
}

/// The default against what the channel between services allows for a call.
#[test]
fn all_tries_of_a_request_fit_into_the_time_that_callers_wait() {
    let longest = S3Options::new("bucket").longest_call();
    assert!(longest < Duration::from_secs(10), "{longest:?}");
}

fn hasty(bucket: &Bucket) -> S3Options {
    S3Options { attempt_timeout: Duration::from_millis(300), ..bucket.options() }
}

#[tokio::test]
async fn a_read_that_is_cut_does_not_end_cleanly() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let (key, whole) = (key("cut"), bytes(50 * PART, 0));
    let state = append(&store, &key, 1, &WriterState::start(), &whole).await;
    store.seal(&key, 1, &state).await.unwrap();
    let entrepot_object::ObjectRead::Remote(object) = store.open(&key).await.unwrap() else { panic!("not remote") };
    bucket.break_next("GET", "data/", S3Fault::Truncate);
    let frames: Vec<_> = object.read(0..object.size()).await.unwrap().collect().await;
    assert!(frames.last().is_some_and(Result::is_err), "a clean end after {} frames", frames.len());
}

/// The plan of the acceptance suite, in small: whatever happens, a client that tries again gets through.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_corrupt_when_one_request_in_six_breaks() {
    let bucket = Bucket::start().await;
    let plan = FaultPlan {
        unavailable: 100,
        reset: 30,
        lost: 20,
        stall: 20,
        truncate: 20,
        stall_for: Duration::from_millis(50),
    };
    bucket.proxy.follow(plan, 42);
    let store = bucket.store().await;
    for n in 0..20 {
        let (key, whole) = (key(&format!("broken-{n}")), bytes(n * 411, n));
        push(&store, &key, &whole).await;
        let found = again(async || entrepot_object::contract::fetch(&store.open(&key).await?).await).await;
        assert!(found == whole, "object {n}");
    }
    assert!(bucket.proxy.broken() > 10, "{} of {} broken", bucket.proxy.broken(), bucket.proxy.requests());
    for n in 0..20 {
        again(async || store.abort(&key(&format!("broken-{n}")), u64::MAX, &WriterState::start()).await).await;
    }
    assert_eq!((bucket.server.uploads().len(), bucket.tails()), (0, 0));
}

/// Two requests and a seal, each tried again from the last state as a client would.
async fn push(store: &S3Store, key: &ObjectKey, whole: &bytes::Bytes) {
    let (mut state, mut epoch) = (WriterState::start(), 0);
    for range in [0..whole.len() / 2, whole.len() / 2..whole.len()] {
        for attempt in 0.. {
            epoch += 1;
            let appended = async {
                let mut writer = store.open_writer(key, epoch, &state).await?;
                writer.write(vec![whole.slice(range.clone())]).await?;
                writer.checkpoint(Durability::Durable).await
            };
            match appended.await {
                Ok(next) => {
                    state = next;
                    break;
                }
                Err(error) => assert!(attempt < 5, "{error:?}"),
            }
        }
    }
    for attempt in 0.. {
        epoch += 1;
        match store.seal(key, epoch, &state).await {
            Ok(()) => return,
            Err(ObjectError::AlreadySealed { .. }) => {
                state.driver = bytes::Bytes::new();
                if whole.is_empty() {
                    return;
                }
            }
            Err(error) => assert!(attempt < 5, "{error:?}"),
        }
    }
}

async fn again<T>(mut act: impl AsyncFnMut() -> Result<T, ObjectError>) -> T {
    for _ in 0..10 {
        if let Ok(done) = act().await {
            return done;
        }
    }
    panic!("ten tries failed")
}

#[tokio::test]
async fn a_writer_whose_store_fails_answers_an_error_that_may_be_repeated() {
    let bucket = Bucket::start().await;
    let store = bucket.store().await;
    let key = key("unlucky");
    let state = append(&store, &key, 1, &WriterState::start(), &bytes(PART, 0)).await;
    for _ in 0..ATTEMPTS {
        bucket.break_next("PUT", "partNumber=2", S3Fault::Unavailable);
    }
    let mut writer = store.open_writer(&key, 2, &state).await.unwrap();
    write(&mut *writer, &bytes(PART, 1)).await;
    let failed = writer.checkpoint(Durability::Durable).await;
    assert!(matches!(failed, Err(ObjectError::Io { .. })), "{failed:?}");
    let state = append(&store, &key, 3, &state, &bytes(PART, 2)).await;
    store.seal(&key, 4, &state).await.unwrap();
    assert!(contents(&store, &key).await == [bytes(PART, 0), bytes(PART, 2)].concat());
}
