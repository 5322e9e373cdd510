use proptest::prelude::*;

use super::{POSTGRES, SQLITE};

fn sqlite(sql: &str) -> String {
    SQLITE.expand(sql).unwrap().sql.to_string()
}

fn postgres(sql: &str) -> String {
    POSTGRES.expand(sql).unwrap().sql.to_string()
}

#[test]
fn parameters_keep_their_numbers_whatever_their_order() {
    assert_eq!(sqlite("VALUES ($2, $1, $10)"), "VALUES (?2, ?1, ?10)");
    assert_eq!(SQLITE.expand("VALUES ($2, $1, $10)").unwrap().params, 10);
}

#[test]
fn the_clock_is_shifted_by_a_parameter_after_the_last() {
    let expanded = SQLITE.expand("SET a = $2 WHERE b < {now} AND c = $1 AND d > {now}").unwrap();
    assert!(expanded.shifts_clock);
    assert_eq!(expanded.params, 2);
    assert_eq!(expanded.sql.matches("?3").count(), 2);
}

#[test]
fn locks_name_their_tables_and_vanish_with_one_writer() {
    let sql = "SELECT 1 {share} {share l, b} {update} {update q} {skip_locked}";
    assert_eq!(sqlite(sql).trim_end(), "SELECT 1");
    let locked = "SELECT 1 FOR SHARE FOR SHARE OF l, b FOR UPDATE FOR UPDATE OF q SKIP LOCKED";
    assert_eq!(postgres(sql), locked);
}

#[test]
fn quotations_and_comments_are_left_alone() {
    for text in ["'{now} $1 it''s'", "\"{odd}\"", "-- it's {x} $1\n", "'--' - 1"] {
        assert_eq!(sqlite(text), text);
    }
    assert_eq!(sqlite("'a' || $1 -- don't\n|| $2"), "'a' || ?1 -- don't\n|| ?2");
}

#[test]
fn postgres_counts_parameters_as_the_caller_does() {
    assert_eq!(postgres("VALUES ($2, $1, $10)"), "VALUES ($2, $1, $10)");
    let clock = POSTGRES.expand("SET a = $2 WHERE b < {now}").unwrap();
    assert!(clock.shifts_clock && clock.sql.ends_with("+ $3)"), "{clock:?}");
    assert!(postgres("x IN {list $4}").contains("CAST($4 AS jsonb)"));
    assert_eq!(postgres("a {int}, b {text}, c {bytes}"), "a BIGINT, b TEXT COLLATE \"C\", c BYTEA");
}

#[test]
fn unknown_fragments_are_refused_by_name() {
    assert!(SQLITE.expand("SELECT {nwo}").unwrap_err().contains("{nwo}"));
    assert!(SQLITE.expand("SELECT {now").is_err());
    assert!(SQLITE.expand("SELECT {list}").is_err());
}

proptest! {
    #[test]
    fn any_text_expands_or_is_refused(sql in ".{0,64}") {
        let _ = SQLITE.expand(&sql);
    }

    #[test]
    fn text_without_specials_is_unchanged(sql in "[a-z0-9 (),=*\\-é]{0,64}") {
        prop_assert_eq!(sqlite(&sql), sql);
    }
}
