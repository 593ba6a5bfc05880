//! A bounded map that forgets what was not asked for lately.
//! Reads and writes: memory. Never: grows past its capacity, reads a clock.
//!
//! Two generations: a hit in the old one moves to the young one; when the young one is full it becomes the
//! old one and the old one is dropped. Close to least-recently-used, without a list to maintain.

use std::collections::HashMap;
use std::hash::Hash;

pub(crate) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// A map for at most `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(key.clone(), value.clone());
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_capacity_and_keeps_what_is_used() {
        let mut cache = Cache::new(10);
        cache.insert("kept".to_owned(), 0);
        for number in 1..1_000 {
            cache.insert(number.to_string(), number);
            assert_eq!(cache.get(&"kept".to_owned()), Some(0));
            assert!(cache.len() <= 10);
        }
        assert_eq!(cache.get(&"1".to_owned()), None);
        assert_eq!(cache.get(&"999".to_owned()), Some(999));
        cache.remove(&"999".to_owned());
        assert_eq!(cache.get(&"999".to_owned()), None);
    }
}
