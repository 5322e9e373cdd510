use super::{Spread, percentile};

#[test]
fn median_is_the_middle_of_the_sorted_values() {
    let odd = Spread::of(&[9.0, 1.0, 5.0]).unwrap();
    assert_eq!((odd.median, odd.min, odd.max), (5.0, 1.0, 9.0));
    assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 100.0]).unwrap().median, 3.0);
    assert_eq!(Spread::of(&[]), None);
}

#[test]
fn ratios_pair_only_values_of_the_same_round() {
    let theirs = [Some(10.0), None, Some(40.0), Some(1.0)];
    let ours = [Some(1.0), Some(7.0), Some(2.0), None];
    let ratio = Spread::of_ratios(&theirs, &ours).unwrap();
    assert_eq!((ratio.min, ratio.median, ratio.max), (10.0, 15.0, 20.0));
}

#[test]
fn ratios_without_a_common_round_are_absent() {
    assert_eq!(Spread::of_ratios(&[Some(1.0), None], &[None, Some(1.0)]), None);
}

#[test]
fn percentile_is_a_value_that_occurred() {
    let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
    assert_eq!(percentile(&values, 0.99), Some(198.0));
    assert_eq!(percentile(&values, 0.5), Some(100.0));
    assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
    assert_eq!(percentile(&[], 0.99), None);
}
