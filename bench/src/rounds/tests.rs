use std::time::Duration;

use super::Plan;
use crate::scenario::SCENARIOS;
use crate::server::ServerKind::{Distribution, Nginx, Ours};

#[test]
fn every_server_comes_first_once_in_three_rounds() {
    let plan = Plan {
        servers: vec![Ours, Distribution, Nginx],
        scenarios: Vec::new(),
        rounds: 3,
        load: Duration::ZERO,
        tags: 0,
    };
    let everyone = &SCENARIOS[0];
    assert_eq!(plan.order(everyone, 0), [Ours, Distribution, Nginx]);
    assert_eq!(plan.order(everyone, 1), [Distribution, Nginx, Ours]);
    assert_eq!(plan.order(everyone, 2), [Nginx, Ours, Distribution]);
    assert_eq!(plan.order(everyone, 3), plan.order(everyone, 0));
    let registries = SCENARIOS.iter().find(|scenario| scenario.name == "push-512m").unwrap();
    assert_eq!(plan.order(registries, 1), [Distribution, Ours]);
}

#[test]
fn a_scenario_without_servers_has_an_empty_order() {
    let plan = Plan { servers: vec![Nginx], scenarios: Vec::new(), rounds: 1, load: Duration::ZERO, tags: 0 };
    let tags = SCENARIOS.iter().find(|scenario| scenario.name == "tags-page").unwrap();
    assert!(plan.order(tags, 5).is_empty());
}
