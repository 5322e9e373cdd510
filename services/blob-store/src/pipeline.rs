//! One pass over a body: received, hashed and written at the same time.
//!
//! The reactor fills a buffer while one blocking thread hashes those before it and another writes them, so a push
//! takes as long as the slowest of the three. A blocking thread stays as long as there is something to do and no
//! longer: a fast upload does not pay a change of threads per buffer, and slow clients cannot use the threads up.

use bytes::Bytes;
use entrepot_core::ports::blobs::BlobError;
use entrepot_object::ObjectWriter;
use futures_util::future::try_join3;
use tokio::sync::mpsc;

use crate::blobs::{failed, spawn};
use crate::buffers::{BUFFER, BUFFERS, Buffers, Entry, Pool, SURE, UNIT};
use crate::hasher::Hasher;
use crate::intake::Intake;

/// Buffers that are written in one go. While as many again wait, enough of [`BUFFERS`] are left for what is hashed and
/// received meanwhile; an upload with fewer goes one by one.
const WRITTEN: usize = 2;

/// What a body passes through.
pub(crate) enum Passage {
    /// Nothing: this is all of it.
    Small(Bytes),
    /// These.
    Large(Buffers),
}

impl Passage {
    /// Waits until it is known which, and for the memory. Done before a writer is opened, for that may hold memory of the
    /// driver's: nobody waits for this with some of that.
    pub(crate) async fn new(intake: &mut Intake, pool: &Pool, copies: bool, entry: Entry) -> Result<Self, BlobError> {
        if let Some(bytes) = intake.small().await? {
            return Ok(Self::Small(bytes));
        }
        // What a driver copies at once waits in its memory, and not here too.
        let (most, size) = if copies { (SURE, UNIT) } else { (BUFFERS, BUFFER) };
        pool.enter(most, size, entry).await.map(Self::Large)
    }
}

/// Passes the whole body through `hasher` to `writer`.
pub(crate) async fn pump(
    intake: &mut Intake,
    passage: Passage,
    writer: &mut dyn ObjectWriter,
    mut hasher: Hasher,
) -> Result<Hasher, BlobError> {
    let mut buffers = match passage {
        Passage::Large(buffers) => buffers,
        Passage::Small(bytes) => {
            hasher.update(&bytes);
            if !bytes.is_empty() {
                writer.write(vec![bytes]).await.map_err(failed)?;
            }
            return Ok(hasher);
        }
    };
    // There is a place for every buffer, so sending never waits.
    let (to_hash, hashing) = mpsc::channel(BUFFERS);
    let (to_disk, writing) = mpsc::channel(BUFFERS);
    let past_boundary = writer.offset() % BUFFER as u64;
    let receive = async move {
        // After the first, every buffer begins at a multiple of its size, as suits a disk.
        let mut capacity = BUFFER - usize::try_from(past_boundary).unwrap_or(0);
        let mut to_disk = Batch::new(to_disk);
        loop {
            let mut buffer = match buffers.at_hand(capacity)? {
                Some(buffer) => buffer,
                None => {
                    // None comes back before those that are held here have been written.
                    to_disk.pass_on();
                    buffers.next(capacity).await?
                }
            };
            capacity = BUFFER;
            intake.fill(&mut buffer).await?;
            let Some(bytes) = buffer.freeze() else {
                to_disk.pass_on();
                return Ok(());
            };
            to_disk.add(bytes.clone());
            if to_hash.try_send(bytes).is_err() || to_disk.is_over() {
                // The side that hung up says why.
                return Ok(());
            }
        }
    };
    let ((), hasher, ()) = try_join3(receive, hash(hasher, hashing), write(writer, writing)).await?;
    Ok(hasher)
}

/// Full buffers on their way to the disk, a few at a time: it takes them in one request.
struct Batch {
    held: Vec<Bytes>,
    to: mpsc::Sender<Bytes>,
}

impl Batch {
    fn new(to: mpsc::Sender<Bytes>) -> Self {
        Self { held: Vec::with_capacity(WRITTEN), to }
    }

    fn add(&mut self, bytes: Bytes) {
        self.held.push(bytes);
        if self.held.len() == WRITTEN {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        for bytes in self.held.drain(..) {
            // Where it cannot be sent there is nobody left, which `is_over` tells.
            let _ = self.to.try_send(bytes);
        }
    }

    fn is_over(&self) -> bool {
        self.to.is_closed()
    }
}

async fn hash(mut hasher: Hasher, mut buffers: mpsc::Receiver<Bytes>) -> Result<Hasher, BlobError> {
    while let Some(first) = buffers.recv().await {
        (hasher, buffers) = spawn(move || {
            let mut next = Some(first);
            while let Some(buffer) = next {
                hasher.update(&buffer);
                drop(buffer);
                next = buffers.try_recv().ok();
            }
            (hasher, buffers)
        })
        .await?;
    }
    Ok(hasher)
}

async fn write(writer: &mut dyn ObjectWriter, mut buffers: mpsc::Receiver<Bytes>) -> Result<(), BlobError> {
    loop {
        let mut waiting = Vec::with_capacity(WRITTEN);
        // More at once would leave the others nothing to fill meanwhile.
        if buffers.recv_many(&mut waiting, WRITTEN).await == 0 {
            return Ok(());
        }
        writer.write(waiting).await.map_err(failed)?;
    }
}
