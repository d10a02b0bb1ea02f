//! Decimal numbers as a Socrata portal stores them: exact, with their trailing zeros.
//!
//! They behave like Java's `BigDecimal`, which the real server uses: `4.50` stays `4.50`, `1e3`
//! becomes `1000`, and scientific notation is used only beyond a scale of 20.

use std::cmp::Ordering;

/// `mantissa` divided by ten to the power of `scale`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    pub mantissa: i128,
    pub scale: i32,
}

impl Decimal {
    pub(super) const ZERO: Decimal = Decimal {
        mantissa: 0,
        scale: 0,
    };

    pub(super) fn whole(value: u64) -> Decimal {
        Decimal {
            mantissa: i128::from(value),
            scale: 0,
        }
    }

    /// `None` if the text is not a decimal number or has more than 38 digits.
    pub(super) fn parse(text: &str) -> Option<Decimal> {
        let (digits, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if unsigned.len() + fraction.len() == 0 || !all_digits(unsigned) || !all_digits(fraction) {
            return None;
        }
        let mantissa = format!("{unsigned}{fraction}").parse::<i128>().ok()?;
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let sign = if whole.starts_with('-') { -1 } else { 1 };
        (scale.abs() < 1000).then_some(Decimal {
            mantissa: sign * mantissa,
            scale,
        })
    }

    /// The text of this number in answers.
    pub(super) fn text(self) -> String {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs().to_string();
        if self.scale.abs() > 20 {
            return format!("{sign}{digits}E{:+}", -self.scale);
        }
        let places = self.scale.unsigned_abs() as usize;
        match self.scale.cmp(&0) {
            Ordering::Equal => format!("{sign}{digits}"),
            Ordering::Less if self.mantissa == 0 => "0".to_owned(),
            Ordering::Less => format!("{sign}{digits}{}", "0".repeat(places)),
            Ordering::Greater => {
                let padded = format!("{digits:0>width$}", width = places + 1);
                let (whole, fraction) = padded.split_at(padded.len() - places);
                format!("{sign}{whole}.{fraction}")
            }
        }
    }

    pub(super) fn plus(self, other: Decimal) -> Option<Decimal> {
        let scale = self.scale.max(other.scale);
        let mantissa = self.at_scale(scale)?.checked_add(other.at_scale(scale)?)?;
        Some(Decimal { mantissa, scale })
    }

    /// The quotient to twenty decimal places, without trailing zeros.
    pub(super) fn over(self, divisor: u64) -> Option<Decimal> {
        let scale = self.scale.max(0) + 10;
        let mut mantissa = self.at_scale(scale)?.checked_div(i128::from(divisor))?;
        let mut scale = scale;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Some(Decimal { mantissa, scale })
    }

    pub(super) fn negated(self) -> Decimal {
        Decimal {
            mantissa: -self.mantissa,
            scale: self.scale,
        }
    }

    fn at_scale(self, scale: i32) -> Option<i128> {
        let steps = u32::try_from(scale - self.scale).ok()?;
        self.mantissa.checked_mul(10_i128.checked_pow(steps)?)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "used only when 38 digits are not enough"
    )]
    fn rough(self) -> f64 {
        self.mantissa as f64 / 10_f64.powi(self.scale)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.at_scale(scale), other.at_scale(scale)) {
            (Some(mine), Some(theirs)) => mine.cmp(&theirs),
            _ => self.rough().total_cmp(&other.rough()),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Decimal::parse(text).map_or("refused".to_owned(), Decimal::text)
    }

    #[test]
    fn numbers_keep_their_trailing_zeros_and_lose_their_exponent() {
        for (sent, published) in [
            ("4.50", "4.50"),
            ("0.0", "0.0"),
            ("-0.05", "-0.05"),
            ("1e3", "1000"),
            ("1.5E-3", "0.0015"),
            (".5", "0.5"),
            ("1e-30", "1E-30"),
            ("NaN", "refused"),
            ("1.2.3", "refused"),
            ("", "refused"),
            ("0x1", "refused"),
        ] {
            assert_eq!(canonical(sent), published, "{sent}");
        }
    }

    #[test]
    fn numbers_compare_and_add_by_value() {
        let number = |text| Decimal::parse(text).unwrap();
        assert_eq!(number("1.0"), number("1"));
        assert!(number("0.30000000000000004") > number("0.3"));
        assert_eq!(number("0.1").plus(number("0.2")), Some(number("0.3")));
        assert_eq!(
            number("10").over(4).map(Decimal::text),
            Some("2.5".to_owned())
        );
    }
}
