//! Open connections by where they come from, so that one source cannot take all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::origin::SourceAddress;

/// The connections of all sources. As many entries as there are sources with open connections, which the
/// bound on all connections keeps in turn.
#[derive(Debug)]
pub struct Sources {
    most: usize,
    open: Mutex<HashMap<SourceAddress, usize>>,
}

/// One connection of a source, counted for as long as this lives.
#[derive(Debug)]
pub struct SourceSlot {
    sources: Arc<Sources>,
    source: SourceAddress,
}

impl Sources {
    /// Lets each source have so many connections.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            open: Mutex::default(),
        }
    }

    /// A place for one more connection, unless the source has as many as it may.
    pub fn place(self: &Arc<Self>, address: IpAddr) -> Option<SourceSlot> {
        let source = SourceAddress::of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(SourceSlot {
            sources: Arc::clone(self),
            source,
        })
    }
}

impl Drop for SourceSlot {
    fn drop(&mut self) {
        let open = &self.sources.open;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_so_many_places_and_gets_them_back() {
        let sources = Arc::new(Sources::new(2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = sources.place(address("10.0.0.1")).unwrap();
        let _second = sources.place(address("::ffff:10.0.0.1")).unwrap();
        assert!(sources.place(address("10.0.0.1")).is_none());
        assert!(sources.place(address("10.0.0.2")).is_some());
        drop(first);
        assert!(sources.place(address("10.0.0.1")).is_some());
        assert_eq!(sources.open.lock().unwrap().len(), 1);
    }
}
