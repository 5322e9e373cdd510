use std::{hint::black_box, time::Instant};

use http::HeaderMap;

use super::{
    context::{Parent, parse},
    *,
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn traceparent_is_read_strictly() {
    let parent =
        Parent { trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span_id: 0xb7ad_6b71_6920_3331, sampled: true };
    assert_eq!(parse(PARENT), Some(parent));
    assert_eq!(parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-future"), Some(parent));
    for wrong in [
        "",
        "00",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn the_callers_trace_goes_on_to_the_next_call() {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", PARENT.parse().unwrap());
    let mut outgoing = HeaderMap::new();
    let remote = RemoteTrace::from_headers(&headers);
    in_trace(&remote, tracing::Span::none, async { inject_headers(&mut outgoing) }).await;
    let sent = parse(outgoing["traceparent"].to_str().unwrap()).unwrap();
    assert_eq!(sent.trace_id, parse(PARENT).unwrap().trace_id);
    assert_ne!(sent.span_id, parse(PARENT).unwrap().span_id);
}

#[tokio::test]
async fn a_request_without_parent_keeps_one_id_also_across_tasks() {
    in_trace(&RemoteTrace::default(), tracing::Span::none, async {
        let id = current_trace_id();
        assert_eq!(id.len(), 32);
        assert_eq!(id, current_trace_id());
        let carried = tokio::spawn(carry(async { current_trace_id() })).await.unwrap();
        assert_eq!(id, carried);
    })
    .await;
    assert_ne!(current_trace_id(), current_trace_id());
}

#[test]
fn a_chain_shows_every_cause_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot push")]
    struct Outer(#[source] std::io::Error);
    let error = Outer(std::io::Error::other("disk full"));
    assert_eq!(Chain(&error).to_string(), "cannot push: disk full");
}

/// Prints what a trace costs a request that nobody traces; no assertion, as machines differ.
#[tokio::test]
async fn cost_of_an_unread_trace() {
    let (rounds, headers) = (20_000_u32, HeaderMap::new());
    let start = Instant::now();
    for round in 0..rounds {
        in_trace(&RemoteTrace::from_headers(&headers), || tracing::info_span!("request", round), async {
            black_box(round)
        })
        .await;
    }
    eprintln!("in_trace without a reader: {:?} a request", start.elapsed() / rounds);
}
