use proptest::prelude::*;

use super::{Purpose, Secret};

#[test]
fn a_secret_is_recognised_and_a_typing_error_too() {
    let secret = Secret::generate(Purpose::Robot).unwrap();
    assert_eq!(format!("{secret:?}"), "Secret(***)");
    let hash = secret.hash();
    let text = secret.expose();
    assert!(text.starts_with("entrepot_robot_") && text.len() == 15 + 72);
    assert_eq!(Secret::parse(Purpose::Robot, &text).unwrap().hash(), hash);
    assert!(Secret::parse(Purpose::Refresh, &text).is_none());
    assert!(!hash.contains(&text[15..]));
    for at in 0..text.len() {
        let mut wrong = text.clone();
        wrong.replace_range(at..=at, if &text[at..=at] == "a" { "b" } else { "a" });
        assert!(Secret::parse(Purpose::Robot, &wrong).is_none(), "{wrong}");
    }
    assert_ne!(Secret::generate(Purpose::Robot).unwrap().expose(), text);
}

proptest! {
    #[test]
    fn no_text_panics_or_is_a_secret(text in "(entrepot_robot_)?\\PC{0,90}") {
        prop_assert!(Secret::parse(Purpose::Robot, &text).is_none());
    }
}
