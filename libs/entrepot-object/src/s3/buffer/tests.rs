use super::*;

#[tokio::test]
async fn a_part_keeps_the_order_of_what_was_written() {
    let (mut filling, budget) = (Filling::default(), Budget::new(8 << 20));
    let mut expected = Vec::new();
    for (n, size) in [1, 700_000, 900_000, 3 << 20, 0, 5].into_iter().enumerate() {
        let chunk = vec![u8::try_from(n).unwrap(); size];
        assert!(filling.push(&chunk, 8 << 20, &budget).await);
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
    let payload =
        Payload { size: 9, pieces: Arc::new([Bytes::from_static(b"1234"), Bytes::from_static(b"56789")]), _room: None };
    assert_eq!(payload.crc(), 0xe306_9283);
}

#[tokio::test]
async fn room_is_for_whole_parts_and_comes_back_when_they_are_sent() {
    let budget = Budget::new(2 << 20);
    let chunk = vec![0; 1 << 20];
    let (mut small, mut first, mut second) = (Filling::default(), Filling::default(), Filling::default());
    for _ in 0..2 {
        assert!(first.push(&chunk, 2 << 20, &budget).await);
    }
    assert!(small.push(&chunk, 2 << 20, &budget).await, "a first piece is free");
    assert!(second.push(&chunk, 2 << 20, &budget).await, "a first piece is free");
    let mut waits = Box::pin(second.push(&chunk, 2 << 20, &budget));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waits).await.is_err(), "there was room");
    let sent = first.take();
    let again = sent.clone();
    drop(sent);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waits).await.is_err(), "there was room");
    drop(again);
    assert!(waits.await);
}
