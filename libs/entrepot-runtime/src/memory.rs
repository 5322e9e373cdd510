//! How much memory this process may use, and what it gives back.

mod program;

use std::fs;

pub use program::unmap_program;

/// The memory of the machine, or of the container where that has less; `None` where neither can be read.
pub fn limit() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine(&text));
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(container).min()
}

fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_some() {
        assert!(limit().is_some_and(|bytes| bytes > 64 << 20));
    }

    #[test]
    fn meminfo_counts_in_kib() {
        assert_eq!(machine("MemTotal:       16316412 kB\nMemFree: 1 kB\n"), Some(16_316_412 * 1024));
        assert_eq!(machine("MemFree: 1 kB\n"), None);
        assert_eq!(machine("MemTotal: lots\n"), None);
    }
}
