//! Decimal numbers of any size, as portals write them.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A decimal number: equal if numerically equal, and printed as it was written.
#[derive(Clone, Debug)]
pub struct Decimal {
    written: Box<str>,
    negative: bool,
    digits: Box<str>,
    exponent: i64,
}

impl Decimal {
    /// Reads a JSON number or a numeric text. `None` if it is neither, or absurdly scaled.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Numeral {
            negative,
            whole,
            fraction,
            exponent,
        } = Numeral::read(text)?;
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0').trim_end_matches('0');
        let zeros = all.len() - all.trim_end_matches('0').len();
        let is_zero = significant.is_empty();
        let scale = i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
        Some(Self {
            written: text.into(),
            negative: negative && !is_zero,
            digits: significant.into(),
            exponent: if is_zero {
                0
            } else {
                i64::from(exponent) + scale
            },
        })
    }
}

/// A decimal number's parts as they are written.
pub(super) struct Numeral<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
}

impl<'a> Numeral<'a> {
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
        let is_number = whole.len() + fraction.len() > 0 && digits(whole) && digits(fraction);
        is_number.then_some(Self {
            negative,
            whole,
            fraction,
            exponent,
        })
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            written: _,
            negative,
            digits,
            exponent,
        } = self;
        (*negative, digits, *exponent) == (other.negative, &other.digits, other.exponent)
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.negative, &self.digits, self.exponent).hash(state);
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_absurd_exponent_is_refused_not_expanded() {
        assert!(Decimal::parse("1e99999999999999999999").is_none());
        assert_ne!(Decimal::parse("1e999999999"), Decimal::parse("1e999999998"));
    }

    proptest! {
        #[test]
        fn a_decimal_equals_itself_scaled(digits in "-?[0-9]{1,12}", zeros in 0usize..9) {
            let plain = Decimal::parse(&digits).unwrap();
            prop_assert_eq!(&plain, &Decimal::parse(&format!("{digits}.{}", "0".repeat(zeros))).unwrap());
            prop_assert_eq!(&plain, &Decimal::parse(&format!("{digits}{}e-{zeros}", "0".repeat(zeros))).unwrap());
        }
    }
}
