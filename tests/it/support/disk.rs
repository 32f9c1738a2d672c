//! A disk that fills.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A small disk of its own; taken away when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this user may not mount.
    pub(crate) fn mount(at: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(&at).expect("a directory");
        let disk = Self(at);
        disk.resize("size", megabytes).then_some(disk)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it, or makes it larger; says whether that worked.
    pub(crate) fn resize(&self, how: &str, megabytes: u32) -> bool {
        let options = format!("{how}={megabytes}m");
        let mut command = Command::new("mount");
        let ended = command
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&self.0)
            .output();
        ended.is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A mount that is still busy goes away with the machine.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
