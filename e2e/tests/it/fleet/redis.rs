//! Redis forgets everything, or is killed, every few seconds: nobody may notice but by a little latency. Rates are counted
//! and rights change all the while.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::http::{Client, Credentials, Request};
use entrepot_e2e::image::Image;
use entrepot_e2e::patience::Patience;
use entrepot_e2e::registry::{Access, Commands, Registry, Setup};

use super::kill::pause;
use super::{check, lacks, number, plain};

const CLIENTS: u64 = 4;
/// Between two faults.
const PERIOD: Duration = Duration::from_secs(5);
/// Redis comes back after so long.
const AWAY: Duration = Duration::from_secs(1);
/// What two runs of the same load differ by on a busy machine, besides the fifth that is allowed.
const NOISE: Duration = Duration::from_millis(10);

/// A change of rights counts at every gateway after so long, with Redis or without.
const EFFECTIVE: Duration = Duration::from_secs(5);

/// A command is a process, whose start costs more than a request: they are not what is measured.
const BETWEEN_CHANGES: Duration = Duration::from_millis(700);

/// Somebody whose rights come and go.
struct Guest {
    commands: Commands,
    /// The guest at each gateway.
    gateways: Vec<Client>,
}

impl Guest {
    const NAME: &str = "guest";
    const PASSWORD: &str = "comes-and-goes";
    const REPOSITORY: &str = "guests/app";

    fn invite(registry: &Registry) -> Result<Self> {
        let commands = registry.commands().context("no accounts")?;
        commands.run(&["user", "add", Self::NAME, "--password-stdin"], Self::PASSWORD)?;
        let image = Image::random(&[20_000], "amd64");
        registry.api().push_image(Self::REPOSITORY, "latest", &image)?;
        let credentials = Credentials { user: Self::NAME.to_owned(), password: Self::PASSWORD.to_owned() };
        let gateways = registry.gateways();
        let gateways = gateways.iter().map(|gateway| Client::new(gateway, None, Some(credentials.clone()))).collect();
        Ok(Self { commands, gateways })
    }

    /// Gives the right and takes it again until `over`; the longest time that either took to count everywhere, and how
    /// often they did.
    fn come_and_go(&self, over: &AtomicBool) -> Result<(Duration, u64)> {
        let (mut longest, mut changes) = (Duration::ZERO, 0);
        while !over.load(Ordering::Relaxed) {
            self.commands.run(&["grant", "add", Self::NAME, "guests/*", "pull"], "")?;
            longest = longest.max(self.counts(200).context("a right that was given")?);
            pause(BETWEEN_CHANGES);
            self.commands.run(&["grant", "remove", Self::NAME, "guests/*"], "")?;
            longest = longest.max(self.counts(403).context("a right that was taken")?);
            pause(BETWEEN_CHANGES);
            changes += 2;
        }
        Ok((longest, changes))
    }

    /// How long it takes until every gateway answers a pull with `status`.
    fn counts(&self, status: u16) -> Result<Duration> {
        let start = Instant::now();
        for gateway in &self.gateways {
            loop {
                let asked = start.elapsed();
                let request = Request::new("GET", format!("/v2/{}/manifests/latest", Self::REPOSITORY));
                let found = gateway.send(request)?.status;
                if found == status {
                    break;
                }
                ensure!(asked < EFFECTIVE, "{} still answers {found} after {asked:?}", gateway.authority());
                pause(Duration::from_millis(50));
            }
        }
        Ok(start.elapsed())
    }
}

/// One client's day: push, pull by tag, pull what others pushed, delete.
fn client(api: &Api, number: u64, patience: &Patience, over: &AtomicBool, done: &AtomicU64) -> Result<()> {
    let repository = format!("redis/c{number}");
    for turn in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let image = Image::random(&[20_000], "amd64");
        let tag = format!("t{}", turn % 5);
        patience.keep("push", || api.push_image(&repository, &tag, &image))?;
        for _ in 0..5 {
            let found = patience.keep("pull", || api.verify(&repository, &tag))?;
            ensure!(
                found == image.manifest.digest,
                "{repository}:{tag} is {found}, pushed was {}",
                image.manifest.digest
            );
        }
        if turn % 7 == 0 {
            patience.keep("delete", || api.delete_manifest(&repository, &image.manifest.digest))?;
            let found = patience.keep("look", || api.manifest(&repository, &tag))?;
            ensure!(found.is_none(), "{repository}:{tag} is there after it was deleted");
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// What was seen under load.
struct Seen {
    /// The 99th percentile of all requests.
    percentile: Duration,
    /// The longest time until a change of rights counted, and how many changes there were.
    rights: (Duration, u64),
}

/// All clients while `faults` runs.
fn load(api: &Api, guest: &Guest, done: &AtomicU64, faults: impl FnOnce() -> Result<()>) -> Result<Seen> {
    // One attempt: nothing may fail.
    let patience = Patience::new(1, Duration::ZERO);
    let over = AtomicBool::new(false);
    let rights = thread::scope(|scope| {
        let rights = scope.spawn(|| guest.come_and_go(&over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (patience, over) = (&patience, &over);
                scope.spawn(move || client(api, number, patience, over, done))
            })
            .collect();
        let outcome = faults();
        over.store(true, Ordering::Relaxed);
        clients.into_iter().try_for_each(|client| client.join().unwrap())?;
        let rights = rights.join().unwrap()?;
        outcome.map(|()| rights)
    })?;
    Ok(Seen { percentile: patience.percentile(99), rights })
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let length = Duration::from_secs(number("ENTREPOT_E2E_REDIS_SECONDS", 30));
    let api = registry.api();
    let guest = Guest::invite(registry)?;
    let done = AtomicU64::new(0);
    let quiet = |length| {
        let seen = load(&api, &guest, &done, || {
            pause(length);
            Ok(())
        });
        seen.map(|seen| seen.percentile)
    };
    quiet(Duration::from_secs(2)).context("warming up")?;
    let before = quiet(length / 2).context("with Redis")?;
    let redis = registry.engines_mut().redis.as_mut().context("no Redis")?;
    let mut faults = 0;
    let Seen { percentile: during, rights } = load(&api, &guest, &done, || {
        let end = Instant::now() + length;
        while Instant::now() < end {
            if faults % 2 == 0 {
                redis.flush()?;
                pause(PERIOD);
            } else {
                redis.kill()?;
                pause(AWAY);
                redis.revive()?;
                pause(PERIOD - AWAY);
            }
            faults += 1;
        }
        Ok(())
    })
    .context("while Redis failed")?;
    let after = quiet(length / 2).context("with Redis again")?;
    let usual = before.max(after);
    ensure!(
        during <= usual.mul_f64(1.2) + NOISE,
        "the 99th percentile was {during:?}, without faults {before:?} and {after:?}"
    );
    ensure!(rights.1 > 0, "no right was changed while Redis failed");
    Ok(format!(
        "{faults} times flushed or killed, {} pushes and five times as many pulls, 0 failed, 0 wrong, \
         {} changes of rights counted everywhere after at most {} ms, 99th percentile {} ms, otherwise {} ms and {} ms",
        done.load(Ordering::Relaxed),
        rights.1,
        rights.0.as_millis(),
        during.as_millis(),
        before.as_millis(),
        after.as_millis()
    ))
}

#[test]
fn flushed_and_killed() {
    // Rates that nobody reaches are counted in Redis all the same.
    let setup = Setup { access: Access::Managed, ..plain() };
    let setup = ["tenant", "principal"].into_iter().fold(setup, |setup, whose| {
        let setup = setup.with(&format!("limits.{whose}_requests_per_second"), "100000");
        setup.with(&format!("limits.{whose}_bytes_per_second"), "100GiB")
    });
    if !lacks("redis", "redis", setup.scale.engines.redis) {
        check("redis", &[], &setup, exercise);
    }
}
