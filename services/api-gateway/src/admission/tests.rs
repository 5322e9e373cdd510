use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;

const QUEUE: Duration = Duration::from_secs(1);

fn limits(requests: usize) -> AdmissionLimits {
    AdmissionLimits {
        requests,
        bytes_in_flight: 1 << 30,
        tenant_requests: None,
        tenant_bytes_in_flight: None,
        queue_timeout: QUEUE,
        queued: 40,
    }
}

fn ask(class: Class, tenant: &str, bytes: u64) -> Ask {
    Ask { class, tenant: (!tenant.is_empty()).then(|| tenant.parse().unwrap()), bytes }
}

/// The answer to a request that may not wait.
fn now(admission: &Admission, ask: Ask) -> Option<Permit> {
    match poll(&mut Box::pin(admission.admit(ask))) {
        Poll::Ready(Ok(permit)) => Some(permit),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn fill(admission: &Admission, class: Class, tenant: &str) -> Vec<Permit> {
    std::iter::from_fn(|| now(admission, ask(class, tenant, 0))).collect()
}

fn fill_each(admission: &Admission, class: Class) -> Vec<Permit> {
    // A tenant each, so that nobody has more than a fair share.
    let tenant = |number| format!("{}{number}", class.as_str());
    (0..).map_while(|number| now(admission, ask(class, &tenant(number), 0))).collect()
}

fn refusal(answer: Result<Permit, ApiError>) -> (u16, String, u64, String) {
    let Err(error) = answer else { panic!("let in") };
    let response = error.into_response();
    let retry = response.headers().get("retry-after").expect("Retry-After").to_str().unwrap().parse().unwrap();
    let status = response.status().as_u16();
    let body = poll(&mut Box::pin(response.into_body().collect()));
    let Poll::Ready(Ok(body)) = body else { panic!("not at once") };
    let body: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    let error = &body["errors"][0];
    (status, error["code"].as_str().unwrap().to_owned(), retry, error["message"].as_str().unwrap().to_owned())
}

/// New pushes are refused first, pushes under way last.
#[tokio::test(start_paused = true)]
async fn work_is_refused_in_the_order_of_what_it_costs_its_client() {
    let admission = Admission::new(limits(100));
    let mut held = Vec::new();
    for (class, full) in [(Class::Start, 70), (Class::Blob, 85), (Class::Metadata, 95), (Class::Finish, 100)] {
        held.extend(fill_each(&admission, class));
        assert_eq!(held.len(), full, "{class:?}");
        for lower in Class::ALL.into_iter().filter(|lower| *lower <= class) {
            assert!(now(&admission, ask(lower, "late", 0)).is_none(), "{lower:?} after {class:?}");
        }
    }
    let (status, code, retry, message) = refusal(admission.admit(ask(Class::Start, "late", 0)).await);
    assert_eq!((status, code.as_str()), (503, "UNAVAILABLE"));
    assert!(retry >= 1 && message.contains("limits.requests"), "{retry} {message}");
    drop(held);
    assert_eq!(admission.state().in_flight(), (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_let_in_when_there_is_room_and_refused_in_time() {
    let admission = Admission::new(limits(1));
    let first = now(&admission, ask(Class::Finish, "a", 0)).unwrap();
    let mut second = Box::pin(admission.admit(ask(Class::Finish, "b", 0)));
    assert!(poll(&mut second).is_pending());
    drop(first);
    let second = second.await.unwrap();

    let begun = tokio::time::Instant::now();
    let (status, ..) = refusal(admission.admit(ask(Class::Finish, "c", 0)).await);
    assert_eq!((status, begun.elapsed()), (503, QUEUE));
    drop(second);
    assert_eq!(admission.state().in_flight(), (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_refused_last_has_the_first_turn() {
    let admission = Admission::new(limits(10));
    let mut held = fill_each(&admission, Class::Finish);
    let classes = [Class::Start, Class::Blob, Class::Metadata, Class::Finish, Class::Finish];
    let late = classes.iter().enumerate().map(|(number, class)| ask(*class, &format!("late{number}"), 0));
    let mut waiting: Vec<_> = late.map(|ask| Box::pin(admission.admit(ask))).collect();
    assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_pending()));
    held.pop();
    let first = poll(&mut waiting[3]);
    assert!(matches!(first, Poll::Ready(Ok(_))));
    assert!(poll(&mut waiting[4]).is_pending(), "first come, first served");
    held.pop();
    assert!(matches!(poll(&mut waiting[4]), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_an_end_and_a_client_that_leaves_gives_its_place_up() {
    let admission = Admission::new(limits(1));
    let _held = now(&admission, ask(Class::Finish, "a", 0)).unwrap();
    let mut waiting: Vec<_> =
        (0..40).map(|n| Box::pin(admission.admit(ask(Class::Finish, &format!("t{n}"), 0)))).collect();
    assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_pending()));
    assert_eq!(admission.state().in_flight(), (1, 0, 41, 40));
    let begun = tokio::time::Instant::now();
    assert_eq!(refusal(admission.admit(ask(Class::Finish, "late", 0)).await).0, 503);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    waiting.pop();
    assert!(poll(&mut Box::pin(admission.admit(ask(Class::Finish, "late", 0)))).is_pending());
    drop(waiting);
    assert_eq!(admission.state().in_flight(), (1, 0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn one_tenant_has_a_quarter_of_the_queue() {
    let admission = Admission::new(limits(1));
    let _held = now(&admission, ask(Class::Finish, "a", 0)).unwrap();
    let mut waiting: Vec<_> = (0..11).map(|_| Box::pin(admission.admit(ask(Class::Finish, "many", 0)))).collect();
    let pending = waiting.iter_mut().filter_map(|waiting| poll(waiting).is_pending().then_some(())).count();
    assert_eq!(pending, 10);
    assert!(poll(&mut Box::pin(admission.admit(ask(Class::Finish, "other", 0)))).is_pending());
}

/// A turn that nobody waits for any more goes to the next.
#[tokio::test(start_paused = true)]
async fn a_turn_given_to_a_client_that_has_left_is_not_lost() {
    let admission = Admission::new(limits(1));
    let first = now(&admission, ask(Class::Finish, "a", 0)).unwrap();
    let mut gone = Box::pin(admission.admit(ask(Class::Finish, "b", 0)));
    let mut next = Box::pin(admission.admit(ask(Class::Finish, "c", 0)));
    assert!(poll(&mut gone).is_pending() && poll(&mut next).is_pending());
    drop(first);
    drop(gone);
    assert!(matches!(poll(&mut next), Poll::Ready(Ok(_))));
}

/// A tenant that asks for a hundred times its share leaves the rest to the others, and they get their part at once.
#[tokio::test(start_paused = true)]
async fn a_greedy_tenant_moves_nobody() {
    let admission = Admission::new(limits(100));
    let mut greedy = fill(&admission, Class::Blob, "greedy");
    assert_eq!(greedy.len(), 55);
    let (status, code, _, message) = refusal(admission.admit(ask(Class::Blob, "greedy", 0)).await);
    assert_eq!((status, code.as_str()), (429, "TOOMANYREQUESTS"));
    assert!(message.contains("tenant greedy") && message.contains("limits.requests"), "{message}");
    let modest: Vec<Permit> = (0..20).map(|_| now(&admission, ask(Class::Blob, "modest", 0)).expect("room")).collect();
    assert_eq!(modest.len(), 20);
    // What the greedy one gives back goes to whoever is below the fair share.
    greedy.truncate(30);
    assert!(now(&admission, ask(Class::Blob, "greedy", 0)).is_some(), "there is room again");
    let more: Vec<Permit> = fill(&admission, Class::Blob, "modest");
    assert!(more.len() + modest.len() >= 85 / 3, "{}", more.len());
}

/// Whatever kinds of requests one tenant floods with, and in whatever order: others are let in at once, with each kind.
#[tokio::test(start_paused = true)]
async fn no_flood_of_one_tenant_shuts_others_out() {
    let mut floods: Vec<Vec<Class>> = Class::ALL.map(|class| vec![class]).to_vec();
    floods.extend([Class::ALL.to_vec(), Class::ALL.into_iter().rev().collect()]);
    for flood in floods {
        let admission = Admission::new(limits(100));
        let greedy: Vec<Permit> = flood.iter().flat_map(|class| fill(&admission, *class, "greedy")).collect();
        for class in Class::ALL {
            let let_in: Vec<Option<Permit>> = (0..5).map(|_| now(&admission, ask(class, "modest", 0))).collect();
            assert!(let_in.iter().all(Option::is_some), "{class:?} after {} of {flood:?}", greedy.len());
        }
    }
}

/// Uploads that a client keeps alive byte by byte hold their buffers for hours.
#[tokio::test(start_paused = true)]
async fn slow_uploads_of_one_tenant_leave_bytes_to_the_others() {
    const MIB: u64 = 1 << 20;
    let admission = Admission::new(limits(8000));
    let slow: Vec<Permit> =
        std::iter::from_fn(|| now(&admission, ask(Class::Finish, "greedy", 4 * MIB))).take(1000).collect();
    assert_eq!(slow.len(), 166, "two thirds of a GiB, 4 MiB each");
    let (status, _, _, message) = refusal(admission.admit(ask(Class::Finish, "greedy", 4 * MIB)).await);
    assert!(status == 429 && message.contains("limits.bytes_in_flight"), "{message}");
    for (class, bytes) in [(Class::Start, 4 * MIB), (Class::Blob, MIB / 4), (Class::Finish, 4 * MIB)] {
        let let_in: Vec<Permit> = (0..10).map_while(|_| now(&admission, ask(class, "modest", bytes))).collect();
        assert_eq!(let_in.len(), 10, "{class:?}");
    }
}

/// The order of refusal holds within one tenant as well: its pushes under way are not stopped by its own pulls.
#[tokio::test(start_paused = true)]
async fn a_lone_tenant_is_refused_pushes_under_way_last() {
    let admission = Admission::new(limits(100));
    let mut held = Vec::new();
    for (class, full) in [(Class::Start, 50), (Class::Blob, 55), (Class::Metadata, 60), (Class::Finish, 65)] {
        held.extend(fill(&admission, class, "lone"));
        assert_eq!(held.len(), full, "{class:?}");
        assert!(
            Class::ALL
                .into_iter()
                .filter(|lower| *lower <= class)
                .all(|lower| now(&admission, ask(lower, "lone", 0)).is_none())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_a_limit_of_its_own() {
    let admission = Admission::new(AdmissionLimits { tenant_requests: Some(3), ..limits(100) });
    let held = fill(&admission, Class::Blob, "a");
    assert_eq!(held.len(), 3);
    let (status, code, _, message) = refusal(admission.admit(ask(Class::Finish, "a", 0)).await);
    assert_eq!((status, code.as_str()), (429, "TOOMANYREQUESTS"));
    assert!(message.contains("limits.tenant_requests"), "{message}");
    assert!(now(&admission, ask(Class::Blob, "b", 0)).is_some());
    assert!(now(&admission, ask(Class::Metadata, "", 0)).is_some());
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_and_one_large_body_is_never_too_much() {
    let admission = Admission::new(AdmissionLimits { bytes_in_flight: 1000, ..limits(100) });
    let large = now(&admission, ask(Class::Finish, "a", 5000)).expect("alone");
    assert!(now(&admission, ask(Class::Finish, "b", 1)).is_none());
    assert!(now(&admission, ask(Class::Finish, "b", 0)).is_some());
    let (status, _, _, message) = refusal(admission.admit(ask(Class::Finish, "b", 1)).await);
    assert!(status == 503 && message.contains("limits.bytes_in_flight"), "{message}");
    drop(large);
    let held: Vec<Permit> = (0..7).map_while(|n| now(&admission, ask(Class::Start, &format!("t{n}"), 100))).collect();
    assert_eq!(held.len(), 7);
    assert!(now(&admission, ask(Class::Start, "late", 100)).is_none());
    assert!(now(&admission, ask(Class::Finish, "late", 300)).is_some());

    let own = Admission::new(AdmissionLimits { tenant_bytes_in_flight: Some(100), ..limits(100) });
    let _held = now(&own, ask(Class::Finish, "a", 100)).unwrap();
    let (status, _, _, message) = refusal(own.admit(ask(Class::Finish, "a", 1)).await);
    assert!(status == 429 && message.contains("limits.tenant_bytes_in_flight"), "{message}");
}

#[tokio::test]
async fn an_answer_holds_its_place_until_its_last_bytes_are_gone() {
    let admission = Admission::new(limits(10));
    let permit = now(&admission, ask(Class::Blob, "a", 0)).unwrap();
    let whole = Bytes::from(vec![7; 1 << 20]);
    let response = keep(permit, Response::new(Body::from(whole.clone()))).unwrap();
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(1 << 20));
    let mut body = response.into_body();
    let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(body.frame().await.is_none());
    drop(body);
    // The kernel sends a file by the address of its bytes: they must be the same ones.
    assert_eq!((chunk.as_ptr(), chunk.len()), (whole.as_ptr(), whole.len()));
    let rest = chunk.slice(1000..);
    drop(chunk);
    assert_eq!(admission.state().in_flight().0, 1, "a part is still to be sent");
    drop(rest);
    assert_eq!(admission.state().in_flight().0, 0);

    let permit = now(&admission, ask(Class::Blob, "a", 0)).unwrap();
    drop(keep(permit, Response::new(Body::empty())).unwrap());
    assert_eq!(admission.state().in_flight().0, 0);
}

/// A reader without an HTTP/2 window keeps what it was sent in memory.
#[tokio::test(start_paused = true)]
async fn a_large_answer_of_any_kind_is_bytes_in_flight() {
    let admission =
        Admission::new(AdmissionLimits { bytes_in_flight: 10 << 20, tenant_requests: Some(2), ..limits(10) });
    let answer = |bytes: usize| {
        let permit = now(&admission, ask(Class::Metadata, "a", 0)).unwrap();
        keep(permit, Response::new(Body::from(vec![7; bytes])))
    };
    let first = answer(4 << 20).unwrap();
    assert_eq!(admission.state().in_flight(), (1, 4 << 20, 1, 0));
    let small = answer(1000).unwrap();
    assert_eq!(admission.state().in_flight(), (1, 4 << 20, 1, 0), "on its way already");
    let begun = tokio::time::Instant::now();
    let refused = answer(8 << 20).map(|_| panic!("let in"));
    assert_eq!(begun.elapsed(), Duration::ZERO, "what waits is in memory, too");
    let (status, _, _, message) = refusal(refused);
    assert!(status == 503 && message.contains("limits.bytes_in_flight"), "{message}");
    assert_eq!(admission.state().in_flight(), (1, 4 << 20, 1, 0));
    // The place it had is no reason to refuse it a larger one.
    let second = answer(1 << 20).unwrap();
    drop((first, small, second));
    assert_eq!(admission.state().in_flight(), (0, 0, 0, 0));
}

/// Its work is done: it is not refused because others are many.
#[tokio::test(start_paused = true)]
async fn a_large_answer_keeps_the_place_of_its_request() {
    for lone in [false, true] {
        let admission = Admission::new(limits(100));
        let tenant = |number: usize| if lone { "a".to_owned() } else { format!("t{number}") };
        let admit = |number: usize| now(&admission, ask(Class::Metadata, &tenant(number), 0));
        let mut held: Vec<Permit> = (0..).map_while(admit).collect();
        // A place that comes free is theirs.
        let mut waiter = Box::pin(admission.admit(ask(Class::Metadata, "z", 0)));
        if !lone {
            assert!(poll(&mut waiter).is_pending());
        }
        let permit = held.pop().unwrap();
        let answer = keep(permit, Response::new(Body::from(vec![0; 20_000]))).unwrap();
        assert_eq!(admission.state().in_flight().1, 20_000);
        if !lone {
            assert!(poll(&mut waiter).is_pending());
        }
        drop(answer);
        assert!(poll(&mut waiter).is_ready());
    }
}

proptest! {
    /// Whatever comes and goes: nobody is let in beyond a limit, and in the end nothing is left behind.
    #[test]
    fn counts_stay_true(steps in prop::collection::vec((0usize..4, 0usize..4, 0u64..400, any::<bool>(), any::<u8>()), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let admission = Admission::new(AdmissionLimits {
                requests: 12, bytes_in_flight: 1000, tenant_requests: Some(9), queued: 8, ..limits(12)
            });
            let (mut held, mut waiting) = (Vec::new(), Vec::new());
            for (class, tenant, bytes, leave, which) in steps {
                if leave && !held.is_empty() {
                    held.swap_remove(which as usize % held.len());
                } else if leave && !waiting.is_empty() {
                    drop(waiting.swap_remove(which as usize % waiting.len()));
                } else {
                    waiting.push(Box::pin(admission.admit(ask(Class::ALL[class], ["", "a", "b", "c"][tenant], bytes))));
                }
                let mut still = Vec::new();
                for mut one in waiting.drain(..) {
                    match poll(&mut one) {
                        Poll::Ready(Ok(permit)) => held.push(permit),
                        Poll::Ready(Err(_)) => {}
                        Poll::Pending => still.push(one),
                    }
                }
                waiting = still;
                let (requests, used, _, queued) = admission.state().in_flight();
                assert!(requests <= 12 && queued <= 8 && queued == waiting.len());
                assert_eq!(requests as usize, held.len());
                assert_eq!(used, held.iter().map(|permit: &Permit| permit.ask.bytes).sum::<u64>());
                assert!(used <= 1000 || held.iter().filter(|permit| permit.ask.bytes > 0).count() <= 1);
                let mut tenants: HashMap<_, usize> = HashMap::new();
                held.iter().for_each(|permit| *tenants.entry(permit.ask.tenant.clone()).or_default() += 1);
                tenants.remove(&None);
                assert!(tenants.values().all(|count| *count <= 9));
            }
            drop(held);
            drop(waiting);
            assert_eq!(admission.state().in_flight(), (0, 0, 0, 0));
        });
    }
}
