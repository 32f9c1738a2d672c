//! `cairn`: the binary. Reads the configuration, wires the engine to the API, and runs commands.

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

mod allocator;
mod cli;
mod commands;
mod condition;
mod config;
mod demo;
mod exit;
mod exports;
mod flight;
mod forward;
mod gauges;
mod http;
mod lake;
mod lead;
mod logging;
mod node;
mod open_files;
mod operations;
mod partners;
mod render;
mod schemas;
mod server;
mod socket;
mod sources;
mod transport;
mod unfinished;

/// The system's allocator fragments under RocksDB's and the fold's pattern; this one stays flat.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    open_files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(commands::run(cli));
            // Databases must be closed before the process ends, or RocksDB aborts it; but what blocks
            // for good, such as a read from stdin, must not keep it alive.
            runtime.shutdown_timeout(Duration::from_millis(500));
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("cairn: {error:#}");
            exit::Exit::of(&error).into()
        }
    }
}
