//! A listener for warnings.

use std::sync::Mutex;

use ruvector_snapshot::{Progress, ProgressUpdate};

/// Keeps the warnings.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// Returns the warnings so far, in their order.
    pub fn list(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Progress for Warnings {
    fn update(&self, _update: ProgressUpdate) {}

    fn warning(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}
