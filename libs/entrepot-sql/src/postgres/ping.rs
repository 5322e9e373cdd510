//! Whether the database can be used, asked apart from the requests: that their connections are all taken does not mean that
//! it is away.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{postgres::PgConnection, raw_sql};
use tokio::sync::Mutex;

use super::{
    Postgres, error,
    pool::{NoAnswer, Pool},
};
use crate::{SqlError, Transaction, Tx};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The connection that is asked, kept from one time to the next.
#[derive(Default)]
pub(super) struct Line(Mutex<Option<PgConnection>>);

impl Line {
    async fn ask(&self, pool: &Pool) -> Result<(), SqlError> {
        let mut line = self.0.lock().await;
        let mut connection = match line.take() {
            Some(connection) => connection,
            None => pool.connect_apart().await?,
        };
        // It takes writes: a server that no longer does was started again, and connecting asks.
        let answer = tokio::time::timeout(PATIENCE, raw_sql("SELECT 1").fetch_one(&mut connection)).await;
        let answer = answer.map_err(|_| SqlError::Unavailable { source: Arc::new(NoAnswer) })?;
        answer.map_err(|error| SqlError::Unavailable { source: error::cause(error) })?;
        // Dropped on every other way out.
        *line = Some(connection);
        Ok(())
    }
}

impl Postgres {
    pub(crate) async fn ping(&self) -> Result<(), SqlError> {
        self.line.ask(&self.pool).await
    }
}

/// The same question to an engine that is in this process.
pub(crate) struct Ping;

#[async_trait]
impl Transaction for Ping {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), SqlError> {
        tx.query_one("SELECT 1", &[]).await.map(|_| ())
    }
}
