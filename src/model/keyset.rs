//! The keys that stand on a portal on one day: the published side of a comparison.

use super::{Md5Key, RowKey};

/// Keys, each once. Those that are MD5s take 16 bytes each, so that ten million fit in memory;
/// the rare others are held apart as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    md5: Vec<Md5Key>,
    texts: Vec<Box<str>>,
}

impl KeySet {
    /// The set of these keys, which may come in any order and several times.
    #[must_use]
    pub fn of(mut md5: Vec<Md5Key>, mut texts: Vec<Box<str>>) -> Self {
        // A portal serves keys in their order, so there is nearly always nothing to sort.
        if !md5.is_sorted() {
            md5.sort_unstable();
        }
        md5.dedup();
        texts.sort_unstable();
        texts.dedup();
        Self { md5, texts }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.md5.len() + self.texts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this MD5 is one of them.
    #[must_use]
    pub fn contains(&self, key: &Md5Key) -> bool {
        self.md5.binary_search(key).is_ok()
    }

    /// The MD5s, ascending.
    #[must_use]
    pub fn md5(&self) -> &[Md5Key] {
        &self.md5
    }

    /// What is no MD5, ascending. No row of the lake has such a key.
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
    fn keys_are_kept_once_and_in_order_whatever_they_are() {
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
