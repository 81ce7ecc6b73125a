//! Tools for tests of stores and of programs that use them.

pub mod conformance;
pub mod fault;
