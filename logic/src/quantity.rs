//! Amounts as Kubernetes writes them: `500m`, `1.5`, `256Mi`, `2e3`.

/// An amount in thousandths, rounded up; `None` for what is no amount, is negative, or is beyond counting.
pub fn thousandths(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 20 || fraction.len() > 12 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (times, over) = scale(suffix)?;
    let over = over.checked_mul(10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    u64::try_from(digits.checked_mul(1_000)?.checked_mul(times)?.div_ceil(over)).ok()
}

/// An amount in billionths, negative ones too, cut off below; `None` for what is no amount or is beyond counting.
pub fn billionths(text: &str) -> Option<i128> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 20 || fraction.len() > 9 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (times, over) = scale(suffix)?;
    let over = over.checked_mul(10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    i128::try_from(digits.checked_mul(times)?.checked_mul(1_000_000_000)? / over).ok().map(|amount| amount * sign)
}

/// Whether a text without a sign is an amount, however large.
pub fn is_quantity(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    number.contains(|c: char| c.is_ascii_digit()) && number.matches('.').count() < 2 && scale(suffix).is_some()
}

/// What a suffix multiplies by and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    const SMALL: [&str; 4] = ["", "m", "u", "n"];
    let place = |list: &[&str]| list.iter().position(|word| *word == suffix).and_then(|at| u32::try_from(at).ok());
    if let Some(at) = place(&BINARY) {
        return Some((1024_u128.pow(at + 1), 1));
    }
    if let Some(at) = place(&DECIMAL) {
        return Some((1000_u128.pow(at), 1));
    }
    if let Some(at) = place(&SMALL) {
        return Some((1, 1000_u128.pow(at)));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.unsigned_abs() <= 18)?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_writes_them() {
        let cases = [
            ("1", Some(1_000)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("250m", Some(250)),
            ("1u", Some(1)),
            ("2k", Some(2_000_000)),
            ("256Mi", Some(256 * 1024 * 1024 * 1000)),
            ("1.5Ki", Some(1_536_000)),
            ("2e3", Some(2_000_000)),
            ("5E-1", Some(500)),
            ("1E", None),
            ("1Ei", None),
            ("0", Some(0)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1.2.3", None),
            ("1MiB", None),
            ("1e99", None),
            ("99999999999999999999999", None),
            ("é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
