//! The memory of queries as the allocator counts it. What they have without having asked for it is measured, so
//! that others are not given it; and what they have freed and the allocator keeps at hand is theirs, too, until the
//! system has it back: the allocator gives pages back after some seconds, and those of a few queries in turn would
//! be more than the memory that all of them may have.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use cairn_lake::sql::SqlEngine;
use tikv_jemalloc_ctl::{Access as _, AsName as _, Mib, Result, epoch, stats};
use tokio::sync::watch;

/// How often it is looked while queries run, and while none does.
const BUSY: Duration = Duration::from_millis(10);
const IDLE: Duration = Duration::from_millis(100);

/// What is known of everything else counts so long.
const STALE: Duration = Duration::from_secs(60);

/// So much is not worth giving back, in bytes.
const LITTLE: usize = 32 << 20;

/// Starts to measure the memory of queries, and to give some back whenever that, with what was freed, is nearly what
/// they may have. It ends soon after `stop` turns true, and is
/// to be waited for then: queries have stores open.
pub(crate) fn watch(
    sql: Arc<SqlEngine>,
    limit: usize,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<()>> {
    let pages = Pages::new()
        .map_err(|error| anyhow!("the allocator does not tell what it keeps: {error}"))?;
    let watching = move || {
        // What everything else has, as it was when no query ran, or about so if there never is such a time.
        let (mut others, mut known) = (usize::MAX, Instant::now());
        while !*stop.borrow() {
            let is_idle = sql.running() == 0;
            thread::sleep(if is_idle { IDLE } else { BUSY });
            let looked = pages.active().and_then(|active| {
                if is_idle || known.elapsed() > STALE {
                    known = Instant::now();
                    others = active.saturating_sub(sql.memory_used());
                }
                sql.memory_measured(active.saturating_sub(others));
                match is_idle {
                    true => Ok(()),
                    false => pages.give_back(others.saturating_add(limit - limit / 8)),
                }
            });
            if let Err(error) = looked {
                tracing::warn!(%error, "freed memory is kept longer than it should be");
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("cairn-memory".into());
    thread.spawn(watching).context("no thread can be started")
}

/// The pages that the allocator keeps.
struct Pages {
    /// For how long an arena keeps what is freed, in milliseconds.
    decay: Mib<[usize; 3]>,
    arenas: Mib<[usize; 2]>,
}

impl Pages {
    fn new() -> Result<Self> {
        Ok(Self {
            decay: "arena.0.dirty_decay_ms\0".name().mib()?,
            arenas: "arenas.narenas\0".name().mib()?,
        })
    }

    /// Bytes in use.
    fn active(&self) -> Result<usize> {
        epoch::advance()?;
        stats::active::read()
    }

    /// Gives back what is kept where that and what is in use are more than this, in bytes.
    fn give_back(&self, most: usize) -> Result<()> {
        let active = self.active()?;
        let resident = stats::resident::read()?;
        if resident <= most || resident.saturating_sub(active) <= LITTLE {
            return Ok(());
        }
        let arenas: u32 = self.arenas.read()?;
        for arena in 0..arenas as usize {
            let mut decay = self.decay;
            decay[1] = arena;
            // An arena that nothing was allocated from is none yet.
            let before: Result<isize> = decay.update(0_isize);
            if let Ok(before) = before {
                decay.write(before)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_pages_are_given_back_when_they_are_more_than_there_may_be() {
        const SIZE: usize = 512 << 20;
        let pages = Pages::new().expect("the allocator tells");
        let kept = || {
            epoch::advance().expect("numbers of now");
            stats::resident::read().expect("a number") - stats::active::read().expect("a number")
        };
        drop(vec![7_u8; SIZE]);
        let before = kept();
        assert!(before > SIZE / 2, "{before}");
        let active = pages.active().expect("a number");
        pages.give_back(active + 2 * SIZE).expect("nothing to do");
        assert!(kept() > SIZE / 2);
        pages.give_back(active + SIZE / 4).expect("pages");
        let after = kept();
        assert!(after < SIZE / 4, "{before} before, {after} after");
    }
}
