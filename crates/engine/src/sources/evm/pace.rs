//! How much is asked for at once: grows while the node answers, shrinks when it does not.

use std::sync::Mutex;

/// Answers aim at this many bytes, which bounds memory together with [`MAX_REQUESTS`].
const TARGET_BYTES: usize = 4 << 20;
const MAX_BLOCKS: usize = 256;
const MAX_REQUESTS: usize = 6;

/// Blocks a request and requests at a time.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Speed>);

#[derive(Debug, Clone, Copy)]
struct Speed {
    blocks: usize,
    requests: usize,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Speed {
            blocks: 8,
            requests: 2,
        }))
    }

    fn change(&self, change: impl FnOnce(&mut Speed)) {
        change(&mut self.0.lock().expect("no panic holds it"));
    }

    fn speed(&self) -> Speed {
        *self.0.lock().expect("no panic holds it")
    }

    pub(super) fn blocks(&self) -> usize {
        self.speed().blocks
    }

    pub(super) fn requests(&self) -> usize {
        self.speed().requests
    }

    /// An answer of so many bytes came for so many blocks.
    pub(super) fn grow(&self, blocks: usize, bytes: usize) {
        let each = (bytes / blocks.max(1)).max(1);
        let fitting = (TARGET_BYTES / each).clamp(1, MAX_BLOCKS);
        self.change(|speed| {
            speed.blocks = (speed.blocks * 2).min(fitting);
            speed.requests = (speed.requests + 1).min(MAX_REQUESTS);
        });
    }

    /// It was too much.
    pub(super) fn shrink(&self) {
        self.change(|speed| {
            speed.blocks = (speed.blocks / 2).max(1);
            speed.requests = (speed.requests / 2).max(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_the_bounds_and_halves_down_to_one() {
        let pace = Pace::new();
        (0..20).for_each(|_| pace.grow(8, 8000));
        assert_eq!((pace.blocks(), pace.requests()), (MAX_BLOCKS, MAX_REQUESTS));
        pace.grow(1, 3 << 20);
        assert_eq!(pace.blocks(), 1, "large blocks are asked for one by one");
        (0..20).for_each(|_| pace.shrink());
        assert_eq!((pace.blocks(), pace.requests()), (1, 1));
    }
}
