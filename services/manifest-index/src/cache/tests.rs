//! Each test is one interleaving of a read and a write that must not leave a stale entry behind.

use super::*;

type Cache = Arc<FreshCache<&'static str, u32>>;

fn cache() -> (Cache, RepositoryName) {
    (Arc::new(FreshCache::new(1 << 20)), "team/app".parse().unwrap())
}

fn miss(cache: &Cache, repository: &RepositoryName) -> Ticket {
    match cache.lookup(repository, &"tag") {
        Lookup::Miss(ticket) => ticket,
        Lookup::Fresh(value) => panic!("found {value}"),
    }
}

fn found(cache: &Cache, repository: &RepositoryName) -> Option<u32> {
    match cache.lookup(repository, &"tag") {
        Lookup::Fresh(value) => Some(value),
        Lookup::Miss(_) => None,
    }
}

fn write(cache: &Cache, repository: &RepositoryName, whole: bool) -> Mark<&'static str, u32> {
    cache.mark(repository, if whole { Scope::Repository } else { Scope::Keys(vec!["tag"]) })
}

#[test]
fn an_undisturbed_read_is_kept() {
    let (cache, repository) = cache();
    let ticket = miss(&cache, &repository);
    cache.offer(ticket, &repository, "tag", 1, 10);
    assert_eq!(found(&cache, &repository), Some(1));
}

#[test]
fn a_write_drops_the_entry_before_it_runs() {
    for whole in [false, true] {
        let (cache, repository) = cache();
        let ticket = miss(&cache, &repository);
        cache.offer(ticket, &repository, "tag", 1, 10);
        let _mark = write(&cache, &repository, whole);
        assert_eq!(found(&cache, &repository), None);
    }
}

#[test]
fn a_read_from_before_a_write_that_has_ended_is_refused() {
    for whole in [false, true] {
        let (cache, repository) = cache();
        let ticket = miss(&cache, &repository);
        drop(write(&cache, &repository, whole));
        cache.offer(ticket, &repository, "tag", 1, 10);
        assert_eq!(found(&cache, &repository), None);
    }
}

#[test]
fn a_read_that_began_during_a_write_is_refused_also_after_it() {
    for whole in [false, true] {
        let (cache, repository) = cache();
        let mark = write(&cache, &repository, whole);
        let during = miss(&cache, &repository);
        let late = miss(&cache, &repository);
        cache.offer(during, &repository, "tag", 1, 10);
        assert_eq!(found(&cache, &repository), None);
        drop(mark);
        cache.offer(late, &repository, "tag", 1, 10);
        assert_eq!(found(&cache, &repository), None);
    }
}

#[test]
fn the_last_of_several_writes_ends_the_refusal() {
    for whole in [false, true] {
        let (cache, repository) = cache();
        let first = write(&cache, &repository, whole);
        let second = write(&cache, &repository, !whole);
        drop(first);
        let ticket = miss(&cache, &repository);
        cache.offer(ticket, &repository, "tag", 1, 10);
        assert_eq!(found(&cache, &repository), None);
        drop(second);
        let ticket = miss(&cache, &repository);
        cache.offer(ticket, &repository, "tag", 2, 10);
        assert_eq!(found(&cache, &repository), Some(2));
    }
}

#[test]
fn a_write_leaves_other_repositories_alone() {
    let (cache, repository) = cache();
    let ticket = miss(&cache, &repository);
    cache.offer(ticket, &repository, "tag", 1, 10);
    let other = "team/other".parse().unwrap();
    let _marks = (write(&cache, &other, false), write(&cache, &other, true));
    assert_eq!(found(&cache, &repository), Some(1));
}
