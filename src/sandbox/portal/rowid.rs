//! The `:id` and `:version` texts of a portal: `row-` or `rv-` and twelve letters. They are
//! counters encrypted with a small Feistel cipher keyed by the dataset, so that, as on a real
//! portal, clients can send them back but learn nothing from their order.

use sha2::{Digest, Sha256};

const LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
const JOINTS: &[u8; 4] = b"-._~";

/// Converts the counters of one dataset to texts and back.
#[derive(Debug, Clone)]
pub(super) struct RowIds {
    keys: [u32; 4],
}

impl RowIds {
    pub(super) fn new(dataset: &str) -> RowIds {
        let digest = Sha256::digest(dataset.as_bytes());
        let mut keys = [0; 4];
        for (key, chunk) in keys.iter_mut().zip(digest.chunks(4)) {
            *key = chunk
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        }
        RowIds { keys }
    }

    pub(super) fn row(&self, sid: u64) -> String {
        format!("row-{}", letters(self.encrypt(sid)))
    }

    pub(super) fn version(&self, version: u64) -> String {
        format!("rv-{}", letters(self.encrypt(version)))
    }

    /// The counter in a `row-…` text; `None` if it is malformed.
    pub(super) fn sid(&self, text: &str) -> Option<u64> {
        let body = text.strip_prefix("row-")?.as_bytes();
        if body.len() != 14 {
            return None;
        }
        let mut value = 0;
        for (at, byte) in body.iter().enumerate() {
            let (set, bits): (&[u8], u32) = if at == 4 || at == 9 {
                (JOINTS, 2)
            } else {
                (LETTERS, 5)
            };
            let digit = set.iter().position(|letter| letter == byte)?;
            value = value << bits | digit as u64;
        }
        Some(self.decrypt(value))
    }

    fn encrypt(&self, value: u64) -> u64 {
        let (mut left, mut right) = halves(value);
        for key in self.keys {
            (left, right) = (right, left ^ stir(right, key));
        }
        u64::from(left) << 32 | u64::from(right)
    }

    fn decrypt(&self, value: u64) -> u64 {
        let (mut left, mut right) = halves(value);
        for key in self.keys.into_iter().rev() {
            (left, right) = (right ^ stir(left, key), left);
        }
        u64::from(left) << 32 | u64::from(right)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "splits a u64 into its two halves"
)]
fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

fn stir(half: u32, key: u32) -> u32 {
    let mixed = (half ^ key).wrapping_mul(0x9E37_79B1);
    (mixed ^ mixed >> 15).wrapping_mul(0x85EB_CA77) ^ mixed.rotate_left(13)
}

fn letters(mut value: u64) -> String {
    let mut text = [0_u8; 14];
    for at in (0..14).rev() {
        let (set, bits): (&[u8], u32) = if at == 4 || at == 9 {
            (JOINTS, 2)
        } else {
            (LETTERS, 5)
        };
        let digit = usize::try_from(value & ((1 << bits) - 1)).unwrap_or_default();
        text[at] = set[digit];
        value >>= bits;
    }
    text.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_can_be_decoded_and_hide_their_order() {
        let ids = RowIds::new("abcd-1234");
        let texts: Vec<String> = (0..200).map(|sid| ids.row(sid)).collect();
        for (sid, text) in (0..200).zip(&texts) {
            assert_eq!(text.len(), 18);
            assert_eq!(ids.sid(text), Some(sid));
        }
        assert!(!texts.is_sorted());
        assert_ne!(RowIds::new("abcd-9999").row(1), texts[1]);
        assert_eq!(ids.sid("row-"), None);
        assert_eq!(ids.sid("row-aaaa-aaaa-aaal"), None);
    }
}
