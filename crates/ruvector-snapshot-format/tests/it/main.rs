//! The tests of the stored format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod blocks;
mod canonical;
mod codecs;
mod fixture;
mod golden;
mod hostile;
mod irregular;
mod lineage;
mod reader;
mod reference;
