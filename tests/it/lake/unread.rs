//! A log that is read only up to somewhere, as that of a node that has just started beside Kafka.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_domain::Position;
use cairn_engine::log::{
    Claim, Condition, EpochRecord, Log, LogError, LogId, LogReport, LogStat, StoredCommit, Writer,
};
use tokio::sync::watch;

/// See the module.
pub(crate) struct Unread {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) head: watch::Sender<Position>,
}

#[async_trait]
impl Log for Unread {
    fn id(&self) -> LogId {
        self.log.id()
    }

    fn is_local(&self) -> bool {
        false
    }

    async fn take_over(&self, claim: Claim) -> Result<Arc<dyn Writer>, LogError> {
        self.log.take_over(claim).await
    }

    fn epoch(&self) -> watch::Receiver<Option<EpochRecord>> {
        self.log.epoch()
    }

    async fn caught_up(&self) -> Result<(), LogError> {
        self.log.caught_up().await
    }

    fn condition(&self) -> Condition {
        self.log.condition()
    }

    async fn locate(&self, position: Position) -> Option<String> {
        self.log.locate(position).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    async fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<StoredCommit>, LogError> {
        let mut read = self.log.read(from, max_bytes).await?;
        read.retain(|commit| commit.position <= *self.head.borrow());
        Ok(read)
    }

    async fn stat(&self) -> Result<LogStat, LogError> {
        self.log.stat().await
    }

    async fn verify(&self, progress: &(dyn Fn(Position) + Sync)) -> Result<LogReport, LogError> {
        self.log.verify(progress).await
    }
}
