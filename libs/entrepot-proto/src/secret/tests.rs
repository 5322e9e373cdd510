use super::*;

#[test]
fn admits_itself_and_nothing_else() {
    let secret = InternalSecret::new("0123456789abcdef0123456789abcdef").unwrap();
    assert!(secret.admits(Some(secret.header())));
    assert!(!secret.admits(None));
    for other in [
        "",
        "Bearer",
        "Bearer 0123456789abcdef0123456789abcdeF",
        "Bearer 0123456789abcdef0123456789abcde",
        "bearer 0123456789abcdef0123456789abcdef",
    ] {
        assert!(!secret.admits(Some(&HeaderValue::from_static(other))), "{other}");
    }
}

#[test]
fn refuses_what_is_short_or_no_header_and_never_prints() {
    assert_eq!(InternalSecret::new("short").err(), Some(InternalSecretError::TooShort));
    assert_eq!(InternalSecret::new("0123456789abcdef0123456789abcde\n").err(), Some(InternalSecretError::NotVisible));
    assert_eq!(InternalSecret::new("0123456789 abcdef 0123456789 abcdef").err(), Some(InternalSecretError::NotVisible));
    let secret = InternalSecret::new("0123456789abcdef0123456789abcdef").unwrap();
    assert!(!format!("{secret:?} {:?}", secret.header()).contains("0123"));
}
