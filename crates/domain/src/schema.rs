//! Generated texts for `schemas/`.
