#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// Each line uses only modules of the lines below it (and `error`).
mod error;

mod leaves;
mod view;

mod page_reader;

mod commit_selection;

mod mirror;
mod verified_pages;
mod walk;

mod file;
mod table;

mod bytes;
mod header;
mod page;

pub use error::Error;
pub use leaves::{Leaves, NextLeaf};
pub use page::{Leaf, PageNumber};
pub use table::{TableInfo, TypeOrigin};
pub use view::{LiveFile, Mode, Table, View, ViewOptions};
