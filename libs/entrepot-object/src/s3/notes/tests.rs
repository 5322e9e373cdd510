use proptest::prelude::*;

use super::*;

fn name() -> impl Strategy<Value = TailName> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, nonce)| TailName { epoch, nonce })
}

fn part() -> impl Strategy<Value = Part> {
    let etag = prop_oneof!["[0-9a-f]{32}", "[!-~]{1,80}"];
    (any::<u32>(), any::<u32>(), etag).prop_map(|(size, crc, etag)| Part { size, crc, etag })
}

fn tail() -> impl Strategy<Value = Tail> {
    prop_oneof![
        Just(Tail::None),
        (name(), any::<u32>(), any::<u32>()).prop_map(|(name, size, crc)| Tail::Stored(StoredTail { name, size, crc })),
        proptest::collection::vec(any::<u8>(), 0..99).prop_map(|bytes| Tail::Inline(Bytes::from(bytes).into())),
    ]
}

fn notes() -> impl Strategy<Value = Notes> {
    let upload = ("[!-~]{1,120}", proptest::collection::vec(part(), 1..20));
    (proptest::option::of(upload), tail(), proptest::option::of(name())).prop_map(|(upload, tail, superseded)| {
        let (upload, parts) = upload.map_or((None, Vec::new()), |(id, parts)| (Some(id), parts));
        Notes { upload, parts, tail, superseded }
    })
}

/// Notes lie in databases: their bytes must not change their meaning unseen.
#[test]
fn the_format_has_not_changed() {
    let part = |etag: &str| Part { size: 0x0800_0000, crc: 0x0102_0304, etag: etag.to_owned() };
    let notes = Notes {
        upload: Some("id".to_owned()),
        parts: vec![part("00112233445566778899aabbccddeeff"), part("x-1")],
        tail: Tail::Stored(StoredTail { name: TailName { epoch: 7, nonce: 9 }, size: 5, crc: 6 }),
        superseded: Some(TailName { epoch: 6, nonce: 8 }),
    };
    let text: String = notes.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = concat!(
        "01",
        "0002",
        "6964",
        "0002",
        "0800000001020304",
        "00",
        "00112233445566778899aabbccddeeff",
        "0800000001020304",
        "03",
        "782d31",
        "01",
        "0000000000000007",
        "0000000000000009",
        "00000005",
        "00000006",
        "01",
        "0000000000000006",
        "0000000000000008"
    );
    assert_eq!(text, expected);
}

#[test]
fn what_could_not_have_been_written_is_refused() {
    let empty = Notes::default().encode();
    assert_eq!(&empty[..], &[1, 0, 0, 0, 0, 0, 0]);
    for hostile in [
        &[][..],
        &[2, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 1, 0, 0],
        &[1, 0, 1, b'x', 0, 0, 0, 0],
        &[1, 0, 1, b'\n', 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, b'x', 0, 0],
        &[1, 0, 1, b'x', 0xff, 0xff, 0, 0],
        &[1, 0, 0, 0, 0, 3, 0],
        &[1, 0, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0],
        &[1, 0, 0, 0, 0, 0, 2],
        &[1, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(Notes::decode(&Bytes::copy_from_slice(hostile)), None, "{hostile:?}");
    }
}

proptest! {
    #[test]
    fn round_trips(notes in notes()) {
        prop_assert_eq!(Notes::decode(&notes.clone().encode()), Some(notes));
    }

    #[test]
    fn nothing_cut_off_or_added_is_read(notes in notes(), cut in 1usize..20) {
        let whole = notes.encode();
        prop_assert_eq!(Notes::decode(&whole.slice(..whole.len().saturating_sub(cut))), None);
        let longer = Bytes::from([&whole[..], &[0]].concat());
        prop_assert_eq!(Notes::decode(&longer), None);
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Notes::decode(&bytes.into());
    }
}
