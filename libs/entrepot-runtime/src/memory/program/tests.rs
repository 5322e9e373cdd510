use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;

const SMAPS: &str = "\
1000-3000 r--p 00000000 fe:00 7 /usr/bin/entrepot
Rss:                   8 kB
Anonymous:             0 kB
3000-9000 r-xp 00002000 fe:00 7 /usr/bin/entrepot
Size:                 24 kB
Rss:                  12 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
9000-a000 rw-p 00008000 fe:00 7 /usr/bin/entrepot
Rss:                   4 kB
Anonymous:             4 kB
";

#[test]
fn the_mapping_with_the_address_is_found() {
    for address in [0x3000, 0x8fff] {
        let code = Code::find(SMAPS, address).unwrap();
        assert_eq!(code, Code { range: 0x3000..0x9000, resident: 12 * 1024 });
    }
}

#[test]
fn only_code_that_is_as_in_its_file_is_dropped() {
    let changed =
        SMAPS.replacen("Rss:                  12 kB\nAnonymous:             0", "Rss: 12 kB\nAnonymous: 4", 1);
    let shared = SMAPS.replace("r-xp", "r-xs");
    let cut = &SMAPS[..SMAPS.find("Size:").unwrap()];
    for (smaps, address, why) in [
        (changed.as_str(), 0x3000, "changed in memory"),
        (&shared, 0x3000, "read-only and private"),
        (cut, 0x3000, "without counters"),
        (SMAPS, 0x2fff, "read-only and private"),
        (SMAPS, 0x9000, "read-only and private"),
        (SMAPS, 0xa000, "not among"),
        ("", 0x3000, "not among"),
    ] {
        let error = Code::find(smaps, address).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// Whoever runs on while its code is unmapped runs on all the same.
#[test]
fn the_program_goes_on_with_less() {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut rounds = 0_u64;
            while !ended.load(SeqCst) {
                rounds = rounds.to_string().parse::<u64>().unwrap() + 1;
            }
            rounds
        });
        let before = unmap_program().unwrap();
        let after = (0..100).map(|_| unmap_program().unwrap()).min().unwrap();
        ended.store(true, SeqCst);
        assert!(busy.join().unwrap() > 0);
        assert!(after < before, "{after} of {before} bytes");
    });
}
