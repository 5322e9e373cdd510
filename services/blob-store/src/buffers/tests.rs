use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[test]
fn a_buffer_is_aligned_and_holds_what_was_put_in() {
    let mut buffers = Buffers::new();
    let mut buffer = ready(buffers.next(5)).unwrap();
    let mut source = Bytes::from_static(b"abcdefg");
    buffer.take(&mut source);
    assert!(buffer.is_full());
    assert_eq!(source, "fg");
    let bytes = buffer.freeze().unwrap();
    assert_eq!(bytes, "abcde");
    assert_eq!(bytes.as_ptr().align_offset(WRITE_ALIGNMENT), 0);
    assert!(ready(buffers.next(5)).unwrap().freeze().is_none());
}

#[test]
fn there_are_so_many_and_they_come_back_with_their_last_clone() {
    let mut buffers = Buffers::new();
    let mut held: Vec<Bytes> = (0..BUFFERS)
        .map(|_| {
            let mut buffer = ready(buffers.next(usize::MAX)).unwrap();
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
    let mut again = ready(buffers.next(1)).unwrap();
    again.take(&mut b"x".as_slice());
    assert_eq!(again.freeze().unwrap().as_ptr(), place);
    assert!(ready(buffers.next(1)).is_some(), "of the same again");
}

#[test]
fn a_buffer_that_outlives_its_upload_is_let_go() {
    let mut buffers = Buffers::new();
    let mut buffer = ready(buffers.next(1)).unwrap();
    buffer.take(&mut b"x".as_slice());
    let bytes = buffer.freeze().unwrap();
    drop(buffers);
    assert_eq!(bytes, "x");
}
