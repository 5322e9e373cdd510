use super::Action::{Clear, Get, MaybeClear, Put};
use super::*;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

fn done(action: Action, called: u64, answered: u64) -> Operation {
    let at = Duration::from_millis;
    Operation { action, called: at(called), answered: Some(at(answered)) }
}

fn unknown(action: Action, called: u64) -> Operation {
    Operation { action, called: Duration::from_millis(called), answered: None }
}

#[test]
fn histories_that_have_an_order_are_accepted() {
    let cases: &[(&str, Vec<Operation>)] = &[
        ("nothing", vec![]),
        ("one after the other", vec![done(Put(1), 0, 1), done(Get(Some(1)), 2, 3), done(Clear(true), 4, 5)]),
        ("a read that overlaps a write may be early", vec![done(Put(1), 0, 9), done(Get(None), 1, 2)]),
        ("or late", vec![done(Put(1), 0, 9), done(Get(Some(1)), 1, 2)]),
        (
            "two writes at once, read in one order",
            vec![done(Put(1), 0, 9), done(Put(2), 0, 9), done(Get(Some(2)), 1, 5), done(Get(Some(1)), 6, 8)],
        ),
        ("a lost write that came late", vec![unknown(Put(1), 0), done(Get(None), 1, 2), done(Get(Some(1)), 3, 4)]),
        ("a lost write that never came", vec![unknown(Put(1), 0), done(Put(2), 1, 2), done(Get(Some(2)), 3, 4)]),
        ("a lost clear", vec![done(Put(1), 0, 1), unknown(MaybeClear, 2), done(Get(None), 5, 6)]),
        (
            "of two clears one finds nothing",
            vec![done(Put(1), 0, 1), done(Clear(true), 2, 9), done(Clear(false), 3, 8)],
        ),
        (
            "a lost write that a clear found",
            vec![unknown(Put(1), 0), done(Clear(true), 3, 4), done(Clear(false), 5, 6)],
        ),
        (
            "a lost write that was read long after, then a lost clear",
            vec![
                unknown(Put(1), 0),
                done(Put(2), 1, 2),
                done(Get(Some(1)), 3, 4),
                unknown(MaybeClear, 5),
                done(Get(None), 8, 9),
            ],
        ),
        ("at the same moment is at once", vec![done(Put(1), 0, 5), done(Get(None), 5, 6)]),
    ];
    for (name, history) in cases {
        assert!(is_linearizable(history), "{name}");
    }
}

#[test]
fn histories_that_have_none_are_rejected() {
    let cases: &[(&str, Vec<Operation>)] = &[
        ("a stale read", vec![done(Put(1), 0, 1), done(Put(2), 2, 3), done(Get(Some(1)), 4, 5)]),
        ("a value that nobody wrote", vec![done(Put(1), 0, 1), done(Get(Some(7)), 2, 3)]),
        ("an acknowledged write that is lost", vec![done(Put(1), 0, 1), done(Get(None), 2, 3)]),
        (
            "a read that goes back behind another",
            vec![done(Put(1), 0, 1), done(Put(2), 2, 9), done(Get(Some(2)), 3, 4), done(Get(Some(1)), 5, 6)],
        ),
        (
            "two readers that disagree about the order",
            vec![done(Put(1), 0, 9), done(Put(2), 0, 9), done(Get(Some(1)), 10, 11), done(Get(Some(2)), 12, 13)],
        ),
        ("a tag back from the dead", vec![done(Put(1), 0, 1), done(Clear(true), 2, 3), done(Get(Some(1)), 4, 5)]),
        ("a clear of what is not there", vec![done(Clear(true), 0, 1)]),
        ("two clears of one value", vec![done(Put(1), 0, 1), done(Clear(true), 2, 9), done(Clear(true), 3, 8)]),
        (
            "one lost write that two clears found",
            vec![unknown(Put(1), 0), done(Clear(true), 3, 4), done(Clear(true), 5, 6)],
        ),
        ("a lost clear before its call", vec![done(Put(1), 0, 1), done(Get(None), 2, 3), unknown(MaybeClear, 4)]),
        ("a lost write before its call", vec![done(Get(Some(1)), 0, 1), unknown(Put(1), 2)]),
        (
            "a lost write that comes and goes",
            vec![unknown(Put(1), 0), done(Put(2), 1, 2), done(Get(Some(1)), 3, 4), done(Get(Some(2)), 5, 6)],
        ),
    ];
    for (name, history) in cases {
        assert!(!is_linearizable(history), "{name}");
    }
}

/// A history of a real register: each operation takes effect at a random moment between call and answer.
fn real(random: &mut StdRng, clients: usize, length: usize, losses: f64) -> Vec<Operation> {
    let mut free: Vec<u64> = vec![0; clients];
    let mut planned = Vec::new();
    for at in 0..length {
        let client = random.random_range(0..free.len());
        let called = free[client] + random.random_range(0..20);
        let answered = called + random.random_range(1..60);
        free[client] = answered + 1;
        planned.push((random.random_range(called..=answered), called, answered, random.random_range(0..3), at as u64));
    }
    planned.sort_unstable();
    let mut value = None;
    planned
        .into_iter()
        .map(|(_, called, answered, kind, number)| {
            let action = match kind {
                0 => {
                    value = Some(number);
                    Put(number)
                }
                1 => Get(value),
                _ => Clear(value.take().is_some()),
            };
            match action {
                action @ Get(_) => done(action, called, answered),
                Clear(_) if random.random_bool(losses) => unknown(MaybeClear, called),
                action @ Put(_) if random.random_bool(losses) => unknown(action, called),
                action => done(action, called, answered),
            }
        })
        .collect()
}

#[test]
fn long_histories_of_a_real_register_are_accepted_and_one_wrong_answer_is_seen() {
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..40 {
        // From none to half of all answers lost.
        let history = real(&mut random, 6, 500, f64::from(round) / 80.0);
        assert!(is_linearizable(&history));
        let mut wrong = history.clone();
        let reads: Vec<usize> = (0..wrong.len()).filter(|at| matches!(wrong[*at].action, Get(_))).collect();
        // A value of an operation that began only long after.
        let (early, late) = (
            reads[0],
            wrong.iter().rev().find_map(|late| match late.action {
                Put(value) if late.answered.is_some() => Some(value),
                _ => None,
            }),
        );
        wrong[early].action = Get(late);
        assert!(!is_linearizable(&wrong));
    }
}
