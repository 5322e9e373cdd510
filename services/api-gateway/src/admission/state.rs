//! The rules, without time and tasks.

use std::collections::{HashMap, VecDeque};

use entrepot_core::TenantName;
use tokio::sync::oneshot;

use super::{AdmissionLimits, Ask, Class, Permit, Turn, of};

/// Percent of each limit, counted together, up to which a tenant above its fair share is let in. All of them lie below the
/// part of the class that is refused first: however much one tenant asks for, of whatever kind, the next finds room
/// at once for every kind. For one tenant alone the order is that of the classes: its pushes under way come last.
const fn contended(class: Class) -> u64 {
    match class {
        Class::Start => 50,
        Class::Blob => 55,
        Class::Metadata => 60,
        Class::Finish => 65,
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Requests,
    Bytes,
}

/// Whose limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The registry's.
    Registry(Resource),
    /// The tenant's own.
    Tenant(Resource),
    /// The tenant has its fair share, and others need theirs.
    Share(Resource),
}

impl Refusal {
    /// The key of the setting, and the label in metrics.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Registry(Resource::Requests) => "limits.requests",
            Self::Registry(Resource::Bytes) => "limits.bytes_in_flight",
            Self::Tenant(Resource::Requests) => "limits.tenant_requests",
            Self::Tenant(Resource::Bytes) => "limits.tenant_bytes_in_flight",
            Self::Share(Resource::Requests) => "fair share of limits.requests",
            Self::Share(Resource::Bytes) => "fair share of limits.bytes_in_flight",
        }
    }

    pub(super) fn describe(self, tenant: Option<&TenantName>) -> String {
        let what = match self {
            Self::Registry(Resource::Requests) => "the registry is at its limit of requests in flight".to_owned(),
            Self::Registry(Resource::Bytes) => "the registry is at its limit of bytes in flight".to_owned(),
            Self::Tenant(Resource::Requests) => format!("{} is at its limit of requests in flight", of(tenant)),
            Self::Tenant(Resource::Bytes) => format!("{} is at its limit of bytes in flight", of(tenant)),
            Self::Share(_) => format!("the registry is busy and {} already has its fair share of it", of(tenant)),
        };
        format!("{what} ({}); try again later", self.reason())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    requests: u64,
    bytes: u64,
}

impl Usage {
    fn add(&mut self, ask: &Ask) {
        self.requests += 1;
        self.bytes += ask.bytes;
    }

    fn remove(&mut self, ask: &Ask) {
        self.requests = self.requests.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(ask.bytes);
    }
}

#[derive(Default)]
struct Tenant {
    used: Usage,
    waiting: usize,
}

struct Waiter {
    ticket: u64,
    ask: Ask,
    turn: Turn,
}

pub(super) struct State {
    limits: AdmissionLimits,
    used: Usage,
    classes: [u64; Class::ALL.len()],
    /// Tenants with a request in flight or waiting.
    tenants: HashMap<TenantName, Tenant>,
    queues: [VecDeque<Waiter>; Class::ALL.len()],
    waiting: usize,
    tickets: u64,
}

impl State {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            used: Usage::default(),
            classes: [0; Class::ALL.len()],
            tenants: HashMap::new(),
            queues: Default::default(),
            waiting: 0,
            tickets: 0,
        }
    }

    /// Counts the request in, unless it does not fit.
    pub(super) fn take(&mut self, ask: &Ask) -> Result<(), Refusal> {
        self.check_request(ask)?;
        self.check_bytes(ask)?;
        self.count(ask);
        Ok(())
    }

    /// Counts a request that is in with the bytes of `new`, unless they do not fit.
    pub(super) fn exchange(&mut self, old: &Ask, new: &Ask) -> Result<(), Refusal> {
        self.give_back(old);
        let fits = self.check_bytes(new);
        self.count(if fits.is_ok() { new } else { old });
        fits
    }

    fn count(&mut self, ask: &Ask) {
        self.used.add(ask);
        self.classes[ask.class as usize] += 1;
        if let Some(tenant) = &ask.tenant {
            match self.tenants.get_mut(tenant) {
                Some(known) => known.used.add(ask),
                None => self.tenants.entry(tenant.clone()).or_default().used.add(ask),
            }
        }
    }

    pub(super) fn give_back(&mut self, ask: &Ask) {
        self.used.remove(ask);
        self.classes[ask.class as usize] = self.classes[ask.class as usize].saturating_sub(1);
        self.tenant(ask, |tenant| tenant.used.remove(ask));
    }

    fn check_request(&self, ask: &Ask) -> Result<(), Refusal> {
        let requests = part(self.limits.requests as u64, ask.class);
        if self.used.requests + 1 > requests {
            return Err(Refusal::Registry(Resource::Requests));
        }
        let Some(name) = &ask.tenant else { return Ok(()) };
        let used = self.used_by(name).requests;
        if self.limits.tenant_requests.is_some_and(|limit| used + 1 > limit.max(1) as u64) {
            return Err(Refusal::Tenant(Resource::Requests));
        }
        let contended = percent(self.limits.requests as u64, contended(ask.class));
        if self.used.requests + 1 > contended && used + 1 > (requests / self.sharers(name)).max(1) {
            return Err(Refusal::Share(Resource::Requests));
        }
        Ok(())
    }

    fn check_bytes(&self, ask: &Ask) -> Result<(), Refusal> {
        let bytes = part(self.limits.bytes_in_flight, ask.class);
        if over(self.used.bytes, ask.bytes, bytes) {
            return Err(Refusal::Registry(Resource::Bytes));
        }
        let Some(name) = &ask.tenant else { return Ok(()) };
        let used = self.used_by(name).bytes;
        if self.limits.tenant_bytes_in_flight.is_some_and(|limit| over(used, ask.bytes, limit)) {
            return Err(Refusal::Tenant(Resource::Bytes));
        }
        let contended = percent(self.limits.bytes_in_flight, contended(ask.class));
        if self.used.bytes + ask.bytes > contended && over(used, ask.bytes, bytes / self.sharers(name)) {
            return Err(Refusal::Share(Resource::Bytes));
        }
        Ok(())
    }

    fn used_by(&self, tenant: &TenantName) -> Usage {
        self.tenants.get(tenant).map(|tenant| tenant.used).unwrap_or_default()
    }

    /// Those who are here, this one, and one that may come.
    fn sharers(&self, tenant: &TenantName) -> u64 {
        self.tenants.len() as u64 + u64::from(!self.tenants.contains_key(tenant)) + 1
    }

    /// A place in the queue, if there is one. A tenant gets at most a quarter of them.
    pub(super) fn enqueue(&mut self, ask: &Ask) -> Option<(u64, oneshot::Receiver<Permit>)> {
        let of_tenant = ask.tenant.as_ref().and_then(|tenant| self.tenants.get(tenant)).map_or(0, |it| it.waiting);
        if self.waiting >= self.limits.queued || of_tenant >= (self.limits.queued / 4).max(1) {
            return None;
        }
        let (turn, wait) = oneshot::channel();
        self.tickets += 1;
        self.queues[ask.class as usize].push_back(Waiter { ticket: self.tickets, ask: ask.clone(), turn });
        self.count_waiter(ask);
        Some((self.tickets, wait))
    }

    fn count_waiter(&mut self, ask: &Ask) {
        self.waiting += 1;
        if let Some(tenant) = &ask.tenant {
            self.tenants.entry(tenant.clone()).or_default().waiting += 1;
        }
    }

    /// Gives a place up; one that had its turn is not there any more.
    pub(super) fn leave(&mut self, ticket: u64, ask: &Ask) {
        let queue = &mut self.queues[ask.class as usize];
        let Some(position) = queue.iter().position(|waiter| waiter.ticket == ticket) else { return };
        queue.remove(position);
        self.uncount_waiter(ask);
    }

    fn uncount_waiter(&mut self, ask: &Ask) {
        self.waiting = self.waiting.saturating_sub(1);
        self.tenant(ask, |tenant| tenant.waiting = tenant.waiting.saturating_sub(1));
    }

    /// Those who wait and fit now, counted in: the class that is refused last first, in each whoever came first.
    pub(super) fn turns(&mut self) -> Vec<(Ask, Turn)> {
        let mut turns = Vec::new();
        if self.waiting == 0 {
            return turns;
        }
        for class in Class::ALL.into_iter().rev() {
            let mut waiters = std::mem::take(&mut self.queues[class as usize]);
            let mut stay = VecDeque::with_capacity(waiters.len());
            while let Some(waiter) = waiters.pop_front() {
                match self.take(&waiter.ask) {
                    Ok(()) => {
                        self.uncount_waiter(&waiter.ask);
                        turns.push((waiter.ask, waiter.turn));
                    }
                    // Nobody of this class fits: the rest need not be asked.
                    Err(Refusal::Registry(_)) => {
                        stay.push_back(waiter);
                        stay.append(&mut waiters);
                    }
                    Err(Refusal::Tenant(_) | Refusal::Share(_)) => stay.push_back(waiter),
                }
            }
            self.queues[class as usize] = stay;
        }
        turns
    }

    fn tenant(&mut self, ask: &Ask, change: impl FnOnce(&mut Tenant)) {
        let Some(name) = &ask.tenant else { return };
        if let Some(tenant) = self.tenants.get_mut(name) {
            change(tenant);
            if tenant.used.requests == 0 && tenant.waiting == 0 {
                self.tenants.remove(name);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; 2^53 are enough")]
    pub(super) fn report(&self) {
        for class in Class::ALL {
            let requests = self.classes[class as usize] as f64;
            metrics::gauge!("entrepot_requests_in_flight", "class" => class.as_str()).set(requests);
        }
        metrics::gauge!("entrepot_bytes_in_flight").set(self.used.bytes as f64);
        metrics::gauge!("entrepot_requests_waiting").set(self.waiting as f64);
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> (u64, u64, usize, usize) {
        (self.used.requests, self.used.bytes, self.tenants.len(), self.waiting)
    }
}

/// The part of a limit that a class may fill; never nothing.
fn part(limit: u64, class: Class) -> u64 {
    percent(limit, class.share()).max(1)
}

fn percent(limit: u64, percent: u64) -> u64 {
    limit.saturating_mul(percent) / 100
}

/// Whether `more` is too much. One that is larger than the whole limit fits when it is alone.
fn over(used: u64, more: u64, limit: u64) -> bool {
    more > 0 && used > 0 && used + more > limit
}
