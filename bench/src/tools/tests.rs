use super::{executable, unpack};

#[test]
fn program_is_found_among_the_build_messages() {
    let messages = concat!(
        "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"entrepot\"},\"executable\":null}\n",
        "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/t/other\"}\n",
        "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"entrepot\"},\"executable\":\"/t/entrepot\"}\n",
        "not json\n",
    );
    assert_eq!(executable(messages).as_deref(), Some("/t/entrepot"));
    assert_eq!(executable(""), None);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let error = unpack(&[], "/dev/null/root".as_ref()).unwrap_err();
    assert!(error.to_string().contains("/dev/null/root.partial"), "{error}");
}
