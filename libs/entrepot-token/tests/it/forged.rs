//! Tokens that somebody would like to be accepted. Each starts as a good one and changes one thing.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use entrepot_core::Principal;
use entrepot_token::{KeySet, Signer, SigningKey, TokenError, Verifier};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;

struct Forge {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
    keys: KeySet,
    id: String,
}

impl Forge {
    fn new() -> Self {
        let key = SigningKey::generate().unwrap();
        let pkcs8 = key.to_pkcs8().unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
        Self { pair, pkcs8, keys: KeySet::new([key.public()]), id: key.id().to_owned() }
    }

    fn verifier(&self) -> Verifier {
        Verifier::new("registry.test", self.keys.clone())
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "JWT", "kid": self.id })
    }

    fn claims() -> Value {
        json!({
            "iss": "registry.test", "sub": "user:mallory", "aud": "registry.test",
            "iat": NOW, "nbf": NOW, "exp": NOW + 300, "jti": "x",
            "access": [{ "type": "repository", "name": "team/app", "actions": ["pull"] }],
        })
    }

    /// A token over exactly these bytes, with a signature of the real key.
    fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn with_header(&self, member: &str, value: Value) -> String {
        let mut header = self.header();
        header[member] = value;
        self.sign(&header, &Self::claims())
    }

    fn without_header(&self, member: &str) -> String {
        let mut header = self.header();
        header.as_object_mut().unwrap().remove(member);
        self.sign(&header, &Self::claims())
    }

    fn with_claim(&self, member: &str, value: Value) -> String {
        let mut claims = Self::claims();
        claims[member] = value;
        self.sign(&self.header(), &claims)
    }

    fn good(&self) -> String {
        self.sign(&self.header(), &Self::claims())
    }
}

#[test]
fn the_unchanged_token_is_good() {
    let forge = Forge::new();
    let grant = forge.verifier().verify(&forge.good(), NOW).unwrap();
    assert_eq!(grant.generation, 0, "a signer that writes none knows of no change");
}

/// Wishes about how to verify, none of them ours to grant.
fn headers(forge: &Forge) -> Vec<(&'static str, String)> {
    let own = KeySet::to_json(&forge.keys);
    let own: Value = serde_json::from_str(&own).unwrap();
    vec![
        ("alg none", forge.with_header("alg", json!("none"))),
        ("alg None", forge.with_header("alg", json!("None"))),
        ("alg HS256", forge.with_header("alg", json!("HS256"))),
        ("alg RS256", forge.with_header("alg", json!("RS256"))),
        ("alg ES384", forge.with_header("alg", json!("ES384"))),
        ("alg EdDSA", forge.with_header("alg", json!("EdDSA"))),
        ("alg lower case", forge.with_header("alg", json!("es256"))),
        ("alg empty", forge.with_header("alg", json!(""))),
        ("alg null", forge.with_header("alg", Value::Null)),
        ("alg list", forge.with_header("alg", json!(["ES256"]))),
        ("alg absent", forge.without_header("alg")),
        ("typ other", forge.with_header("typ", json!("at+jwt"))),
        ("typ absent", forge.without_header("typ")),
        ("kid absent", forge.without_header("kid")),
        ("kid null", forge.with_header("kid", Value::Null)),
        ("kid number", forge.with_header("kid", json!(0))),
        ("jwk", forge.with_header("jwk", own["keys"][0].clone())),
        ("jku", forge.with_header("jku", json!("https://attacker.test/keys"))),
        ("x5u", forge.with_header("x5u", json!("https://attacker.test/chain"))),
        ("x5c", forge.with_header("x5c", json!(["MIIB"]))),
        ("x5t", forge.with_header("x5t", json!("AAAA"))),
        ("crit", forge.with_header("crit", json!(["exp"]))),
        ("crit unknown", forge.with_header("crit", json!(["http://attacker.test"]))),
        ("crit empty", forge.with_header("crit", json!([]))),
        ("b64 false", forge.with_header("b64", json!(false))),
        ("zip", forge.with_header("zip", json!("DEF"))),
        ("enc", forge.with_header("enc", json!("A128GCM"))),
        ("cty", forge.with_header("cty", json!("JWT"))),
        ("unknown member", forge.with_header("x", json!(1))),
        ("header is a list", forge.sign_text("[]", &Forge::claims().to_string())),
        ("header is empty", forge.sign_text("", &Forge::claims().to_string())),
        (
            "kid twice",
            forge.sign_text(
                &format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{0}","kid":"{0}"}}"#, forge.id),
                &Forge::claims().to_string(),
            ),
        ),
        (
            "alg twice",
            forge.sign_text(
                &format!(r#"{{"alg":"none","alg":"ES256","typ":"JWT","kid":"{}"}}"#, forge.id),
                &Forge::claims().to_string(),
            ),
        ),
    ]
}

#[test]
fn headers_cannot_choose_how_they_are_verified() {
    let forge = Forge::new();
    let forged = headers(&forge);
    assert!(forged.len() >= 30);
    for (name, token) in forged {
        let refused = forge.verifier().verify(&token, NOW).unwrap_err();
        assert!(matches!(refused, TokenError::Malformed(_)), "{name}: {refused:?}");
    }
    for kid in ["", "other", "../../dev/null", "' OR 1=1 --", &format!("{} ", forge.id)] {
        let token = forge.with_header("kid", json!(kid));
        assert_eq!(forge.verifier().verify(&token, NOW).unwrap_err(), TokenError::UnknownKey, "{kid}");
    }
}

#[test]
fn signatures_must_be_of_the_named_key() {
    let forge = Forge::new();
    let good = forge.good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let with = |bytes: &[u8]| format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let other = stranger.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &forge.pkcs8).unwrap();
    let der = der.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let public: Value = serde_json::from_str(&forge.keys.to_json()).unwrap();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, public["keys"][0]["x"].as_str().unwrap().as_bytes());
    let mut flipped = raw.clone();
    flipped[10] ^= 1;
    let claims = Forge::claims().to_string().replace("mallory", "admin");
    let swapped =
        message.split_once('.').unwrap().0.to_owned() + "." + &URL_SAFE_NO_PAD.encode(claims) + "." + signature;
    for (name, token) in [
        ("empty", with(&[])),
        ("zeros (CVE-2022-21449)", with(&[0; 64])),
        ("one bit flipped", with(&flipped)),
        ("cut", with(&raw[..63])),
        ("lengthened", with(&[&raw[..], &[0]].concat())),
        ("halves swapped", with(&[&raw[32..], &raw[..32]].concat())),
        ("of another key", with(other.as_ref())),
        ("in DER", with(der.as_ref())),
        ("HMAC with the public key", with(hmac::sign(&secret, message.as_bytes()).as_ref())),
        ("of other claims", swapped),
    ] {
        assert_eq!(forge.verifier().verify(&token, NOW).unwrap_err(), TokenError::Signature, "{name}");
    }
}

#[test]
fn texts_must_be_spelled_the_one_way() {
    let forge = Forge::new();
    let good = forge.good();
    let parts: Vec<&str> = good.split('.').collect();
    let raw = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let json = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
    for (name, token) in [
        ("nothing", String::new()),
        ("two dots", "..".into()),
        ("one part", parts[0].into()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("encrypted form", format!("{good}.x.x")),
        ("padded", format!("{}.{}.{}", parts[0], parts[1], URL_SAFE.encode(&raw))),
        ("standard alphabet", format!("{}.{}.{}+/", parts[0], parts[1], STANDARD.encode(&raw).trim_end_matches('='))),
        ("space before", format!(" {good}")),
        ("space after", format!("{good} ")),
        ("line break", format!("{good}\n")),
        ("NUL", format!("{good}\0")),
        ("Bearer twice", format!("Bearer {good}")),
        ("JSON form", json),
        ("8 KiB and more", format!("{good}{}", "A".repeat(8192))),
    ] {
        let refused = forge.verifier().verify(&token, NOW).unwrap_err();
        assert!(matches!(refused, TokenError::Malformed(_) | TokenError::Signature), "{name}: {refused:?}");
    }
}

#[test]
fn claims_must_be_for_us_and_now() {
    let forge = Forge::new();
    let check = |member: &str, value: Value, expected: fn(TokenError) -> bool| {
        let refused = forge.verifier().verify(&forge.with_claim(member, value.clone()), NOW).unwrap_err();
        assert!(expected(refused), "{member} {value}: {refused:?}");
    };
    let malformed = |error| matches!(error, TokenError::Malformed(_));
    let foreign = |error| error == TokenError::Foreign;
    let times = |error| error == TokenError::Times;
    for audience in ["", "other.test", "registry.test.attacker.test", "REGISTRY.TEST"] {
        check("aud", json!(audience), foreign);
        check("iss", json!(audience), foreign);
    }
    check("aud", json!(["registry.test"]), malformed);
    check("aud", Value::Null, malformed);
    check("exp", json!(NOW), |error| error == TokenError::Expired);
    check("exp", json!(0), |error| error == TokenError::Expired);
    check("exp", json!(NOW + 301), times);
    check("exp", json!(u64::MAX), times);
    check("exp", json!("9999999999"), malformed);
    check("exp", json!(9e99), malformed);
    check("exp", json!(-1), malformed);
    check("nbf", json!(NOW + 61), times);
    check("iat", json!(NOW + 61), times);
    check("iat", json!(NOW - 86_400), times);
    for member in ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "access"] {
        check(member, Value::Null, malformed);
        let mut claims = Forge::claims();
        claims.as_object_mut().unwrap().remove(member);
        let refused = forge.verifier().verify(&forge.sign(&forge.header(), &claims), NOW).unwrap_err();
        assert!(malformed(refused), "{member} absent: {refused:?}");
    }
    for subject in ["", "root", "user:", "group:admins", "user"] {
        check("sub", json!(subject), malformed);
    }
    let one = json!({ "type": "repository", "name": "a", "actions": ["pull"] });
    check("access", json!(vec![one; 101]), malformed);
    check("access", json!({ "repository:a": "pull" }), malformed);
    let twice = Forge::claims().to_string().replacen('{', "{\"sub\":\"user:admin\",", 1);
    let refused = forge.verifier().verify(&forge.sign_text(&forge.header().to_string(), &twice), NOW).unwrap_err();
    assert!(malformed(refused), "sub twice: {refused:?}");
}

#[test]
fn access_of_unknown_kinds_grants_nothing() {
    let forge = Forge::new();
    for access in [
        json!({ "type": "registry", "name": "keys", "actions": ["*"] }),
        json!({ "type": "repository", "name": "*", "actions": ["*"] }),
        json!({ "type": "repository", "name": "team/sub/*", "actions": ["*"] }),
        json!({ "type": "repository", "name": "../team", "actions": ["*"] }),
        json!({ "type": "Repository", "name": "team/app", "actions": ["pull"] }),
    ] {
        let token = forge.with_claim("access", json!([access]));
        assert!(forge.verifier().verify(&token, NOW).unwrap().scopes.is_empty(), "{access}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_passes(token in "[A-Za-z0-9_.=-]{0,200}|\\PC{0,100}") {
        let verifier = Verifier::new("registry.test", KeySet::new([SigningKey::generate().unwrap().public()]));
        prop_assert!(verifier.verify(&token, NOW).is_err());
    }

    #[test]
    fn no_changed_character_passes(at in 0_usize..600, with in "[A-Za-z0-9_.-]") {
        let key = SigningKey::generate().unwrap();
        let verifier = Verifier::new("registry.test", KeySet::new([key.public()]));
        let good = Signer::new(key, "registry.test").sign(&Principal::Anonymous, &[], &[], 0, NOW, 300).unwrap();
        let at = at % good.len();
        let mut changed = good.clone();
        changed.replace_range(at..=at, &with);
        prop_assert_eq!(verifier.verify(&changed, NOW).is_ok(), changed == good);
    }
}
