use super::*;
use proptest::prelude::*;

fn covered(visibility: &Visibility, name: &str) -> usize {
    ranges(visibility).iter().filter(|(from, to)| from.as_str() <= name && name < to.as_str()).count()
}

proptest! {
    #[test]
    fn each_visible_name_lies_in_exactly_one_range(
        entries in proptest::collection::vec("[ab](/[ab]|-a|0|1)?/?", 0..8),
        name in "[ab](-a|0|1)?(/[ab]){0,2}",
    ) {
        let visible = entries.iter().any(|entry| {
            *entry == name || entry.ends_with('/') && name.starts_with(entry.as_str())
        });
        prop_assert_eq!(covered(&Visibility::Only(entries), &name), usize::from(visible));
        prop_assert_eq!(covered(&Visibility::All, &name), 1);
    }

    #[test]
    fn ranges_are_in_order(entries in proptest::collection::vec("[ab](/[ab]|-a|0|1)?/?", 0..8)) {
        let ranges = ranges(&Visibility::Only(entries));
        prop_assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:?}");
    }
}
