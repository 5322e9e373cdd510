use entrepot_core::{Principal, Scope};
use entrepot_token::{Signer, SigningKey};

use super::{SCOPES, add_visible};

fn visible(granted: &[&str], patterns: &[&str]) -> Vec<String> {
    let mut granted: Vec<Scope> = granted.iter().map(|scope| scope.parse().unwrap()).collect();
    let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    add_visible(&mut granted, &patterns);
    granted.iter().map(ToString::to_string).collect()
}

#[test]
fn tenants_come_first_and_nothing_twice() {
    let patterns = ["b/app", "a/one", "team/app", "team/*", "team/*", "team/sub/*", "*", "alpine"];
    let expected =
        ["repository:team/*:pull", "repository:a/one:pull", "repository:alpine:pull", "repository:b/app:pull"];
    assert_eq!(visible(&[], &patterns), expected);
    assert_eq!(visible(&["repository:b/app:pull,push"], &["b/app"]), ["repository:b/app:pull,push"]);
    assert_eq!(visible(&["repository:b/app:push"], &["b/app"]).len(), 2);
}

#[test]
fn however_much_is_held_fits_into_one_token() {
    let signer = Signer::new(SigningKey::generate().unwrap(), "r".repeat(128));
    let owner = Principal::User("a".repeat(128));
    for (length, at_least) in [(1, SCOPES), (20, 60), (240, 17)] {
        let patterns: Vec<_> = (0..200).map(|n| format!("{}{n:03}", "a".repeat(length))).collect();
        let mut granted = vec!["registry:catalog:*".parse().unwrap()];
        add_visible(&mut granted, &patterns);
        assert!((at_least..=SCOPES).contains(&granted.len()), "{length} {}", granted.len());
        signer.sign(&owner, &granted, &[], u64::MAX, 1_800_000_000, 300).unwrap();
    }
}
