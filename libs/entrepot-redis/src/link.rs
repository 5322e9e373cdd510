//! The connection, and the one task that uses it.

use std::sync::Arc;
use std::time::Duration;

use entrepot_core::ports::notices::Notice;
use entrepot_runtime::telemetry::Chain;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, Msg, ProtocolVersion, PushInfo, PushKind,
    RedisError,
};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::backoff::Backoff;
use crate::budget::{IDLE, MERGE, SharedBudgets};
use crate::notices::{DROPPED, RedisNotices};
use crate::{RedisConfig, RedisUrlError};

/// Longest an attempt to connect takes.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two signs of life: a peer that vanished is noticed after this and one command's time.
const PULSE: Duration = Duration::from_secs(1);
/// Notices sent in one go.
const BATCH: usize = 128;

const CONNECTED: &str = "entrepot_redis_connected";

pub(crate) struct Link {
    client: Client,
    channel: String,
    command_timeout: Duration,
    /// Before the names of counters.
    counters: String,
    notices: Arc<RedisNotices>,
    budgets: SharedBudgets,
    queue: Mutex<Option<mpsc::Receiver<String>>>,
    connected: watch::Sender<bool>,
}

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("Redis refused, or answered with an error")]
    Redis(#[from] RedisError),
    #[error("Redis does not answer in time")]
    Late,
    #[error("the connection to Redis was closed")]
    Closed,
}

impl Link {
    pub(crate) fn new(
        config: &RedisConfig,
        notices: Arc<RedisNotices>,
        budgets: SharedBudgets,
    ) -> Result<Self, RedisUrlError> {
        let info = config.url.as_str().into_connection_info().map_err(|_| RedisUrlError)?;
        if matches!(info.addr(), ConnectionAddr::Unix(_)) {
            return Err(RedisUrlError);
        }
        // Messages of a subscription and answers of commands on one connection.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(|_| RedisUrlError)?;
        metrics::describe_gauge!(CONNECTED, "1 while the connection to Redis works.");
        Ok(Self {
            client,
            channel: format!("entrepot:{}:notices", config.namespace),
            counters: format!("entrepot:{}:budget:", config.namespace),
            command_timeout: config.command_timeout,
            budgets,
            queue: Mutex::new(notices.take_queue()),
            notices,
            connected: watch::Sender::new(false),
        })
    }

    pub(crate) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    pub(crate) async fn run(&self) {
        let Some(mut queue) = self.queue.lock().await.take() else {
            tracing::error!("the connection to Redis is run already");
            return;
        };
        let mut backoff = Backoff::new();
        let mut told = false;
        loop {
            let lost = match self.connect().await {
                Ok((connection, closed)) => {
                    tracing::info!("connected to Redis");
                    backoff.reset();
                    told = false;
                    self.set_connected(true);
                    self.notices.missed();
                    let lost = self.serve(connection, closed, &mut queue).await;
                    self.set_connected(false);
                    lost
                }
                Err(lost) => lost,
            };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(error = %Chain(&lost), "without Redis: limits count per process, deletions and changes of rights elsewhere count some seconds later");
            }
            sleep(backoff.next()).await;
        }
    }

    /// A message on a connection of its own.
    pub(crate) async fn publish_once(&self, notice: &Notice) -> bool {
        let Some(message) = self.notices.encode(notice) else { return false };
        let sent = async {
            let (mut connection, _) = self.connect().await?;
            let mut command = redis::pipe();
            command.publish(&self.channel, message).ignore();
            self.send(&mut connection, &command).await
        };
        let outcome: Result<(), Lost> = sent.await;
        if let Err(lost) = &outcome {
            tracing::debug!(error = %Chain(lost), "Redis took no message");
        }
        outcome.is_ok()
    }

    fn set_connected(&self, connected: bool) {
        metrics::gauge!(CONNECTED).set(if connected { 1.0 } else { 0.0 });
        self.connected.send_replace(connected);
    }

    /// A connection that is subscribed, and what completes when it is closed.
    async fn connect(&self) -> Result<(MultiplexedConnection, watch::Receiver<bool>), Lost> {
        let (closing, closed) = watch::channel(false);
        let notices = Arc::clone(&self.notices);
        let push = move |push: PushInfo| -> Result<(), ()> {
            match push.kind {
                PushKind::Disconnection => {
                    closing.send_replace(true);
                }
                PushKind::Message => {
                    if let Some(message) = Msg::from_push_info(push) {
                        notices.received(message.get_payload_bytes());
                    }
                }
                _ => {}
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(self.command_timeout))
            .set_push_sender(push);
        let connect = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            connection.subscribe(&self.channel).await?;
            Ok::<_, RedisError>(connection)
        };
        // A server that accepts and says nothing.
        let connection = timeout(CONNECT * 2, connect).await.map_err(|_| Lost::Late)??;
        Ok((connection, closed))
    }

    /// Uses the connection until it fails.
    async fn serve(
        &self,
        mut connection: MultiplexedConnection,
        mut closed: watch::Receiver<bool>,
        queue: &mut mpsc::Receiver<String>,
    ) -> Lost {
        let mut pulse = interval(PULSE);
        let mut merge = interval(MERGE);
        merge.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let mut commands = redis::pipe();
            tokio::select! {
                () = until(&mut closed) => return Lost::Closed,
                taken = queue.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return Lost::Closed;
                    }
                    for message in batch.drain(..) {
                        commands.publish(&self.channel, message).ignore();
                    }
                    if let Err(lost) = self.send(&mut connection, &commands).await {
                        metrics::counter!(DROPPED).increment(taken as u64);
                        return lost;
                    }
                }
                _ = merge.tick() => {
                    if let Err(lost) = self.merge_budgets(&mut connection).await {
                        return lost;
                    }
                }
                _ = pulse.tick() => {
                    commands.ping().ignore();
                    if let Err(lost) = self.send(&mut connection, &commands).await {
                        return lost;
                    }
                }
            }
        }
    }

    /// Tells what was given out and learns what others gave out.
    async fn merge_budgets(&self, connection: &mut MultiplexedConnection) -> Result<(), Lost> {
        let told = self.budgets.untold();
        if told.is_empty() {
            return Ok(());
        }
        let mut commands = redis::pipe();
        for told in &told {
            let counter = format!("{}{}", self.counters, told.name());
            commands.incr(&counter, told.amount);
            commands.expire(&counter, IDLE.as_secs().cast_signed()).ignore();
        }
        let answer = timeout(self.command_timeout * 2, commands.query_async::<Vec<u64>>(connection)).await;
        match answer.map_err(|_| Lost::Late).and_then(|answer| Ok(answer?)) {
            Ok(totals) => {
                self.budgets.merge(&told, &totals);
                Ok(())
            }
            Err(lost) => {
                self.budgets.lost(&told);
                Err(lost)
            }
        }
    }

    async fn send(&self, connection: &mut MultiplexedConnection, commands: &redis::Pipeline) -> Result<(), Lost> {
        // The crate's own limit is for each answer; this one is for all.
        match timeout(self.command_timeout * 2, commands.query_async::<()>(connection)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Lost::Late),
        }
    }
}

/// Completes when the connection is closed, however that came.
async fn until(closed: &mut watch::Receiver<bool>) {
    // An error says that the connection's own task is gone.
    let _ = closed.wait_for(|closed| *closed).await;
}
