//! Mended blocks on their way to the source that writes their chain.
//!
//! A chain has one writer. What a person mended while a source runs is handed to that source, which
//! takes it between two contacts with its node.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{Standing, evm::DecodedBlock};

/// A source that catches up takes nothing; whoever offers waits so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A block that is offered to a source.
pub(super) struct Offer {
    pub(super) block: DecodedBlock,
    answer: oneshot::Sender<Standing>,
}

impl Offer {
    /// Whether whoever offers it still waits.
    pub(super) fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Says what the block was to the chain.
    pub(super) fn answer(self, standing: Standing) {
        // Who does not wait any more sees it when the letter is tried again.
        let _gone = self.answer.send(standing);
    }
}

/// The sources that take mended blocks, by chain.
#[derive(Clone, Default)]
pub struct Offers(Arc<Mutex<BTreeMap<String, mpsc::Sender<Offer>>>>);

/// Why a source did not take a block. It may do so later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// What writes the chain takes no such blocks.
    #[error("the chain is being written by an ingest or a file; try again when that has ended")]
    NoTaker,
    /// It does something else.
    #[error("its source is busy catching up; try again later")]
    Busy,
    /// It ended before it answered.
    #[error("its source stopped meanwhile; see its health, and try again")]
    Stopped,
}

impl Offers {
    /// What is offered to a chain from now on.
    pub(super) fn take(&self, chain: &str) -> mpsc::Receiver<Offer> {
        let (sender, receiver) = mpsc::channel(1);
        let mut takers = self.0.lock().expect("no panic holds it");
        takers.insert(chain.to_owned(), sender);
        receiver
    }

    /// Offers a block to the source of a chain and says what it was to the chain:
    /// [`Standing::Next`] means that it was appended.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn offer(&self, chain: &str, block: DecodedBlock) -> Result<Standing, NotTaken> {
        let taker = self
            .0
            .lock()
            .expect("no panic holds it")
            .get(chain)
            .cloned();
        let taker = taker.ok_or(NotTaken::NoTaker)?;
        let (answer, standing) = oneshot::channel();
        let offered = async {
            let offer = Offer { block, answer };
            taker.send(offer).await.map_err(|_| NotTaken::NoTaker)?;
            standing.await.map_err(|_| NotTaken::Stopped)
        };
        let answered = tokio::time::timeout(PATIENCE, offered).await;
        answered.unwrap_or(Err(NotTaken::Busy))
    }
}
