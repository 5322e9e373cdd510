use entrepot_core::Resource;

use super::Pattern;

fn covering(name: &str) -> Vec<String> {
    Pattern::covering(&Resource::Repository(name.parse().unwrap()))
}

#[test]
fn a_repository_is_covered_by_itself_its_prefixes_and_everything() {
    assert_eq!(covering("team/sub/app"), ["*", "team/sub/app", "team/*", "team/sub/*"]);
    assert_eq!(covering("alpine"), ["*", "alpine", "library/*"]);
    assert_eq!(Pattern::covering(&Resource::Catalog), ["*"]);
}

#[test]
fn a_neighbour_with_a_longer_name_is_not_covered() {
    assert!(!covering("team-b/app").contains(&"team/*".to_owned()));
    assert!(!covering("teams").contains(&"team/*".to_owned()));
}

#[test]
fn wildcards_stand_only_at_the_end() {
    for good in ["*", "team/*", "team/sub/*", "team/app", "alpine"] {
        assert_eq!(good.parse::<Pattern>().unwrap().as_str(), good);
    }
    for bad in ["", "/*", "*/*", "te*", "team/*/app", "team/**", "%", "_/*", "Team/*", "team/", "team/*/*"] {
        assert!(bad.parse::<Pattern>().is_err(), "{bad}");
    }
}
