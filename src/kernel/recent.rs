//! A bounded cache of recent answers.

use core::hash::Hash;
use std::collections::HashMap;

/// Holds at most so many values. Then it drops half of them, those that were not read recently.
pub struct Recent<K, V> {
    most: usize,
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    /// Room for `most` values.
    pub fn new(most: usize) -> Recent<K, V> {
        Recent { most, newer: HashMap::new(), older: HashMap::new() }
    }

    /// The value of `key`, if it is still there.
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.newer.get(key) {
            return Some(value.clone());
        }
        let value = self.older.remove(key)?;
        self.put(*key, value.clone());
        Some(value)
    }

    /// Keeps a value.
    pub fn put(&mut self, key: K, value: V) {
        if self.newer.len() >= self.most / 2 {
            self.older = core::mem::take(&mut self.newer);
        }
        self.newer.insert(key, value);
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.newer.clear();
        self.older.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recently_read_values_stay_and_the_others_go() {
        let mut recent = Recent::new(10);
        for number in 0..100 {
            recent.put(number, number * 2);
            assert_eq!(recent.get(&0), Some(0), "after {number}");
            assert!(recent.newer.len() + recent.older.len() <= 10, "after {number}");
        }
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&99), Some(198));
    }

    #[test]
    fn a_replaced_value_never_comes_back() {
        let mut recent = Recent::new(4);
        recent.put(1, "old");
        recent.put(2, "");
        recent.put(3, "");
        recent.put(1, "new");
        assert_eq!(recent.get(&1), Some("new"));
        recent.put(4, "");
        assert_eq!(recent.get(&1), Some("new"));
        recent.clear();
        assert_eq!(recent.get(&1), None);
    }
}
