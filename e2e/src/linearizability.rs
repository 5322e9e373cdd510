//! Was there one order of all operations, each at one moment between its call and its answer, in which every
//! answer is right? For registers that are written, read and cleared: the tags of a registry.
//!
//! The search is that of Wing and Gong with Lowe's memory of what was tried, as Porcupine has it: it takes
//! operations in the order of their calls, and when none fits any more takes back the latest.
//!
//! An operation whose outcome nobody knows may have happened at any time after its call, or never. Trying it
//! everywhere would double the work with each of them. But it matters only where the next answer needs it: before a
//! read of its value, or where a clear has to find something or nothing. So it is placed there or nowhere; and of
//! several that would do, the first, as all others stay possible later.

use std::collections::{HashMap, HashSet};
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

/// A call or an answer of an operation that was answered, in a list from which both are taken out when the operation has its place.
struct Event {
    operation: usize,
    call: bool,
    at: Duration,
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
    let unanswered = Unanswered::of(operations);
    let mut placed = vec![0_u64; operations.len().div_ceil(64)];
    let mut value = None;
    let mut tried: HashSet<(Vec<u64>, Option<u64>)> = HashSet::new();
    let mut order: Vec<Placed> = Vec::new();
    let mut at = history.events[0].next;
    while history.events[0].next != 0 {
        let event = &history.events[at];
        if at != 0 && event.call {
            let operation = event.operation;
            let action = &operations[operation].action;
            let direct = step(action, value).map(|after| (None, after));
            let fit = direct.or_else(|| unanswered.before(action, &placed, history.first_answer()));
            if let Some((helper, after)) = fit {
                set(&mut placed, operation, true);
                helper.iter().for_each(|helper| set(&mut placed, *helper, true));
                if tried.insert((placed.clone(), after)) {
                    order.push(Placed { event: at, helper, before: value });
                    value = after;
                    history.take_out(at);
                    at = history.events[0].next;
                    continue;
                }
                set(&mut placed, operation, false);
                helper.iter().for_each(|helper| set(&mut placed, *helper, false));
            }
            at = history.events[at].next;
            continue;
        }
        // An answer whose operation has no place yet: something placed before must go elsewhere.
        let Some(latest) = order.pop() else { return false };
        value = latest.before;
        set(&mut placed, history.events[latest.event].operation, false);
        latest.helper.iter().for_each(|helper| set(&mut placed, *helper, false));
        history.put_back(latest.event);
        at = history.events[latest.event].next;
    }
    true
}

/// An operation that has its place.
struct Placed {
    event: usize,
    /// One without an answer that was placed just before.
    helper: Option<usize>,
    /// The register before both.
    before: Option<u64>,
}

/// Operations without an answer, in the order of their calls: what was called and which operation it is.
struct Unanswered {
    /// Writes of a value that somebody read.
    read: HashMap<u64, (Duration, usize)>,
    /// Writes of values that nobody read: one is as good as another.
    unread: Vec<(Duration, usize)>,
    clears: Vec<(Duration, usize)>,
}

impl Unanswered {
    fn of(operations: &[Operation]) -> Self {
        let reads: HashSet<u64> = operations
            .iter()
            .filter_map(|operation| match operation.action {
                Action::Get(read) => read,
                _ => None,
            })
            .collect();
        let mut unanswered = Self { read: HashMap::new(), unread: Vec::new(), clears: Vec::new() };
        for (at, operation) in operations.iter().enumerate().filter(|(_, operation)| operation.answered.is_none()) {
            match operation.action {
                Action::Put(value) if reads.contains(&value) => {
                    unanswered.read.insert(value, (operation.called, at));
                }
                Action::Put(_) => unanswered.unread.push((operation.called, at)),
                Action::Clear(_) | Action::MaybeClear => unanswered.clears.push((operation.called, at)),
                // What a read would have said changes nothing.
                Action::Get(_) => {}
            }
        }
        unanswered.unread.sort_unstable();
        unanswered.clears.sort_unstable();
        unanswered
    }

    /// An operation that makes `action` right when it comes just before, if one was called before `limit` and has
    /// no place yet; with the register after both.
    fn before(&self, action: &Action, placed: &[u64], limit: Duration) -> Option<(Option<usize>, Option<u64>)> {
        let possible = |(called, at): &&(Duration, usize)| *called <= limit && !is_set(placed, *at);
        let (_, helper) = match action {
            Action::Get(Some(value)) => self.read.get(value).filter(possible),
            Action::Clear(true) => self.unread.iter().find(possible),
            Action::Get(None) | Action::Clear(false) => self.clears.iter().find(possible),
            Action::Put(_) | Action::MaybeClear => None,
        }?;
        let after = match action {
            Action::Get(value) => *value,
            _ => None,
        };
        Some((Some(*helper), after))
    }
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

fn is_set(bits: &[u64], at: usize) -> bool {
    bits[at / 64] & (1 << (at % 64)) != 0
}

impl History {
    fn of(operations: &[Operation]) -> Self {
        let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            if let Some(answered) = operation.answered {
                moments.push((operation.called, true, at));
                moments.push((answered, false, at));
            }
        }
        // At the same moment a call comes before an answer: they may have overlapped.
        moments.sort_by_key(|(time, call, _)| (*time, !call));
        let head = Event { operation: usize::MAX, call: false, at: Duration::ZERO, previous: 0, next: 0 };
        let mut history = Self { events: vec![head], answer: vec![0; operations.len()] };
        for (time, call, operation) in moments {
            let at = history.events.len();
            history.events[at - 1].next = at;
            history.events.push(Event { operation, call, at: time, previous: at - 1, next: 0 });
            if !call {
                history.answer[operation] = at;
            }
        }
        history
    }

    /// When the first answer came whose operation has no place yet: what was called later comes later.
    fn first_answer(&self) -> Duration {
        let mut at = self.events[0].next;
        while at != 0 && self.events[at].call {
            at = self.events[at].next;
        }
        if at == 0 { Duration::MAX } else { self.events[at].at }
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
