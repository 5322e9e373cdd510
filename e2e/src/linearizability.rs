//! Was there one order of all operations, each at one moment between its call and its answer, in which every
//! answer is right? For registers that are written, read and cleared: the tags of a registry.
//!
//! The search is that of Wing and Gong with Lowe's memory of what was tried, as Porcupine has it: it takes
//! operations in the order of their calls, and when none fits any more takes back the latest. An operation
//! whose outcome nobody knows may have happened at any time after its call, or never.

use std::collections::HashSet;
use std::time::Duration;

/// What a client asked of a register, and what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The value was written.
    Put(u64),
    /// This value was read; none for an empty register.
    Get(Option<u64>),
    /// It was cleared; true when the answer says that there was a value.
    Clear(bool),
    /// A clear whose answer was lost.
    MaybeClear,
}

/// One operation of a history.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What was asked and answered.
    pub action: Action,
    /// When it was called.
    pub called: Duration,
    /// When its answer came; none if it did not.
    pub answered: Option<Duration>,
}

/// A call or an answer, in a list from which both are taken out when the operation has its place.
struct Event {
    operation: usize,
    call: bool,
    previous: usize,
    next: usize,
}

/// A history as a doubly linked list with a head that is no event; 0 is also the end.
struct History {
    events: Vec<Event>,
    /// The answer's event for every operation.
    answer: Vec<usize>,
}

/// True when `operations` on one register, empty at first, are linearizable.
///
/// ```
/// use std::time::Duration;
/// use entrepot_e2e::linearizability::{Action, Operation, is_linearizable};
///
/// let at = Duration::from_millis;
/// let put = Operation { action: Action::Put(1), called: at(0), answered: Some(at(1)) };
/// let stale = Operation { action: Action::Get(None), called: at(2), answered: Some(at(3)) };
/// assert!(!is_linearizable(&[put, stale]));
/// ```
#[must_use]
pub fn is_linearizable(operations: &[Operation]) -> bool {
    let mut history = History::of(operations);
    let mut placed = vec![0_u64; operations.len().div_ceil(64)];
    let mut value = None;
    let mut tried: HashSet<(Vec<u64>, Option<u64>)> = HashSet::new();
    // Operations that have their place, with the value before them.
    let mut order: Vec<(usize, Option<u64>)> = Vec::new();
    let mut at = history.events[0].next;
    while history.events[0].next != 0 {
        let event = &history.events[at];
        if at != 0 && event.call {
            let operation = event.operation;
            if let Some(after) = step(&operations[operation].action, value) {
                set(&mut placed, operation, true);
                if tried.insert((placed.clone(), after)) {
                    order.push((at, value));
                    value = after;
                    history.take_out(at);
                    at = history.events[0].next;
                    continue;
                }
                set(&mut placed, operation, false);
            }
            at = history.events[at].next;
            continue;
        }
        // An answer whose operation has no place yet: something placed before must go elsewhere.
        let Some((latest, before)) = order.pop() else { return false };
        value = before;
        set(&mut placed, history.events[latest].operation, false);
        history.put_back(latest);
        at = history.events[latest].next;
    }
    true
}

/// The register after `action`; none when its answer cannot be.
fn step(action: &Action, value: Option<u64>) -> Option<Option<u64>> {
    match action {
        Action::Put(new) => Some(Some(*new)),
        Action::Get(read) => (*read == value).then_some(value),
        Action::Clear(there) => (*there == value.is_some()).then_some(None),
        Action::MaybeClear => Some(None),
    }
}

fn set(bits: &mut [u64], at: usize, on: bool) {
    let bit = 1 << (at % 64);
    if on { bits[at / 64] |= bit } else { bits[at / 64] &= !bit }
}

impl History {
    fn of(operations: &[Operation]) -> Self {
        let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            moments.push((operation.called, true, at));
            moments.push((operation.answered.unwrap_or(Duration::MAX), false, at));
        }
        // At the same moment a call comes before an answer: they may have overlapped.
        moments.sort_by_key(|(time, call, _)| (*time, !call));
        let head = Event { operation: usize::MAX, call: false, previous: 0, next: 0 };
        let mut history = Self { events: vec![head], answer: vec![0; operations.len()] };
        for (_, call, operation) in moments {
            let at = history.events.len();
            history.events[at - 1].next = at;
            history.events.push(Event { operation, call, previous: at - 1, next: 0 });
            if !call {
                history.answer[operation] = at;
            }
        }
        history
    }

    /// Takes the call at `at` and its answer out of the list.
    fn take_out(&mut self, at: usize) {
        for at in [at, self.answer[self.events[at].operation]] {
            let (previous, next) = (self.events[at].previous, self.events[at].next);
            self.events[previous].next = next;
            if next != 0 {
                self.events[next].previous = previous;
            }
        }
    }

    /// Undoes [`History::take_out`], of the latest first.
    fn put_back(&mut self, at: usize) {
        for at in [self.answer[self.events[at].operation], at] {
            let (previous, next) = (self.events[at].previous, self.events[at].next);
            self.events[previous].next = at;
            if next != 0 {
                self.events[next].previous = at;
            }
        }
    }
}

#[cfg(test)]
mod tests;
