//! What a manifest costs in a fleet: which engines are asked, and processor time against one process for all.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use entrepot_e2e::environment;
use entrepot_e2e::hammer;
use entrepot_e2e::image::Image;
use entrepot_e2e::process::Daemon;
use entrepot_e2e::registry::{Registry, Setup, Topology};

use super::{check, lacks, plain};

const REPOSITORY: &str = "reads/app";
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json";
const CONNECTIONS: usize = 8;
/// Shorter than a gateway trusts what it remembers (5 s), with what comes before it.
const TIME: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
/// At least this share of what one process for all does with the same processor time.
const SHARE: f64 = 0.6;
/// Statements beside the point read of each tag, in that time and of all replicas.
const RARE: u64 = 4;
/// What Redis is asked whether or not anybody reads.
const BACKGROUND: &[&str] = &["ping", "hello", "client", "info", "select"];

/// A registry that holds one image, and where its manifest is read.
struct Bed<'a> {
    registry: &'a Registry,
    authority: String,
}

impl<'a> Bed<'a> {
    fn new(registry: &'a Registry, image: &Image) -> Result<Self> {
        registry.api().push_image(REPOSITORY, "v1", image)?;
        let authority = registry.gateways().first().cloned().unwrap_or_else(|| registry.authority().to_owned());
        Ok(Self { registry, authority })
    }

    fn used(&self) -> Result<Duration> {
        self.registry.processes().iter().map(Daemon::processor_time).sum()
    }

    /// Reads for a time: how often, and microseconds of processor time for each, in all processes of the registry.
    fn read(&self, reference: &str) -> Result<(u64, f64)> {
        let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
        let before = self.used()?;
        let count = hammer::get(&self.authority, &path, ACCEPT, CONNECTIONS, TIME)?;
        Ok((count, (self.used()? - before).as_secs_f64() * 1e6 / count as f64))
    }
}

/// By what it is called, and how often.
type Calls = Vec<(String, u64)>;

/// How often `reference` was read, and what was asked meanwhile: statements of PostgreSQL and commands of Redis.
fn asked(bed: &Bed<'_>, reference: &str) -> Result<(u64, Calls, Calls)> {
    let engines = bed.registry.engines();
    let (postgres, redis) = engines.postgres.as_ref().zip(engines.redis.as_ref()).context("no engines")?;
    // What the gateway remembers is as fresh as can be.
    bed.registry.api_of(&bed.authority).manifest(REPOSITORY, reference)?.context("the manifest is gone")?;
    postgres.count_statements()?;
    let before = redis.calls()?;
    let (count, _) = bed.read(reference)?;
    let statements = postgres.statements()?.into_iter().filter(|(text, _)| is_read(text)).collect();
    let of = |name: &str| before.iter().find(|(known, _)| known == name).map_or(0, |(_, calls)| *calls);
    let after = redis.calls()?.into_iter().map(|(name, calls)| (name.clone(), calls - of(&name)));
    let commands = after.filter(|(name, calls)| *calls > 0 && !BACKGROUND.contains(&name.as_str())).collect();
    Ok((count, statements, commands))
}

/// True for a statement about what clients read; gc-worker and health checks ask for other things at all times.
fn is_read(statement: &str) -> bool {
    ["manifest", "tag", "repository", "blob"].iter().any(|table| statement.contains(table))
        && !["garbage", "upload", "review"].iter().any(|table| statement.contains(table))
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let image = Image::random(&[1000], "amd64");
    let (fleet, digest) = (Bed::new(registry, &image)?, image.manifest.digest.clone());

    let (by_digest, statements, commands) = asked(&fleet, &digest)?;
    ensure!(statements.is_empty(), "{by_digest} reads by digest asked PostgreSQL: {statements:?}");
    ensure!(commands.is_empty(), "{by_digest} reads by digest asked Redis: {commands:?}");
    let (by_tag, statements, commands) = asked(&fleet, "v1")?;
    // Each replica looks the identity of a repository up now and then.
    let (of_tags, others): (Calls, Calls) = statements.into_iter().partition(|(text, _)| text.contains("FROM tag "));
    let [(_, calls)] = of_tags[..] else { bail!("reads by tag asked PostgreSQL: {of_tags:?}") };
    let rare: u64 = others.iter().map(|(_, calls)| calls).sum();
    ensure!(calls == by_tag && rare <= RARE, "{by_tag} reads by tag asked PostgreSQL {calls} times, and {others:?}");
    ensure!(commands.is_empty(), "{by_tag} reads by tag asked Redis: {commands:?}");
    environment::say(&format!(
        "fleet reads: {by_digest} by digest: 0 statements, 0 commands; {by_tag} by tag: {calls} point reads and {rare} others, 0 commands"
    ));

    let embedded = Registry::start(&Setup::plain(Topology::Embedded))?;
    let one = Bed::new(&embedded, &image)?;
    let mut shares = Vec::new();
    for round in 0..ROUNDS {
        let (of_fleet, of_one) = if round % 2 == 0 {
            let of_fleet = fleet.read(&digest)?;
            (of_fleet, one.read(&digest)?)
        } else {
            let of_one = one.read(&digest)?;
            (fleet.read(&digest)?, of_one)
        };
        shares.push((of_one.1 / of_fleet.1, of_fleet.1, of_one.1));
    }
    shares.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (share, of_fleet, of_one) = shares[ROUNDS / 2];
    ensure!(share >= SHARE, "{share:.2} of embedded: {of_fleet:.1} against {of_one:.1} us for a manifest by digest");
    Ok(format!("{share:.2} of embedded per processor time ({of_fleet:.1} against {of_one:.1} us by digest)"))
}

#[test]
fn of_manifests() {
    let setup = plain();
    let engines = &setup.scale.engines;
    if !lacks("reads", "PostgreSQL", engines.postgres) && !lacks("reads", "Redis", engines.redis) {
        check("reads", &[], &setup, exercise);
    }
}
