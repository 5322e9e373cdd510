//! A service that lost its database says so, so that its callers go to replicas that have not.

use std::pin::pin;
use std::time::Duration;

use entrepot_runtime::BoxError;
use entrepot_runtime::admin::Condition;
use entrepot_runtime::telemetry::Chain;
use entrepot_sql::SqlError;
use tokio::time::{Instant, sleep, sleep_until};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// A database that has been away for so long is lost; a restart of its server or of a connection pooler is not news.
const LOST: Duration = Duration::from_secs(2);

/// Keeps `condition` at whether `ping` succeeds: off when it has not for [`LOST`], on again at the first time it does.
///
/// Off does not mean that calls are refused. Where every replica says it, callers go on asking: they are told 503 by a
/// service that cannot serve, and served by the first that can.
pub(crate) async fn database(
    ping: impl AsyncFn() -> Result<(), SqlError>,
    condition: Condition,
) -> Result<(), BoxError> {
    let mut state = State { condition, lost: false };
    state.condition.ready();
    let mut answered = Instant::now();
    loop {
        let mut asked = pin!(ping());
        let outcome = tokio::select! {
            outcome = &mut asked => outcome,
            () = sleep_until(answered + LOST), if !state.lost => {
                state.off("it does not answer".to_owned());
                asked.await
            }
        };
        match outcome {
            Ok(()) => {
                answered = Instant::now();
                state.on();
            }
            Err(error) if answered.elapsed() >= LOST => state.off(Chain(&error).to_string()),
            Err(_) => {}
        }
        sleep(INTERVAL).await;
    }
}

/// What was said last.
struct State {
    condition: Condition,
    lost: bool,
}

impl State {
    fn on(&mut self) {
        if std::mem::take(&mut self.lost) {
            self.condition.ready();
            tracing::info!("the database can be used again");
        }
    }

    fn off(&mut self, reason: String) {
        if !std::mem::replace(&mut self.lost, true) {
            tracing::warn!(error = reason, "the database cannot be used");
            self.condition.not_ready(reason);
        }
    }
}

#[cfg(test)]
mod tests;
