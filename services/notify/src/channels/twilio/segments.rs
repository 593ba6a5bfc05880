//! How many parts an SMS is sent in.
//! Reads: the text. Writes: nothing. Never: decides; providers bill by parts, and their own count wins.

/// The basic set of GSM 03.38.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Characters of its extension: they take two places.
const GSM_EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// The number of parts: 160 or 153 characters of the GSM alphabet, else 70 or 67 UTF-16 units.
#[must_use]
pub fn segments(text: &str) -> u64 {
    let mut septets = Some(0_usize);
    for c in text.chars() {
        let width = if GSM.contains(c) {
            1
        } else if GSM_EXTENDED.contains(c) {
            2
        } else {
            septets = None;
            break;
        };
        septets = septets.map(|count| count + width);
    }
    let (units, single, part) = match septets {
        Some(septets) => (septets, 160, 153),
        None => (text.encode_utf16().count(), 70, 67),
    };
    let count = if units <= single { 1 } else { units.div_ceil(part) };
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn both_alphabets() {
        for (text, expected) in [
            (String::new(), 1),
            ("a".repeat(160), 1),
            ("a".repeat(161), 2),
            ("a".repeat(306), 2),
            ("a".repeat(307), 3),
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            ("ж".repeat(70), 1),
            ("ж".repeat(71), 2),
            ("🔔".repeat(35), 1),
            ("🔔".repeat(36), 2),
        ] {
            assert_eq!(segments(&text), expected, "{} characters", text.chars().count());
        }
    }
}
