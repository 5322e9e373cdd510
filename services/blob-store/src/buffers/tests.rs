use std::pin::pin;
use std::task::{Context, Poll, Waker};

use entrepot_object::WRITE_ALIGNMENT;

use super::*;

fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn buffers(pool: &Pool) -> Buffers {
    ready(pool.enter(BUFFERS, BUFFER, Entry::New)).unwrap().unwrap()
}

/// Buffers of a pool that is never empty.
fn enough() -> Buffers {
    buffers(&Pool::new(1 << 30))
}

fn filled(buffers: &mut Buffers) -> Option<Bytes> {
    let mut buffer = ready(buffers.next(usize::MAX))?.unwrap();
    buffer.take(&mut b"x".as_slice());
    buffer.freeze()
}

fn all_of(buffers: &mut Buffers) -> Vec<Bytes> {
    std::iter::from_fn(|| filled(buffers)).collect()
}

fn units_free(pool: &Pool) -> usize {
    pool.permits.available_permits()
}

#[tokio::test(start_paused = true)]
async fn uploads_share_what_there_is_and_each_has_its_two() {
    let pool = Pool::new(7 * BUFFER as u64);
    let (mut first, mut second, mut third) = (buffers(&pool), buffers(&pool), buffers(&pool));
    let held = [all_of(&mut first), all_of(&mut second), all_of(&mut third)];
    assert_eq!(held.each_ref().map(Vec::len), [SURE; 3]);
    let refused = pool.enter(BUFFERS, BUFFER, Entry::New).await;
    assert!(matches!(refused, Err(BlobError::Unavailable(_))));
    drop((first, second, third, held));
    assert_eq!(units_free(&pool), 7 * units_of(BUFFER));
}

/// Clients that stall keep what they have filled, and must not keep others from beginning.
#[tokio::test]
async fn what_is_not_sure_comes_out_of_the_first_half() {
    let pool = Pool::new(32 * BUFFER as u64);
    let mut stalled = Vec::new();
    // Two that were lucky, and as many more as the second half has room for.
    for expected in [8, 8, 2, 2, 2, 2, 2, 2, 2, 2] {
        let mut upload = buffers(&pool);
        let held = all_of(&mut upload);
        assert_eq!(held.len(), expected);
        stalled.push((upload, held));
    }
    stalled.truncate(1);
    assert_eq!(all_of(&mut buffers(&pool)).len(), BUFFERS);
}

#[tokio::test]
async fn an_upload_alone_has_all_its_buffers_of_twice_as_many() {
    for (pool, expected) in [(2, 2), (4, 2), (8, 4), (15, 7), (16, 8)] {
        let pool = Pool::new(pool * BUFFER as u64);
        let mut only = buffers(&pool);
        // Time and again: they come home.
        for _ in 0..3 {
            assert_eq!(all_of(&mut only).len(), expected, "{pool:?}");
        }
    }
}

/// A client that was fast stalls, and of its buffers none is in use any more.
#[tokio::test]
async fn what_has_come_home_is_let_go_when_somebody_waits() {
    let pool = Pool::new(16 * BUFFER as u64);
    let mut fast = buffers(&pool);
    drop(all_of(&mut fast));
    let mut others: Vec<Buffers> = (0..4).map(|_| buffers(&pool)).collect();
    assert_eq!(units_free(&pool), 0);
    // All the others need, not just one of them.
    others.extend((0..3).map(|_| buffers(&pool)));
    assert!(ready(pool.enter(BUFFERS, BUFFER, Entry::New)).is_none());
    assert_eq!(all_of(&mut fast).len(), SURE);
    drop(others);
    assert_eq!(all_of(&mut fast).len(), BUFFERS, "it may have them again");
    drop(fast);
    assert_eq!(units_free(&pool), 16 * units_of(BUFFER));
}

#[tokio::test]
async fn what_comes_home_goes_to_somebody_who_waits() {
    let pool = Pool::new(16 * BUFFER as u64);
    let mut first = buffers(&pool);
    let held = all_of(&mut first);
    let others: Vec<Buffers> = (0..4).map(|_| buffers(&pool)).collect();
    let mut waiting = pin!(pool.enter(BUFFERS, BUFFER, Entry::New));
    assert!(ready(waiting.as_mut()).is_none());
    drop(held);
    assert!(ready(waiting.as_mut()).is_some());
    assert_eq!(all_of(&mut first).len(), BUFFERS - 3, "but for the other's two, and one to spare");
    drop(others);
}

/// What its client has sent would be lost.
#[tokio::test(start_paused = true)]
async fn an_upload_under_way_waits_where_a_new_one_is_refused() {
    let pool = Pool::new(2 * BUFFER as u64);
    let holder = buffers(&pool);
    let mut under_way = pin!(pool.enter(BUFFERS, BUFFER, Entry::UnderWay));
    assert!(timeout(Duration::from_secs(200), under_way.as_mut()).await.is_err());
    assert!(matches!(pool.enter(BUFFERS, BUFFER, Entry::New).await, Err(BlobError::Unavailable(_))));
    drop(holder);
    let holder = under_way.await.unwrap();
    let under_way = pool.enter(BUFFERS, BUFFER, Entry::UnderWay).await;
    assert!(matches!(under_way, Err(BlobError::Unavailable(_))), "not for ever");
    drop(holder);
}

#[tokio::test]
async fn the_smallest_pool_is_enough_for_one() {
    let pool = Pool::new(0);
    let mut only = buffers(&pool);
    for _ in 0..3 {
        let held: Vec<Bytes> = std::iter::from_fn(|| filled(&mut only)).collect();
        assert_eq!(held.len(), SURE);
    }
}

#[tokio::test]
async fn a_buffer_is_aligned_and_holds_what_was_put_in() {
    let mut buffers = enough();
    let mut buffer = ready(buffers.next(5)).unwrap().unwrap();
    let mut source = Bytes::from_static(b"abcdefg");
    buffer.take(&mut source);
    assert!(buffer.is_full());
    assert_eq!(source, "fg");
    let bytes = buffer.freeze().unwrap();
    assert_eq!(bytes, "abcde");
    assert_eq!(bytes.as_ptr().align_offset(BUFFER), 0, "it begins where a large page can");
    assert!(ready(buffers.next(5)).unwrap().unwrap().freeze().is_none());
}

#[tokio::test]
async fn there_are_so_many_and_they_come_back_with_their_last_clone() {
    let mut buffers = enough();
    let mut held: Vec<Bytes> = (0..BUFFERS)
        .map(|_| {
            let mut buffer = ready(buffers.next(usize::MAX)).unwrap().unwrap();
            buffer.take(&mut vec![1; BUFFER + 1].as_slice());
            buffer.freeze().unwrap()
        })
        .collect();
    assert_eq!(held[0].len(), BUFFER);
    assert!(ready(buffers.next(1)).is_none());
    let clone = held[0].slice(7..8);
    let place = held.swap_remove(0).as_ptr();
    assert!(ready(buffers.next(1)).is_none());
    drop(clone);
    let mut again = ready(buffers.next(1)).unwrap().unwrap();
    again.take(&mut b"x".as_slice());
    assert_eq!(again.freeze().unwrap().as_ptr(), place);
    assert!(ready(buffers.next(1)).is_some(), "of the same again");
}

#[tokio::test]
async fn a_buffer_that_outlives_its_upload_is_let_go() {
    let mut buffers = enough();
    let mut buffer = ready(buffers.next(1)).unwrap().unwrap();
    buffer.take(&mut b"x".as_slice());
    let bytes = buffer.freeze().unwrap();
    drop(buffers);
    assert_eq!(bytes, "x");
}

#[tokio::test]
async fn no_upload_gets_more_than_it_asks_for() {
    let pool = Pool::new(1 << 30);
    for (most, expected) in [(0, SURE), (SURE, SURE), (5, 5), (usize::MAX, BUFFERS)] {
        let mut asked = ready(pool.enter(most, BUFFER, Entry::New)).unwrap().unwrap();
        let held: Vec<Bytes> = std::iter::from_fn(|| filled(&mut asked)).collect();
        assert_eq!(held.len(), expected);
    }
}

#[tokio::test]
async fn a_few_are_kept_for_the_next_upload() {
    let pool = Pool::new(1 << 30);
    let mut first = buffers(&pool);
    let held: Vec<Bytes> = std::iter::from_fn(|| filled(&mut first)).collect();
    let known: Vec<*const u8> = held.iter().map(|bytes| bytes.as_ptr()).collect();
    drop((first, held));
    assert_eq!(pool.spare().len(), SPARE);
    let mut second = buffers(&pool);
    let held: Vec<Bytes> = std::iter::from_fn(|| filled(&mut second)).take(SPARE).collect();
    assert!(held.iter().all(|bytes| known.contains(&bytes.as_ptr())));
    assert!(pool.spare().is_empty());
    // One of another size is of no use.
    drop((second, held));
    let mut other = ready(pool.enter(1, UNIT, Entry::New)).unwrap().unwrap();
    let mut buffer = ready(other.next(usize::MAX)).unwrap().unwrap();
    buffer.take(&mut vec![1; BUFFER].as_slice());
    let bytes = buffer.freeze().unwrap();
    assert_eq!((bytes.len(), bytes.as_ptr().align_offset(WRITE_ALIGNMENT)), (UNIT, 0));
}

#[tokio::test]
async fn small_buffers_count_as_what_they_are() {
    let pool = Pool::new(BUFFER as u64 * 2);
    let mut small: Vec<Buffers> =
        std::iter::from_fn(|| Some(ready(pool.enter(SURE, UNIT, Entry::New))?.unwrap())).collect();
    assert_eq!(small.len(), BUFFER / UNIT);
    assert!(small.iter_mut().all(|buffers| filled(buffers).is_some()));
    assert!(ready(pool.enter(SURE, BUFFER, Entry::New)).is_none());
    drop(small);
    assert!(ready(pool.enter(SURE, BUFFER, Entry::New)).is_some());
}

/// What a large page is for: the disk is given one piece.
#[tokio::test]
async fn a_large_page_is_asked_for_where_there_are_such() {
    if !std::fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap() {
        return;
    }
    let mut buffers = enough();
    let mut buffer = ready(buffers.next(usize::MAX)).unwrap().unwrap();
    buffer.take(&mut b"x".as_slice());
    let bytes = buffer.freeze().unwrap();
    let within = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let parse = |text| usize::from_str_radix(text, 16).ok();
        Some((parse(start)?..parse(end)?).contains(&bytes.as_ptr().addr()))
    };
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = smaps.lines().skip_while(|line| within(line) != Some(true));
    let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
    assert!(flags.split(' ').any(|flag| flag == "hg"), "{flags}");
}
