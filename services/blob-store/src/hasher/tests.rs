use proptest::prelude::*;

use super::*;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// Midstates lie in databases: an update of the hash library must not change their meaning unseen.
#[test]
fn the_midstate_has_not_changed() {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&[b'x'; 65]);
    let midstate = hasher.midstate();
    assert_eq!(midstate.len(), 32 + 8 + 64);
    let text: String = midstate.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, SHA256_OF_65_X);
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(&[b'x'; 129]);
    assert_eq!(hasher.midstate().len(), 64 + 16 + 128);
}

/// Eight words, the number of full blocks, the length of the started block, the block padded with zeros.
const SHA256_OF_65_X: &str = concat!(
    "46cd328b442d77d0198e15e4e27214ed182aa435e0ceec365b2992e2deffad85",
    "0100000000000000",
    "01",
    "78",
    "00000000000000000000000000000000000000000000000000000000000000",
    "00000000000000000000000000000000000000000000000000000000000000"
);

#[test]
fn what_is_no_midstate_is_refused() {
    for algorithm in ALGORITHMS {
        let midstate = Hasher::new(algorithm).midstate();
        for wrong in [&midstate[1..], &[], &[&midstate[..], &[0]].concat()] {
            assert!(Hasher::resume(algorithm, wrong).is_none());
        }
        let full_block = vec![0xff; midstate.len()];
        assert!(Hasher::resume(algorithm, &full_block).is_none(), "a block position past the block");
    }
}

proptest! {
    #[test]
    fn a_resumed_hash_ends_like_one_that_ran_through(content in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..600) {
        let cut = cut.min(content.len());
        for algorithm in ALGORITHMS {
            let mut first = Hasher::new(algorithm);
            first.update(&content[..cut]);
            let mut second = Hasher::resume(algorithm, &first.midstate()).unwrap();
            second.update(&content[cut..]);
            prop_assert_eq!(second.finish(), Digest::of(algorithm, &content));
        }
    }
}
