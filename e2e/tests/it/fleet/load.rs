//! Mixed load: several writers with a memory at once, and what they came to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use entrepot_e2e::registry::Registry;

use crate::kill::Writer;

const WRITERS: usize = 4;

/// Writers that push, pull, re-tag, delete and upload, each in repositories of its own.
pub(super) struct Load {
    writers: Vec<Writer>,
}

impl Load {
    /// Through the balancer.
    pub(super) fn new(registry: &Registry) -> Self {
        Self { writers: (0..WRITERS).map(|at| Writer::serving(at, registry.api())).collect() }
    }

    /// Lets all writers work until `faults` is over.
    pub(super) fn during<T>(&mut self, faults: impl FnOnce() -> Result<T>) -> Result<T> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in &mut self.writers {
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        writer.step();
                    }
                });
            }
            let outcome = faults();
            over.store(true, Ordering::Relaxed);
            outcome
        })
    }

    /// Compares everything with what was acknowledged.
    pub(super) fn audit(&mut self) -> Result<()> {
        thread::scope(|scope| {
            let audits: Vec<_> = self.writers.iter_mut().map(|writer| scope.spawn(|| writer.audit())).collect();
            audits.into_iter().try_for_each(|audit| audit.join().unwrap())
        })
        .context("the audit")
    }

    /// For people.
    pub(super) fn summary(&self) -> String {
        let sum = |count: fn(&Writer) -> u64| self.writers.iter().map(count).sum::<u64>();
        format!(
            "{} acknowledged, {} in doubt, {} tags audited, {} uploads resumed, 0 lost, 0 wrong",
            sum(Writer::acknowledged),
            sum(Writer::in_doubt),
            sum(Writer::audited),
            sum(Writer::resumed)
        )
    }
}
