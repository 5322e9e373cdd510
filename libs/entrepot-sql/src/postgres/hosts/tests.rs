use super::*;

fn names(url: &str) -> Result<Vec<String>, PostgresUrlError> {
    Ok(parse(url)?.iter().map(name).collect())
}

#[test]
fn every_server_of_the_list_gets_user_database_and_parameters() {
    let url =
        "postgresql://reg%40x:s3cret@db1:5433,db2,[::1]:5434/registry?sslmode=require&target_session_attrs=read-write";
    assert_eq!(names(url).unwrap(), ["db1:5433", "db2:5432", "[::1]:5434"]);
    for options in parse(url).unwrap() {
        assert_eq!(options.get_username(), "reg@x");
        assert_eq!(options.get_database(), Some("registry"));
        assert!(matches!(options.get_ssl_mode(), sqlx::postgres::PgSslMode::Require));
    }
}

#[test]
fn a_password_may_hold_an_at_sign_and_a_comma() {
    assert_eq!(names("postgres://u:p@ss,word@db/x").unwrap(), ["db:5432"]);
}

#[test]
fn a_socket_is_a_server_too() {
    assert_eq!(names("postgres:///registry?host=/run/postgresql").unwrap(), ["/run/postgresql"]);
}

#[test]
fn mistakes_are_named_without_the_password() {
    for (url, expected) in [
        ("mysql://u:s3cret@db/x", "postgres://"),
        ("postgres://u:s3cret@db1,,db2/x", "empty host"),
        ("postgres://u:s3cret@db:port/x", "db:port"),
        ("postgres://u:s3cret@db/x?sslmode=perhaps", "perhaps"),
        ("postgres://u:s3cret@db/x?target_session_attrs=any", "target_session_attrs=any"),
    ] {
        let refused = parse(url).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(!refused.contains("s3cret"), "{refused}");
    }
}
