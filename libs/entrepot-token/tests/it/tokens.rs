use std::sync::Arc;

use entrepot_core::{Action, Actions, Principal, Resource, Scope};
use entrepot_token::{KeySet, MAX_SCOPES, SignError, Signer, SigningKey, TokenError, Verifier};

const NOW: u64 = 1_800_000_000;

fn pair() -> (Signer, Verifier) {
    let key = SigningKey::generate().unwrap();
    let verifier = Verifier::new("registry.test", KeySet::new([key.public()]));
    (Signer::new(key, "registry.test"), verifier)
}

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_token_says_who_may_do_what_until_when() {
    let (signer, verifier) = pair();
    for principal in [Principal::Anonymous, Principal::User("alice".into()), Principal::Robot("ci".into())] {
        let asked = scopes(&["repository:team/app:pull,push", "registry:catalog:*", "repository:other:delete"]);
        let token = signer.sign(&principal, &asked, &[], 7, NOW, 120).unwrap();
        let grant = verifier.verify(&token, NOW).unwrap();
        assert_eq!(grant.principal, principal);
        assert_eq!(grant.scopes, asked);
        assert_eq!(grant.expires_at, NOW + 120);
        assert_eq!(grant.generation, 7);
        assert!(grant.allows(&asked[0].resource, Action::Push));
        assert!(!grant.allows(&asked[0].resource, Action::Delete));
        assert!(!grant.allows(&scopes(&["repository:team:pull"])[0].resource, Action::Pull));
        assert!(!grant.allows(&scopes(&["repository:team/app/sub:pull"])[0].resource, Action::Pull));
    }
}

#[test]
fn a_remembered_token_still_expires() {
    let (signer, verifier) = pair();
    let token = signer.sign(&Principal::Anonymous, &[], &[], 0, NOW, 100).unwrap();
    let first = verifier.verify(&token, NOW).unwrap();
    let second = verifier.verify(&token, NOW + 99).unwrap();
    assert!(Arc::ptr_eq(&first, &second), "verified twice");
    assert_eq!(verifier.verify(&token, NOW + 100).unwrap_err(), TokenError::Expired);
}

#[test]
fn no_token_lives_longer_than_five_minutes() {
    let (signer, verifier) = pair();
    let token = signer.sign(&Principal::Anonymous, &[], &[], 0, NOW, u64::MAX).unwrap();
    assert_eq!(verifier.verify(&token, NOW).unwrap().expires_at, NOW + 300);
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let (signer, verifier) = pair();
    let token = signer.sign(&Principal::Anonymous, &[], &[], 0, NOW, 300).unwrap();
    assert_eq!(verifier.verify(&token, NOW - 61).unwrap_err(), TokenError::Times);
    assert!(verifier.verify(&token, NOW - 60).is_ok());
}

#[test]
fn a_scope_without_actions_is_kept_and_allows_nothing() {
    let (signer, verifier) = pair();
    let mut asked = scopes(&["repository:a:fly", "repository:team/*:pull"]);
    asked.push(Scope { resource: Resource::Catalog, actions: Actions::NONE });
    let token = signer.sign(&Principal::Anonymous, &asked, &[], 0, NOW, 300).unwrap();
    let grant = verifier.verify(&token, NOW).unwrap();
    assert_eq!(grant.scopes, asked);
    assert!(!grant.allows(&asked[0].resource, Action::Pull));
    assert!(!grant.allows(&Resource::Catalog, Action::Pull));
}

/// A reader who asked to push is told so for good; one who asked only to read has to ask again.
#[test]
fn what_was_asked_for_in_vain_is_known() {
    let (signer, verifier) = pair();
    let granted = scopes(&["repository:team/app:pull", "repository:other/app:"]);
    let refused = scopes(&["repository:team/app:push"]);
    let grant = |refused: &[Scope]| {
        let token = signer.sign(&Principal::Anonymous, &granted, refused, 0, NOW, 300).unwrap();
        verifier.verify(&token, NOW).unwrap()
    };
    let resource = &granted[0].resource;
    assert!(grant(&refused).refuses(resource, Action::Push));
    assert!(!grant(&refused).allows(resource, Action::Push));
    assert!(grant(&refused).allows(resource, Action::Pull));
    assert!(!grant(&refused).refuses(resource, Action::Pull));
    assert!(!grant(&refused).refuses(resource, Action::Delete), "that was not asked for");
    assert!(!grant(&[]).refuses(resource, Action::Push));
    assert!(grant(&[]).refuses(&granted[1].resource, Action::Push), "nothing of it was granted");
}

#[test]
fn too_many_scopes_are_refused() {
    let (signer, _) = pair();
    let many = vec![scopes(&["repository:a:pull"]).remove(0); MAX_SCOPES + 1];
    assert!(matches!(signer.sign(&Principal::Anonymous, &many, &[], 0, NOW, 300), Err(SignError::TooLarge)));
    let long = format!("repository:{}:pull", "a".repeat(200));
    let wide = vec![scopes(&[&long]).remove(0); MAX_SCOPES];
    assert!(matches!(signer.sign(&Principal::Anonymous, &wide, &[], 0, NOW, 300), Err(SignError::TooLarge)));
}

#[test]
fn a_withdrawn_key_takes_its_remembered_tokens_along() {
    let (signer, verifier) = pair();
    let token = signer.sign(&Principal::Anonymous, &[], &[], 0, NOW, 300).unwrap();
    verifier.verify(&token, NOW).unwrap();
    let next = SigningKey::generate().unwrap();
    verifier.set_keys(KeySet::new([next.public(), signer.key().public()]));
    verifier.verify(&token, NOW).unwrap();
    verifier.set_keys(KeySet::new([next.public()]));
    assert_eq!(verifier.verify(&token, NOW).unwrap_err(), TokenError::UnknownKey);
}
