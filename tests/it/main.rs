//! Tests of the whole. Each is a claim, named as one.

mod fold_properties;
mod log_conformance;
mod support;
