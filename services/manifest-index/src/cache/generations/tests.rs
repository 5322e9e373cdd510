use super::*;

#[test]
fn what_is_used_stays_and_the_rest_is_forgotten_within_the_limit() {
    let mut cache = Generations::new(100);
    for n in 0..1000 {
        cache.insert(n, n * 2, 10);
        assert_eq!(cache.get(&n), Some(&(n * 2)));
        assert_eq!(cache.get(&0), Some(&0), "used all the time, at {n}");
        assert!(cache.young.len() + cache.old.len() <= 10);
    }
    assert_eq!(cache.get(&500), None);
}

#[test]
fn replacing_and_removing_give_their_bytes_back() {
    let mut cache = Generations::new(100);
    for n in 0..50 {
        cache.insert("same", n, 40);
    }
    assert_eq!((cache.young_bytes, cache.get("same")), (40, Some(&49)));
    cache.insert("other", 1, 5);
    cache.retain(|key| *key != "same");
    assert_eq!((cache.young_bytes, cache.get("same")), (5, None));
    assert_eq!(cache.get("other"), Some(&1));
    cache.remove(&"other");
    assert_eq!((cache.young_bytes, cache.get("other")), (0, None));
}

#[test]
fn an_entry_over_half_of_the_room_is_not_kept_and_drops_its_predecessor() {
    let mut cache = Generations::new(100);
    cache.insert("big", 1, 50);
    assert_eq!(cache.get("big"), Some(&1));
    cache.insert("big", 2, 51);
    assert_eq!(cache.get("big"), None);
}
