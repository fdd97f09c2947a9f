//! Handles of sessions or of objects that one caller remembers.

use super::ration::Random;

/// Handles that are valid as far as the caller knows, and handles that were.
pub(crate) struct Handles {
    live: Vec<u64>,
    dead: Vec<u64>,
    most: usize,
}

impl Handles {
    pub(crate) fn new(most: usize) -> Handles {
        Handles { live: Vec::new(), dead: vec![1], most }
    }

    /// A likely handle, most likely the one that was picked `last`. Otherwise an invalid one, or a number
    /// that never was a handle.
    pub(crate) fn pick(&self, last: u64, random: &mut Random) -> u64 {
        match random.below(48) {
            0 => 0,
            1 => u64::MAX,
            2 => random.next(),
            3 | 4 => self.pick_dead(random),
            _ if self.live.is_empty() => self.pick_dead(random),
            _ if self.live.contains(&last) && random.below(4) > 0 => last,
            _ => *random.one_of(&self.live),
        }
    }

    pub(crate) fn pick_dead(&self, random: &mut Random) -> u64 {
        *random.one_of(&self.dead)
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = u64> {
        self.live.iter().copied()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.live.len() < self.most
    }

    pub(crate) fn add(&mut self, handle: u64) {
        if !self.live.contains(&handle) && self.has_room() {
            self.live.push(handle);
        }
    }

    pub(crate) fn remove(&mut self, handle: u64) {
        if let Some(place) = self.live.iter().position(|live| *live == handle) {
            self.bury(place);
        }
    }

    /// Removes the handles that are no longer valid.
    pub(crate) fn keep(&mut self, is_valid: impl Fn(u64) -> bool) {
        for handle in self.live.clone() {
            if !is_valid(handle) {
                self.remove(handle);
            }
        }
    }

    pub(crate) fn remove_all(&mut self) {
        while !self.live.is_empty() {
            self.bury(0);
        }
    }

    pub(crate) fn bury(&mut self, place: usize) {
        let handle = self.live.swap_remove(place);
        if self.dead.len() == 64 {
            self.dead.swap_remove(0);
        }
        self.dead.push(handle);
    }
}
