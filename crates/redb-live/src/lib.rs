#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// In reading order: the public face, then what it stands on.
mod error;
mod view;

mod settle;

mod mirror;
mod walk;

mod file;
mod table;

mod bytes;
mod header;
mod page;

pub use error::Error;
pub use page::{Leaf, PageNumber};
pub use table::TableInfo;
pub use view::{LeafOrKnown, Leaves, LiveFile, Mode, Table, View, ViewOptions};
