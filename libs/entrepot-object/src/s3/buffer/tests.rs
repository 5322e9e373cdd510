use futures_util::FutureExt;

use super::*;

const MIB: usize = 1 << 20;

/// Whether `future` is still waiting once everything that can happen has happened.
async fn waits<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::time::timeout(Duration::from_millis(50), future).await.is_err()
}

/// A budget of which so many MiB are for other rooms than those of first pieces.
fn without_first_pieces(mib: usize) -> Budget {
    let budget = Budget::new((mib + mib / (FIRST - 1)) * MIB);
    assert_eq!(budget.all, mib);
    budget
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
async fn first_pieces_have_a_share_of_their_own() {
    let budget = Budget::new(33 * MIB);
    let _half = budget.room(16 * MIB).await;
    let first = budget.first_piece().unwrap();
    let second = budget.first_piece();
    assert!(second.is_some() && budget.first_piece().is_none());
    assert_eq!(budget.units.available_permits(), 15);

    let mut filling = Filling::default();
    filling.push(&vec![0; UNCOUNTED]);
    filling.enter(first);
    assert_eq!(filling.space(), MIB - UNCOUNTED);
    filling.push(&vec![0; MIB - UNCOUNTED]);
    assert!(!filling.grow(&budget), "out of the memory of others");
    filling.enter(budget.room(5 * MIB).await);
    assert_eq!(filling.space(), 4 * MIB);
    let _next = budget.first_piece().unwrap();

    let mut small = Filling::default();
    small.enter(second.unwrap());
    small.push(&vec![1; MIB]);
    let sent = small.take();
    assert!(budget.first_piece().is_none(), "it is on its way");
    drop(sent);
    assert!(budget.first_piece().is_some());
}

/// Slow clients that have sent little must not cost as much as those that have sent a part.
#[tokio::test]
async fn while_there_is_plenty_more_first_pieces_come_out_of_it() {
    let budget = Budget::new(33 * MIB);
    let mut pieces = Vec::new();
    while let Some(piece) = budget.first_piece() {
        pieces.push(piece);
    }
    // Two of their own, and what is above the half.
    assert_eq!((pieces.len(), budget.units.available_permits()), (2 + 16, 15));
    assert!(pieces.iter_mut().all(|piece| !budget.grow(piece)));
    // All of them may wait for more: there is always room for one, and then for the next.
    for _ in 0..pieces.len() {
        let room = budget.room(5 * MIB).now_or_never().expect("enough is left");
        pieces.pop();
        drop(room);
    }
    // A budget that has no small room in its half keeps it for those.
    let small = Budget::new(9 * MIB);
    assert!(small.first_piece().is_none());
}

#[tokio::test]
async fn what_is_all_there_will_be_has_room_of_its_size() {
    let budget = Budget::new(17 * MIB);
    let _half = budget.room(8 * MIB).await;
    let first = budget.room_for_all(MIB).await;
    assert_eq!((first.is_first, budget.units.available_permits()), (true, 8));
    let second = budget.room_for_all(MIB).await;
    assert_eq!((second.is_first, budget.units.available_permits()), (false, 7));
}

#[tokio::test]
async fn what_is_little_is_free_and_what_follows_has_room_until_it_is_sent() {
    let budget = Budget::new(5 * MIB);
    let mut filling = Filling::default();
    assert_eq!(filling.space(), UNCOUNTED);
    filling.push(&[0; UNCOUNTED]);
    assert_eq!(filling.space(), 0);
    filling.enter(budget.room(5 * MIB).await);
    assert_eq!(filling.space(), 5 * MIB - UNCOUNTED);
    filling.push(&vec![0; 5 * MIB - UNCOUNTED]);
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
    let budget = without_first_pieces(40);
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
    let budget = without_first_pieces(40);
    let first = budget.room(16 * MIB).await;
    let mut second = Box::pin(budget.room(16 * MIB));
    assert!(waits(&mut second).await);
    let _small = (budget.room(5 * MIB).await, budget.room(5 * MIB).await);
    drop(first);
    second.await;
}

/// The part of one huge upload waits for slow clients; others must not wait for it meanwhile.
#[tokio::test(start_paused = true)]
async fn a_large_room_that_waits_is_in_nobodys_way() {
    for stalled in [1, 3, 7] {
        let budget = without_first_pieces(40);
        let mut slow: Vec<Room> = Vec::new();
        for _ in 0..stalled {
            slow.push(budget.room(5 * MIB).await);
        }
        let large = budget.clone();
        let large = tokio::spawn(async move { large.room(64 * MIB).await });
        tokio::task::yield_now().await;
        assert!(budget.first_room(5 * MIB).await.is_some(), "{stalled}");
        // It has it once there is enough.
        slow.truncate(2);
        let large = large.await.unwrap();
        assert_eq!((large.units.num_permits(), large.bytes), (30, 64 * MIB));
        let small = budget.first_room(5 * MIB).await;
        assert_eq!(small.is_some(), stalled == 1, "no more than all of it");
        drop((large, small, slow));
        assert_eq!((budget.units.available_permits(), budget.large.available_permits()), (40, 30));
    }
}

/// Small rooms come and go, and there is never enough at one time.
#[tokio::test]
async fn a_large_room_takes_its_turns() {
    let budget = without_first_pieces(40);
    let mut small = VecDeque::new();
    for _ in 0..8 {
        small.push_back(budget.room(5 * MIB).await);
    }
    let mut large = Box::pin(budget.room(30 * MIB));
    assert!((&mut large).now_or_never().is_none());
    let mut waiting: VecDeque<_> = (0..8).map(|_| Box::pin(budget.room(5 * MIB))).collect();
    assert!(waiting.iter_mut().all(|room| room.now_or_never().is_none()));
    let mut served = 0;
    for turn in 1.. {
        assert!(turn < 50, "it starves");
        small.pop_front();
        if (&mut large).now_or_never().is_some() {
            break;
        }
        for mut room in std::mem::take(&mut waiting) {
            match (&mut room).now_or_never() {
                Some(room) => {
                    served += 1;
                    small.push_back(room);
                }
                None => waiting.push_back(room),
            }
        }
        while waiting.len() < 8 {
            let mut room = Box::pin(budget.room(5 * MIB));
            assert!((&mut room).now_or_never().is_none());
            waiting.push_back(room);
        }
    }
    assert!(served >= 5, "they stood still while it waited");
}

/// Rooms of all sizes, many more than fit: each gets its turn, whatever the size of the budget.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    for all in [1, 5, 9, 10, 11, 19, 40, 160] {
        let budget = Budget::new(all * MIB);
        let rooms = (0..200).map(|n| {
            let budget = budget.clone();
            async move {
                let room = budget.room([5, 8, 2, 16, 5, 64, 32][n % 7] * MIB).await;
                tokio::task::yield_now().await;
                drop(room);
            }
        });
        let all_rooms = tokio::time::timeout(Duration::from_secs(20), futures_util::future::join_all(rooms));
        assert!(all_rooms.await.is_ok(), "of {all}");
        assert_eq!(budget.units.available_permits(), budget.all);
    }
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
