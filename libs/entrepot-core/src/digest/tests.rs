use super::*;
use proptest::prelude::*;

#[test]
fn refuses_what_is_not_a_digest_and_says_why() {
    let sha = "a".repeat(64);
    for (text, error) in [
        (String::new(), DigestError::MissingAlgorithm),
        (sha.clone(), DigestError::MissingAlgorithm),
        (format!("md5:{sha}"), DigestError::UnsupportedAlgorithm),
        (format!("SHA256:{sha}"), DigestError::UnsupportedAlgorithm),
        (format!("sha256:{}", &sha[1..]), DigestError::WrongLength),
        (format!("sha512:{sha}"), DigestError::WrongLength),
        (format!("sha256:{}", "A".repeat(64)), DigestError::NotHex),
        (format!("sha256:{}../", "a".repeat(61)), DigestError::NotHex),
        (format!("sha256:{}", "é".repeat(32)), DigestError::NotHex),
    ] {
        assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
    }
}

#[test]
fn raw_length_must_fit_the_algorithm() {
    assert!(Digest::from_raw(Algorithm::Sha256, &[0; 31]).is_none());
    assert!(Digest::from_raw(Algorithm::Sha512, &[0; 32]).is_none());
}

proptest! {
    #[test]
    fn text_round_trips(raw in proptest::collection::vec(any::<u8>(), 64), short in any::<bool>()) {
        let (algorithm, raw) = if short { (Algorithm::Sha256, &raw[..32]) } else { (Algorithm::Sha512, &raw[..]) };
        let digest = Digest::from_raw(algorithm, raw).unwrap();
        prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        prop_assert_eq!(digest.raw(), raw);
        prop_assert_eq!(format!("{}:{}", algorithm.as_str(), digest.hex()), digest.to_string());
    }

    #[test]
    fn never_panics(text in "\\PC{0,200}") {
        let _ = text.parse::<Digest>();
    }
}
