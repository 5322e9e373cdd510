//! The arithmetic of the options.

use super::writers_within;

#[test]
fn writers_take_a_quarter_of_the_open_files() {
    for (limit, writers) in [(Some(1024), 256), (Some(1 << 20), 4096), (None, 4096), (Some(3), 1), (Some(0), 1)] {
        assert_eq!(writers_within(limit), writers, "{limit:?}");
    }
}
