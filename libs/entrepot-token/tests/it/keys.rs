use entrepot_token::{KeySet, KeySetError, SigningKey};
use serde_json::Value;

#[test]
fn a_key_survives_storage_and_publication() {
    let key = SigningKey::generate().unwrap();
    let stored = SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
    assert_eq!(stored.id(), key.id());
    let other = SigningKey::generate().unwrap();
    let published = KeySet::new([key.public(), other.public()]).to_json();
    let read = KeySet::from_json(&published).unwrap();
    assert_eq!(read.ids().collect::<Vec<_>>(), [key.id(), other.id()]);
    assert!(read.get(key.id()).is_some() && read.get("absent").is_none());
    assert_eq!(read.to_json(), published);
    assert!(SigningKey::from_pkcs8(b"not a key").is_err());
}

#[test]
fn nothing_private_is_published_or_printed() {
    let key = SigningKey::generate().unwrap();
    let set: Value = serde_json::from_str(&KeySet::new([key.public()]).to_json()).unwrap();
    let mut members: Vec<_> = set["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(format!("{key:?}"), format!("SigningKey {{ id: {:?}, .. }}", key.id()));
}

#[test]
fn the_identifier_is_the_thumbprint_of_rfc_7638() {
    // RFC 7517 appendix A.1, first key, and its thumbprint as the RFC's algorithm gives it.
    let set = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig",
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "kid":"cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"}]}"#;
    assert_eq!(KeySet::from_json(set).unwrap().ids().count(), 1);
}

#[test]
fn a_tampered_set_is_refused_whole() {
    let key = SigningKey::generate().unwrap();
    let good: Value = serde_json::from_str(&KeySet::new([key.public()]).to_json()).unwrap();
    for (member, value) in [
        ("kty", "RSA"),
        ("crv", "P-384"),
        ("alg", "HS256"),
        ("use", "enc"),
        ("kid", "chosen"),
        ("x", "AAAA"),
        ("y", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ] {
        let mut bad = good.clone();
        bad["keys"][0][member] = value.into();
        let refused = KeySet::from_json(&bad.to_string());
        assert!(matches!(refused, Err(KeySetError::Key(_))), "{member}");
    }
    assert!(matches!(KeySet::from_json("{}"), Err(KeySetError::Malformed(_))));
    let many = KeySet::new(vec![key.public(); 17]).to_json();
    assert!(matches!(KeySet::from_json(&many), Err(KeySetError::TooMany)));
}
