use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use entrepot_runtime::admin::Readiness;
use entrepot_runtime::shutdown::{Drain, DrainConfig};

use super::*;

const HERE: u8 = 0;
const FAILS: u8 = 1;
const SILENT: u8 = 2;

struct Watched {
    database: Arc<AtomicU8>,
    readiness: Readiness,
    began: Instant,
}

impl Watched {
    fn start() -> Self {
        let drain = Drain::new(DrainConfig { grace: Duration::ZERO, timeout: LOST });
        let readiness = Readiness::new(drain);
        let database = Arc::new(AtomicU8::new(HERE));
        let state = Arc::clone(&database);
        let ping = async move || match state.load(Ordering::SeqCst) {
            HERE => Ok(()),
            FAILS => Err(SqlError::Closed),
            _ => {
                sleep(LOST * 2).await;
                Err(SqlError::Closed)
            }
        };
        let condition = readiness.condition("database");
        tokio::spawn(async move { super::database(ping, condition).await });
        Self { database, readiness, began: Instant::now() }
    }

    fn set(&mut self, state: u8) {
        self.database.store(state, Ordering::SeqCst);
        self.began = Instant::now();
    }

    /// How long it takes until readiness is so.
    async fn until(&self, ready: bool) -> Duration {
        tokio::time::timeout(LOST * 30, self.readiness.wait_until(ready)).await.unwrap();
        self.began.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_off_soon_after_the_database_is_gone_and_on_as_soon_as_it_is_back() {
    let mut watched = Watched::start();
    watched.until(true).await;
    for gone in [FAILS, SILENT] {
        sleep(LOST * 5).await;
        assert!(watched.readiness.is_ready());
        watched.set(gone);
        let off = watched.until(false).await;
        assert!((LOST - INTERVAL..=LOST + 2 * INTERVAL).contains(&off), "{off:?}");
        sleep(LOST * 5).await;
        watched.set(HERE);
        let on = watched.until(true).await;
        assert!(on <= LOST * 2 + INTERVAL, "{on:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_absence_is_not_told() {
    let mut watched = Watched::start();
    watched.until(true).await;
    for _ in 0..5 {
        watched.set(FAILS);
        sleep(LOST - 2 * INTERVAL).await;
        watched.set(HERE);
        sleep(2 * INTERVAL).await;
        assert!(watched.readiness.is_ready());
    }
}
