use bytes::Bytes;

use super::super::plan::LEAST;
use super::*;

/// Everybody's parts share the line: were the time that of a part alone, nobody's would arrive when it is busy.
#[test]
fn a_part_has_the_time_that_all_parts_take_together() {
    const LINE: usize = 10 << 20;
    let all = S3Options::new("bucket").buffer_memory / LINE;
    let part = Payload::from(Bytes::from(vec![0; LEAST]));
    assert!(sending(&part) >= Duration::from_secs(all as u64), "{:?}", sending(&part));
}
