use entrepot_core::Principal;
use entrepot_core::ports::budget::BudgetUnit;

use super::*;

/// A counter per name, as Redis keeps them.
#[derive(Default)]
struct Counters(HashMap<String, u64>);

impl Counters {
    fn merge(&mut self, budgets: &SharedBudgets) {
        let told = budgets.untold();
        let add = |told: &Told| {
            let total = self.0.entry(told.name().to_owned()).or_default();
            *total += told.amount;
            *total
        };
        let totals: Vec<_> = told.iter().map(add).collect();
        budgets.merge(&told, &totals);
    }
}

fn name(of: &str) -> BudgetName {
    BudgetName::of_principal(&Principal::User(of.into()), BudgetUnit::Requests)
}

/// How often one unit can be taken in a row.
async fn drain(budgets: &SharedBudgets, limit: Limit) -> u64 {
    let mut count = 0;
    while budgets.take(&name("alice"), limit, 1).await.is_ok() {
        count += 1;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn what_one_process_gave_out_the_others_do_not_give_out_again() {
    let (limit, mut counters) = (Limit::new(10, 100), Counters::default());
    let fleet = [SharedBudgets::default(), SharedBudgets::default(), SharedBudgets::default()];
    for budgets in &fleet {
        budgets.take(&name("alice"), limit, 1).await.unwrap();
        counters.merge(budgets);
    }
    for budgets in &fleet {
        counters.merge(budgets);
    }
    assert_eq!(drain(&fleet[0], limit).await, 97);
    for budgets in &fleet {
        counters.merge(budgets);
    }
    // All but what was given out before they had met.
    assert_eq!((drain(&fleet[1], limit).await, drain(&fleet[2], limit).await), (1, 2));
}

/// In the long run a fleet gives out its limit, whatever the number of processes.
#[tokio::test(start_paused = true)]
async fn a_fleet_under_load_keeps_to_the_limit() {
    for processes in [1, 2, 5] {
        let (limit, mut counters) = (Limit::new(100, 50), Counters::default());
        let fleet: Vec<_> = (0..processes).map(|_| SharedBudgets::default()).collect();
        let mut given = 0;
        for _ in 0..80 {
            for budgets in &fleet {
                given += drain(budgets, limit).await;
            }
            for budgets in &fleet {
                counters.merge(budgets);
            }
            tokio::time::advance(MERGE).await;
        }
        // 20 s at 100 a second, the first burst of each, and what each gave out within one merge of another's.
        let (least, most) = (1_600, 2_050 + processes * 100);
        assert!((least..=most).contains(&given), "{processes} processes gave out {given}");
    }
}

#[tokio::test(start_paused = true)]
async fn flushed_lost_and_foreign_counters_take_nothing_away() {
    let limit = Limit::new(1, 100);
    let (budgets, mut counters) = (SharedBudgets::default(), Counters::default());
    budgets.take(&name("alice"), limit, 10).await.unwrap();
    counters.merge(&budgets);
    counters.0.clear();
    counters.merge(&budgets);
    budgets.take(&name("alice"), limit, 10).await.unwrap();
    let told = budgets.untold();
    budgets.lost(&told);
    let told = budgets.untold();
    assert!(told.iter().all(|told| told.amount == 0), "what may have been counted is not counted twice");
    counters.0.insert(name("alice").to_string(), 1_000_000);
    counters.merge(&budgets);
    assert_eq!(drain(&budgets, limit).await, 80);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_fills_again_and_says_when() {
    let (limit, budgets) = (Limit::new(10, 5), SharedBudgets::default());
    assert_eq!(drain(&budgets, limit).await, 5);
    let refused = budgets.take(&name("alice"), limit, 3).await.unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_millis(300));
    budgets.take(&name("bob"), limit, 5).await.unwrap();
    tokio::time::advance(refused.retry_after).await;
    budgets.take(&name("alice"), limit, 3).await.unwrap();
    assert!(budgets.take(&name("alice"), limit, 1).await.unwrap_err().retry_after > Duration::ZERO);
    tokio::time::advance(Duration::from_secs(3600)).await;
    // A cost above the burst counts as the burst.
    budgets.take(&name("alice"), limit, 1_000).await.unwrap();
    assert_eq!(drain(&budgets, limit).await, 0);
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_asks_for_are_forgotten() {
    let (limit, budgets) = (Limit::new(1, 10), SharedBudgets::default());
    for n in 0..MOST {
        budgets.take(&name(&n.to_string()), limit, 1).await.unwrap();
    }
    budgets.take(&name("one too many"), limit, 1).await.unwrap();
    assert_eq!(budgets.lock().len(), MOST);
    assert_eq!(budgets.untold().len(), BATCH);
    tokio::time::advance(HEARD).await;
    assert_eq!(budgets.untold().len(), BATCH, "what is not told yet is told however late");
    tokio::time::advance(IDLE).await;
    budgets.untold();
    assert!(budgets.lock().is_empty());
}
