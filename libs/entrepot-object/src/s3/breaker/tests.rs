use super::*;

fn fail(breaker: &Breaker, times: u32, now: Instant) {
    for _ in 0..times {
        assert!(breaker.admits(now));
        breaker.failed(now);
    }
}

#[test]
fn a_row_of_failures_opens_it_and_one_answer_closes_it() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    fail(&breaker, FAILURES - 1, start);
    breaker.answered();
    fail(&breaker, FAILURES, start);
    assert!(!breaker.admits(start));
    assert!(!breaker.admits(start + PAUSE - Duration::from_millis(1)));
    let later = start + PAUSE;
    assert!(breaker.admits(later), "the trial");
    assert!(!breaker.admits(later), "one trial at a time");
    breaker.answered();
    assert!(breaker.admits(later) && breaker.admits(later));
}

#[test]
fn a_failed_trial_starts_the_pause_again() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    fail(&breaker, FAILURES, start);
    fail(&breaker, 1, start + PAUSE);
    assert!(!breaker.admits(start + PAUSE + PAUSE / 2));
    assert!(breaker.admits(start + PAUSE + PAUSE));
}

#[test]
fn a_trial_that_was_dropped_does_not_close_it_for_ever() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    fail(&breaker, FAILURES, start);
    assert!(breaker.admits(start + PAUSE));
    assert!(!breaker.admits(start + PAUSE + TRIAL / 2));
    assert!(breaker.admits(start + PAUSE + TRIAL));
}

#[test]
fn calls_that_are_dropped_after_their_time_are_failures_and_those_dropped_before_are_not() {
    const ATTEMPT: Duration = Duration::from_secs(3);
    let start = Instant::now();
    for (waited, opens) in [(ATTEMPT - Duration::from_millis(1), false), (ATTEMPT, true)] {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.begin(start, ATTEMPT).unwrap().given_up(start + waited);
        }
        assert_eq!(breaker.begin(start + waited, ATTEMPT).is_none(), opens, "{waited:?}");
    }
    // What is known is not counted again when the call is dropped.
    let breaker = Breaker::default();
    for _ in 1..FAILURES {
        breaker.begin(start, Duration::ZERO).unwrap().failed();
    }
    breaker.begin(start, Duration::ZERO).unwrap().answered();
    assert!(breaker.begin(start, Duration::ZERO).is_some());
}
