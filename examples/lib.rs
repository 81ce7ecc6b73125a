//! Holds the examples of ruvector-snapshot; nothing lives here.
