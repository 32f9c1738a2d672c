//! Where the demo finds what it needs: in a checkout of the repository.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// A checkout.
pub(crate) struct Repository(PathBuf);

impl Repository {
    /// The checkout around the working directory, or around this binary.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let places = [env::current_dir().ok(), env::current_exe().ok()];
        let places = places.iter().flatten();
        let mut roots = places.flat_map(|place| place.ancestors());
        let root = roots.find(|root| root.join("samples/blocks.jsonl.zst").is_file());
        let root =
            root.context("the demo needs a checkout of the repository: run it where samples/ is")?;
        Ok(Self(root.to_owned()))
    }

    /// A file of the checkout.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    /// The node's binary, where `ops/setup.sh --node` puts it, or on the search path.
    pub(crate) fn anvil(&self) -> Option<PathBuf> {
        let installed = self.path("target/tools/anvil");
        if installed.is_file() {
            Some(installed)
        } else {
            on_path("anvil")
        }
    }
}

/// A program on the search path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let directories = env::var_os("PATH")?;
    let candidates = env::split_paths(&directories).map(|directory| directory.join(program));
    candidates
        .into_iter()
        .find(|candidate: &PathBuf| Path::is_file(candidate))
}
