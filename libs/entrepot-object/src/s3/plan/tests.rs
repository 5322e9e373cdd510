use proptest::prelude::*;

use super::*;

const MIB: usize = 1 << 20;

#[test]
fn parts_grow_from_8_to_64_mib_and_reach_400_gb() {
    let plan = Plan::new(8 * MIB);
    let sizes: Vec<usize> = [0, 999, 1000, 1999, 2000, 3000, 9999].iter().map(|n| plan.size(*n) / MIB).collect();
    assert_eq!(sizes, [8, 8, 16, 16, 32, 64, 64]);
    let largest: usize = (0..MAX_PARTS).map(|index| plan.size(index)).sum();
    assert!(largest >= 400_000_000_000, "{largest}");
}

/// The worst a chunked upload can do: it cuts every part that may be cut.
#[test]
fn cut_parts_still_reach_400_gb() {
    let plan = Plan::new(8 * MIB);
    let reached: usize = (0..MAX_PARTS).map(|index| plan.least(index)).sum();
    assert!(reached >= 400_000_000_000, "{reached}");
}

proptest! {
    #[test]
    fn no_part_is_smaller_than_s3_takes(first in LEAST..=LARGEST, index in 0..MAX_PARTS) {
        let plan = Plan::new(first);
        prop_assert!(plan.size(index) >= LEAST);
        prop_assert!(plan.size(index) <= LARGEST);
        prop_assert!(plan.size(index + 1) >= plan.size(index));
        prop_assert!((LEAST..=plan.size(index)).contains(&plan.least(index)));
    }
}
