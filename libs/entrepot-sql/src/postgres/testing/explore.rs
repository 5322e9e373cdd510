//! Two requests at once, in every interleaving of their statements that one switch of each gives.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{task::JoinHandle, time::Instant};

use super::{Flaw, LostAnswers, Pauses, Tampering};
use crate::Database;

/// Longer than a deadlock takes to be found and undone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two processes on one database whose transactions can be stopped between statements.
pub struct Arena {
    /// Looks on; never stopped.
    pub watcher: Database,
    /// The database as the first process has it.
    pub first: Database,
    /// The database as the second process has it.
    pub second: Database,
    /// Commits of the first process whose answer gets lost.
    pub lost_answers: LostAnswers,
    pauses: [Pauses; 2],
}

/// What is wrong, if anything.
pub type Verdict = Result<(), String>;

/// Says what is wrong with the answers and what is stored then.
pub type Verify<A, B> = Box<dyn FnOnce(A, B) -> BoxFuture<'static, Verdict> + Send>;

/// One meeting of two requests, on rows that no other meeting touches.
pub struct Case<A, B> {
    /// What the first process does.
    pub first: BoxFuture<'static, A>,
    /// What the second process does.
    pub second: BoxFuture<'static, B>,
    /// Looks at the outcome.
    pub verify: Verify<A, B>,
}

/// What a request is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Stopped,
    Blocked,
    Finished,
}

impl Arena {
    /// Two processes without these guards.
    pub fn new(database: &Database, flaws: &[Flaw]) -> Self {
        let pauses = [Pauses::default(), Pauses::default()];
        let lost_answers = LostAnswers::default();
        let side = |pauses: &Pauses, lost_answers| {
            database.replica(Tampering { flaws: flaws.to_vec(), pauses: Some(pauses.clone()), lost_answers })
        };
        let first = side(&pauses[0], lost_answers.clone());
        let second = side(&pauses[1], LostAnswers::default());
        Self { watcher: database.clone(), first, second, lost_answers, pauses }
    }

    /// Lets the requests of `case` meet in every way: the first is stopped before each of its statements and its commit
    /// in turn; the second then runs to each of its own, or until it has to wait for the first; then the first goes on to
    /// its end, or until it has to wait for the second; then both do. Answers the first thing that was wrong, with where.
    ///
    /// # Panics
    /// When a request neither ends nor stops nor waits for a lock.
    pub async fn explore<A, B>(&self, case: impl AsyncFn(usize) -> Case<A, B>) -> Option<String>
    where
        A: Send + 'static,
        B: Send + 'static,
    {
        let mut round = 0;
        for first in 0.. {
            for second in 0.. {
                round += 1;
                let case = case(round).await;
                let (met, verdict) = self.meet(case, first, second).await;
                if let Err(reason) = verdict {
                    return Some(format!("{met}: {reason}"));
                }
                if met.first != Standing::Stopped {
                    return None;
                }
                if met.second != Standing::Stopped {
                    break;
                }
            }
        }
        None
    }

    /// Runs two requests side by side, without stops; answers whether one of them began again after a conflict.
    ///
    /// # Panics
    /// When a request panics.
    pub async fn collide<A, B>(&self, first: BoxFuture<'static, A>, second: BoxFuture<'static, B>) -> (A, B, bool)
    where
        A: Send + 'static,
        B: Send + 'static,
    {
        for pauses in &self.pauses {
            pauses.begin(None);
        }
        let (first, second) = (tokio::spawn(first), tokio::spawn(second));
        let (first, second) = (ended(first.await), ended(second.await));
        let again = self.pauses.iter().any(|pauses| {
            let reached = pauses.reached();
            reached.iter().enumerate().any(|(at, sql)| reached[..at].contains(sql))
        });
        (first, second, again)
    }

    async fn meet<A, B>(&self, case: Case<A, B>, first: usize, second: usize) -> (Meeting, Verdict)
    where
        A: Send + 'static,
        B: Send + 'static,
    {
        let [first_pauses, second_pauses] = &self.pauses;
        first_pauses.begin(Some(first));
        second_pauses.begin(Some(second));
        let one = tokio::spawn(case.first);
        let first_stands = self.settle(&one, first_pauses).await;
        let other = tokio::spawn(case.second);
        let second_stands = self.settle(&other, second_pauses).await;
        let places = [first_pauses.reached(), second_pauses.reached()]
            .map(|reached| reached.last().copied().unwrap_or("the end"));
        first_pauses.release();
        if second_stands == Standing::Stopped {
            // Nobody else waits, so that whoever does is the first.
            self.settle(&one, first_pauses).await;
        }
        second_pauses.release();
        let both = async { (one.await, other.await) };
        let (a, b) = tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("the requests never end"));
        for pauses in &self.pauses {
            pauses.begin(None);
        }
        let verdict = match (a, b) {
            (Ok(a), Ok(b)) => (case.verify)(a, b).await,
            (a, b) => Err(format!("a request panicked: {:?} {:?}", a.err(), b.err())),
        };
        (Meeting { first: first_stands, second: second_stands, places }, verdict)
    }

    /// Waits until a request stops, waits for a lock, or has ended.
    async fn settle<T>(&self, request: &JoinHandle<T>, pauses: &Pauses) -> Standing {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if pauses.is_holding() {
                return Standing::Stopped;
            }
            if request.is_finished() {
                return Standing::Finished;
            }
            let waiting = self.watcher.waiting_for_locks().await;
            if waiting.unwrap_or_else(|error| panic!("the server does not say who waits: {error:?}")) > 0 {
                return Standing::Blocked;
            }
            assert!(Instant::now() < deadline, "a request neither ends nor stops nor waits for a lock");
            tokio::task::yield_now().await;
        }
    }
}

fn ended<T>(request: Result<T, tokio::task::JoinError>) -> T {
    request.unwrap_or_else(|error| panic!("a request panicked: {error}"))
}

/// How two requests met.
struct Meeting {
    first: Standing,
    second: Standing,
    places: [&'static str; 2],
}

impl fmt::Display for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |sql: &'static str| sql.split_whitespace().take(6).collect::<Vec<_>>().join(" ");
        let [first, second] = self.places.map(short);
        write!(f, "first {:?} at `{first}`, second {:?} at `{second}`", self.first, self.second)
    }
}
