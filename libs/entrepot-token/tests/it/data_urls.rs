use entrepot_core::StorageKey;
use entrepot_token::{DataUrlError, DataUrlSigner};

const NOW: u64 = 1_800_000_000;

fn split(query: &str) -> (&str, &str) {
    query.strip_prefix("exp=").unwrap().split_once("&sig=").unwrap()
}

#[test]
fn a_url_works_for_one_method_and_key_for_a_while() {
    let signer = DataUrlSigner::new(&[7; 32]).unwrap();
    let object = StorageKey::random();
    let query = signer.sign("GET", &object, NOW + 30);
    let (exp, sig) = split(&query);
    assert_eq!(signer.verify("GET", &object, exp, sig, NOW), Ok(()));
    assert_eq!(signer.verify("HEAD", &object, exp, sig, NOW), Ok(()));
    assert_eq!(signer.verify("PUT", &object, exp, sig, NOW), Err(DataUrlError::Signature));
    assert_eq!(signer.verify("GET", &StorageKey::random(), exp, sig, NOW), Err(DataUrlError::Signature));
    assert_eq!(signer.verify("GET", &object, exp, sig, NOW + 30), Err(DataUrlError::Expired));
    let later = (NOW + 31).to_string();
    assert_eq!(signer.verify("GET", &object, &later, sig, NOW), Err(DataUrlError::Signature));
    for junk in ["", "x", "-1", "99999999999999999999"] {
        assert_eq!(signer.verify("GET", &object, junk, sig, NOW), Err(DataUrlError::Signature), "{junk}");
    }
    for spelling in [format!("0{exp}"), format!("+{exp}"), format!("{exp} ")] {
        assert_eq!(signer.verify("GET", &object, &spelling, sig, NOW), Err(DataUrlError::Signature), "{spelling}");
    }
    for at in 0..sig.len() {
        let mut changed = sig.to_owned();
        changed.replace_range(at..=at, if &sig[at..=at] == "A" { "B" } else { "A" });
        assert_eq!(signer.verify("GET", &object, exp, &changed, NOW), Err(DataUrlError::Signature), "{changed}");
    }
}

#[test]
fn a_changed_secret_honours_the_previous_one_while_it_is_named() {
    let old = DataUrlSigner::new(&[1; 32]).unwrap();
    let object = StorageKey::random();
    let query = old.sign("GET", &object, NOW + 30);
    let (exp, sig) = split(&query);
    let new = DataUrlSigner::new(&[2; 32]).unwrap();
    assert!(new.verify("GET", &object, exp, sig, NOW).is_err());
    let both = new.with_previous(&[1; 32]).unwrap();
    assert_eq!(both.verify("GET", &object, exp, sig, NOW), Ok(()));
    assert_ne!(both.sign("GET", &object, NOW + 30), query);
}

#[test]
fn a_short_secret_is_refused_and_none_is_printed() {
    assert!(DataUrlSigner::new(&[0; 31]).is_err());
    assert_eq!(format!("{:?}", DataUrlSigner::new(&[0; 32]).unwrap()), "DataUrlSigner");
}
