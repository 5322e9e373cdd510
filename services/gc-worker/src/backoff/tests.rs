use super::*;

#[test]
fn waits_double_to_the_longest_and_start_over_after_success() {
    let mut backoff = Backoff::new(Duration::from_secs(5));
    for bound in [1, 2, 4, 5, 5, 5].map(Duration::from_secs) {
        let wait = backoff.failed();
        assert!(wait >= bound / 2 && wait <= bound, "{wait:?} of {bound:?}");
    }
    backoff.reset();
    assert!(backoff.failed() <= FIRST);
}

#[test]
fn never_longer_than_the_interval() {
    let mut backoff = Backoff::new(Duration::from_millis(10));
    assert!(backoff.failed() <= Duration::from_millis(10));
}
