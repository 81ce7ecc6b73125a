//! Every operation, with every fault of the store at every step: what is in the store afterwards, and what the caller
//! learns. The stores are in memory.

mod annotate;
mod create;
mod deletes;
mod fault_store;
mod fixture;
mod reads;
