use super::*;

const MIB: usize = 1 << 20;

/// Whether `future` is still waiting once everything that can happen has happened.
async fn waits<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::time::timeout(Duration::from_millis(50), future).await.is_err()
}

#[tokio::test]
async fn a_part_keeps_the_order_of_what_was_written() {
    let (mut filling, budget) = (Filling::default(), Budget::new(8 * MIB));
    let mut expected = Vec::new();
    for (n, size) in [1, 700_000, 300_000, 3 * MIB, 0, 5].into_iter().enumerate() {
        let chunk = vec![u8::try_from(n).unwrap(); size];
        if filling.space() < size {
            filling.enter(budget.room(8 * MIB).await);
        }
        filling.push(&chunk);
        expected.extend_from_slice(&chunk);
        assert_eq!(filling.len(), expected.len());
    }
    assert!(filling.copy() == expected);
    let payload = filling.take();
    assert!(payload.pieces.concat() == expected);
    assert_eq!((payload.len(), filling.len()), (expected.len(), 0));
    assert!(payload.pieces.len() <= 6, "{} pieces", payload.pieces.len());
}

/// `123456789` is the message by which CRCs are told apart.
#[test]
fn the_checksum_is_that_of_s3() {
    let pieces = vec![Bytes::from_static(b"1234"), Bytes::from_static(b"56789")];
    let payload = Payload { size: 9, pieces, room: None };
    assert_eq!(payload.crc(), 0xe306_9283);
}

#[tokio::test]
async fn a_first_piece_is_free_and_what_follows_has_room_until_it_is_sent() {
    let budget = Budget::new(5 * MIB);
    let mut filling = Filling::default();
    assert_eq!(filling.space(), MIB);
    filling.push(&vec![0; MIB]);
    assert_eq!(filling.space(), 0);
    filling.enter(budget.room(5 * MIB).await);
    assert_eq!(filling.space(), 4 * MIB);
    filling.push(&vec![0; 4 * MIB]);
    let mut next = Box::pin(budget.room(5 * MIB));
    assert!(waits(&mut next).await);
    let sent = filling.take();
    let again = sent.clone();
    drop(sent);
    assert!(waits(&mut next).await);
    drop(again);
    next.await;
}

/// A part that ends early, as the last of an upload does, keeps no more than it needs.
#[tokio::test]
async fn room_that_is_not_needed_is_free_when_the_part_is_sent() {
    let budget = Budget::new(10 * MIB);
    let mut filling = Filling::default();
    filling.enter(budget.room(10 * MIB).await);
    filling.push(&vec![0; 3 * MIB + 1]);
    let _sent = filling.take();
    assert_eq!(budget.units.available_permits(), 6);
}

/// A client that stalls holds what it has: that must not be what others are let in by.
#[tokio::test]
async fn parts_grow_only_into_the_first_half_of_the_memory() {
    let budget = Budget::new(40 * MIB);
    let mut rooms = Vec::new();
    for expected in [8, 8, 5, 5, 5] {
        let mut filling = Filling::default();
        filling.enter(budget.room(5 * MIB).await);
        while filling.space() < 8 * MIB && filling.grow(&budget) {}
        assert_eq!(filling.space(), expected * MIB);
        rooms.push(filling);
    }
}

/// Late parts of huge uploads can neither be cut nor wait in anybody's way.
#[tokio::test]
async fn large_rooms_leave_some_memory_for_small_ones() {
    let budget = Budget::new(40 * MIB);
    let first = budget.room(16 * MIB).await;
    let mut second = Box::pin(budget.room(16 * MIB));
    assert!(waits(&mut second).await);
    let _small = (budget.room(5 * MIB).await, budget.room(5 * MIB).await);
    drop(first);
    second.await;
}

#[tokio::test]
async fn what_is_larger_than_the_budget_takes_all_of_it() {
    let budget = Budget::new(2 * MIB);
    let all = budget.room(64 * MIB).await;
    assert_eq!(all.bytes, 64 * MIB);
    let mut next = Box::pin(budget.room(5 * MIB));
    assert!(waits(&mut next).await);
    drop(all);
    next.await;
}

#[tokio::test(start_paused = true)]
async fn whoever_has_had_room_waits_for_more_and_whoever_has_not_is_told_that_there_is_none() {
    let budget = Budget::new(5 * MIB);
    let all = budget.room(5 * MIB).await;
    let mut waiting = Box::pin(budget.room(5 * MIB));
    assert!(tokio::time::timeout(PATIENCE * 100, &mut waiting).await.is_err());
    assert!(budget.first_room(5 * MIB).await.is_none());
    drop(all);
    drop(waiting.await);
    assert!(budget.first_room(5 * MIB).await.is_some());
}

#[test]
fn what_is_shared_is_not_copied_and_stays() {
    let mut filling = Filling::default();
    filling.push(b"one ");
    let first = filling.share();
    filling.push(b"two");
    let second = filling.share();
    assert_eq!(first.pieces.concat(), b"one ");
    assert_eq!(second.pieces.concat(), b"one two");
    assert_eq!(first.pieces[0].as_ptr(), second.pieces[0].as_ptr());
    let all = filling.take();
    assert_eq!((all.pieces.concat().as_slice(), all.len()), (&b"one two"[..], 7));
    assert_eq!(first.pieces[0].as_ptr(), all.pieces[0].as_ptr());
}

#[tokio::test]
async fn bytes_that_are_moved_take_their_room_with_them() {
    let budget = Budget::new(5 * MIB);
    let mut filling = Filling::default();
    filling.enter(budget.room(5 * MIB).await);
    filling.push(&vec![7; 3 * MIB]);
    let moved = filling.take().append_to(BytesMut::from(&b"head"[..]), b"end");
    assert_eq!((&moved[..4], moved.len(), &moved[moved.len() - 3..]), (&b"head"[..], 3 * MIB + 7, &b"end"[..]));
    assert_eq!(budget.units.available_permits(), 2);
    let part = moved.slice(1..5);
    drop(moved);
    assert_eq!(budget.units.available_permits(), 2);
    drop(part);
    assert_eq!(budget.units.available_permits(), 5);
}
