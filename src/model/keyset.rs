//! The keys that are published on one day.

use super::{Md5Key, RowKey};

/// A set of keys. MD5s take 16 bytes each, so that ten million fit in memory. The few other keys
/// are kept separately as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    md5: Vec<Md5Key>,
    texts: Vec<Box<str>>,
}

impl KeySet {
    /// The set of these keys, which may be in any order and contain repetitions.
    #[must_use]
    pub fn of(mut md5: Vec<Md5Key>, mut texts: Vec<Box<str>>) -> Self {
        // A portal serves keys in order, so there is usually nothing to sort.
        if !md5.is_sorted() {
            md5.sort_unstable();
        }
        md5.dedup();
        texts.sort_unstable();
        texts.dedup();
        Self { md5, texts }
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.md5.len() + self.texts.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the set contains this MD5.
    #[must_use]
    pub fn contains(&self, key: &Md5Key) -> bool {
        self.md5.binary_search(key).is_ok()
    }

    /// The MD5s, ascending.
    #[must_use]
    pub fn md5(&self) -> &[Md5Key] {
        &self.md5
    }

    /// The keys that are not MD5s, ascending. No row of the lake has such a key.
    #[must_use]
    pub fn texts(&self) -> &[Box<str>] {
        &self.texts
    }
}

impl FromIterator<RowKey> for KeySet {
    fn from_iter<T: IntoIterator<Item = RowKey>>(keys: T) -> Self {
        let (mut md5, mut texts) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                RowKey::Md5(key) => md5.push(key),
                RowKey::Text(text) => texts.push(text),
            }
        }
        Self::of(md5, texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_form_are_kept_once_and_in_order() {
        let key = |n: u8| RowKey::new(&format!("{n:032x}"));
        let text = |text: &str| RowKey::new(text);
        let set: KeySet = [
            key(7),
            text("b"),
            key(3),
            key(7),
            text("a"),
            text("b"),
            text(&"A".repeat(32)),
        ]
        .into_iter()
        .collect();
        assert_eq!(set.len(), 5);
        let md5: Vec<RowKey> = set.md5().iter().copied().map(RowKey::from).collect();
        assert_eq!(md5, [key(3), key(7)]);
        assert_eq!(
            set.texts(),
            [Box::from("A".repeat(32)), "a".into(), "b".into()]
        );
        assert!(set.contains(&set.md5()[0]));
        assert!(!set.contains(&Md5Key([9; 16])));
    }
}
