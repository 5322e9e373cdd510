//! A connection in the middle that can stop moving bytes without closing.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::replicas::Replica;

/// Everything that comes here goes to `replica`, and back, while it is not stalled.
pub struct Pipe {
    pub address: SocketAddr,
    pub replica: Replica,
    moving: watch::Sender<bool>,
}

impl Pipe {
    pub async fn to(replica: Replica) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let moving = watch::Sender::new(true);
        let (target, gate) = (replica.address, moving.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_read, far_write, gate.subscribe()));
                tokio::spawn(carry(far_read, near_write, gate.subscribe()));
            }
        });
        Self { address, replica, moving }
    }

    pub fn stall(&self) {
        self.moving.send_replace(false);
    }

    pub fn go_on(&self) {
        self.moving.send_replace(true);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut moving: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if moving.wait_for(|moving| *moving).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
