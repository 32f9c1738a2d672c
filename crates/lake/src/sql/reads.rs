//! What a query reads of files counts as its memory, as long as it is there.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use datafusion::{
    datasource::{listing::PartitionedFile, physical_plan::ParquetFileReaderFactory},
    error::Result,
    execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use futures_util::future::BoxFuture;
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::Result as ParquetResult,
    file::metadata::ParquetMetaData,
};

/// So many times its size in a file takes a row group while it is read: as it is, a page of each column
/// without its compression (half of the row group, which zstd makes a third as long), and the rows of a batch.
const TIMES: usize = 3;

/// They count as long as all that is reserved is less than this part of a query's memory: with many threads
/// there would be nothing left for the first rows of what comes next.
const SHARE: usize = 2;

/// Makes readers whose bytes count.
#[derive(Debug)]
pub(super) struct CountedReads {
    pub(super) inner: Arc<dyn ParquetFileReaderFactory>,
    pub(super) pool: Arc<dyn MemoryPool>,
}

impl ParquetFileReaderFactory for CountedReads {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let inner = self
            .inner
            .create_reader(partition, file, metadata_size, metrics)?;
        Ok(Box::new(CountedReader {
            inner,
            pool: Arc::clone(&self.pool),
        }))
    }
}

struct CountedReader {
    inner: Box<dyn AsyncFileReader + Send>,
    pool: Arc<dyn MemoryPool>,
}

impl CountedReader {
    /// A row group that is begun is read to its end: what is full then is so for others, who go to disk, and for
    /// whom most of the memory is left.
    fn counted(pool: &Arc<dyn MemoryPool>, bytes: Bytes) -> Bytes {
        let reserved = MemoryConsumer::new("files").register(pool);
        let most = match pool.memory_limit() {
            MemoryLimit::Finite(limit) => limit / SHARE,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        };
        let free = most.saturating_sub(pool.reserved());
        reserved.grow((bytes.len() * TIMES).min(free));
        Bytes::from_owner(Counted {
            bytes,
            _reserved: reserved,
        })
    }
}

/// Bytes that count until nobody has them.
struct Counted {
    bytes: Bytes,
    _reserved: MemoryReservation,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsyncFileReader for CountedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let read = self.inner.get_bytes(range);
        let pool = &self.pool;
        Box::pin(async move { Ok(Self::counted(pool, read.await?)) })
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let read = self.inner.get_byte_ranges(ranges);
        let pool = &self.pool;
        Box::pin(async move {
            let read = read.await?.into_iter();
            Ok(read.map(|bytes| Self::counted(pool, bytes)).collect())
        })
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        self.inner.get_metadata(options)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn bytes_count_until_the_last_part_of_them_is_gone() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let bytes = CountedReader::counted(&pool, Bytes::from(vec![7; 100]));
        assert_eq!((bytes.len(), pool.reserved()), (100, 300));
        let part = bytes.slice(20..30);
        drop(bytes);
        assert_eq!(pool.reserved(), 300);
        assert_eq!(&part[..], [7; 10]);
        let more = CountedReader::counted(&pool, Bytes::from(vec![7; 100]));
        assert_eq!(pool.reserved(), 500, "half of all");
        drop((part, more));
        assert_eq!(pool.reserved(), 0);
    }
}
