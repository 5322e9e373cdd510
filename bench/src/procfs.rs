//! CPU time and memory of a server with all its processes, and of the machine, from `/proc`.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProcessStat {
    parent: u32,
    /// User and system time in clock ticks, with that of children already waited for. A process's
    /// line covers all its threads, also those that have ended.
    ticks: u64,
}

fn parse_stat(line: &str) -> Option<ProcessStat> {
    // The command stands in parentheses and may itself contain spaces and parentheses.
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<_>>()?;
    Some(ProcessStat { parent: fields.get(1)?.parse().ok()?, ticks })
}

/// All processes; those that end while this reads are left out.
fn processes() -> anyhow::Result<HashMap<u32, ProcessStat>> {
    let folder = std::fs::read_dir("/proc").context("cannot list processes")?;
    Ok(folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse_stat(&line)?))
        })
        .collect())
}

fn tree(root: u32, all: &HashMap<u32, ProcessStat>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// CPU seconds that `root` and its descendants have used so far.
pub(crate) fn cpu_seconds(root: u32) -> anyhow::Result<f64> {
    let all = processes()?;
    anyhow::ensure!(all.contains_key(&root), "process {root} has ended");
    let ticks = tree(root, &all).iter().filter_map(|pid| all.get(pid)).map(|stat| stat.ticks).sum();
    Ok(seconds(ticks))
}

/// Resident memory of `root` and its descendants in MB (10^6 bytes). Pages that they share count
/// for each of them.
pub(crate) fn resident_mb(root: u32) -> anyhow::Result<f64> {
    let mut kib = 0;
    for pid in tree(root, &processes()?) {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        kib += field_kib(&text, "Rss:").with_context(|| format!("no Rss in {path}"))?;
    }
    Ok(kib as f64 * 1024.0 / 1e6)
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// CPU time between two moments, split into the server's, the load's (this process and its other
/// children) and everyone else's.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    server: u32,
    at: Instant,
    server_seconds: f64,
    own_seconds: f64,
    busy_seconds: f64,
}

/// What a [`CpuMeter`] saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuUse {
    /// CPU seconds of the server.
    pub(crate) server: f64,
    /// Wall seconds.
    pub(crate) wall: f64,
    /// Share of the machine (0 to 1) that neither the server nor the load used: other programs
    /// and what a hypervisor took away.
    pub(crate) foreign: f64,
}

impl CpuMeter {
    pub(crate) fn start(server: u32) -> anyhow::Result<Self> {
        Ok(Self {
            server,
            own_seconds: own_seconds()?,
            busy_seconds: busy_seconds()?,
            server_seconds: cpu_seconds(server)?,
            at: Instant::now(),
        })
    }

    pub(crate) fn stop(self) -> anyhow::Result<CpuUse> {
        let wall = self.at.elapsed().as_secs_f64();
        let server = cpu_seconds(self.server)? - self.server_seconds;
        let busy = busy_seconds()? - self.busy_seconds;
        let own = own_seconds()? - self.own_seconds;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let foreign = ((busy - server - own) / (wall * cores)).clamp(0.0, 1.0);
        Ok(CpuUse { server, wall, foreign })
    }
}

fn own_seconds() -> anyhow::Result<f64> {
    let line = std::fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    Ok(seconds(parse_stat(&line).context("/proc/self/stat is not as expected")?.ticks))
}

fn busy_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    Ok(seconds(parse_busy(&text).context("/proc/stat is not as expected")?))
}

/// user, nice, system, irq, softirq and steal of all cores.
fn parse_busy(text: &str) -> Option<u64> {
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    [0, 1, 2, 5, 6, 7].iter().map(|&index| fields.get(index).copied()).sum()
}

/// What the figures were taken on; names no host.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    /// Hash and vector extensions that change the cost of SHA-256.
    extensions: Vec<&'static str>,
    memory_mb: u64,
    kernel: String,
    load_average: String,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let value = |key: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = value("flags").unwrap_or_default();
        Self {
            cpu: value("model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            extensions: ["sha_ni", "avx2", "avx512f"]
                .into_iter()
                .filter(|name| flags.split(' ').any(|flag| flag == *name))
                .collect(),
            memory_mb: field_kib(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024 / 1_000_000,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg").trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
