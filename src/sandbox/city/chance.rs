//! Seeded random numbers. The same seed and label give the same numbers on every machine and with
//! every version of every library, so that a demo, a failing test and a benchmark can be repeated.

use std::hash::Hasher;

/// A stream of numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

/// FNV-1a. Unlike the standard library's hasher it never changes.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Chance {
    /// The stream of this seed and label.
    pub(super) fn new(seed: u64, label: &str) -> Self {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325 ^ seed);
        hash.write(label.as_bytes());
        let mut chance = Self(hash.finish());
        chance.next();
        chance
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// One of 0, 1, .. `bound` - 1; 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let high = self.next() >> 32;
        u32::try_from((high * u64::from(bound)) >> 32).unwrap_or(0)
    }

    /// One of `from`, .. `to` - 1.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        let span = u32::try_from(to - from).unwrap_or(0);
        from + i64::from(self.below(span))
    }

    /// Draws whether something that happens `rate` times in 10,000 happens.
    pub(super) fn happens(&mut self, rate: u32) -> bool {
        self.below(10_000) < rate
    }

    /// One of the things.
    pub(super) fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        let last = u32::try_from(things.len()).unwrap_or(u32::MAX);
        &things[self.below(last) as usize]
    }

    /// A copy of one of the things.
    pub(super) fn choose<T: Copy>(&mut self, things: &[T]) -> T {
        *self.pick(things)
    }

    /// 32 hex digits.
    pub(super) fn hex(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_never_change() {
        let mut chance = Chance::new(7, "gs");
        let first: Vec<u32> = (0..5).map(|_| chance.below(1000)).collect();
        assert_eq!(first, [835, 972, 945, 992, 777]);
    }

    #[test]
    fn rates_are_kept() {
        let mut chance = Chance::new(1, "rates");
        let hits = (0..100_000).filter(|_| chance.happens(500)).count();
        assert!((4_700..5_300).contains(&hits), "{hits}");
    }
}
