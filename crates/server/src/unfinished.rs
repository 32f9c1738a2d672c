//! Files on their way.

use std::path::PathBuf;

/// A file that goes with this: what there is of one that ended early is of no use, and one that came to its end
/// has its own name by then.
pub(crate) struct Unfinished(pub(crate) PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}
