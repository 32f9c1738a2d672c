//! Tests of the whole. Each is a claim, named as one.

mod anvil;
mod bad_input;
mod bad_places;
mod chain_writer;
mod cli;
mod crash_simulation;
mod dead_letters;
mod final_marks;
mod fold_properties;
mod history;
mod kill;
mod log_conformance;
mod new_projection;
mod node_keys;
mod open_files;
mod partner_cases;
mod replay_beside_server;
mod restart;
mod sources_decoder;
mod sources_file;
mod sources_rpc;
mod sources_world;
mod support;
mod tidy;
mod totals;
mod trimming;
