//! How many SMS segments a text takes: GSM-7 160/153, UCS-2 70/67. Pure.

/// Characters of the GSM 03.38 basic set that take one septet, besides ASCII letters and digits.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
/// Characters of the extension table: an escape and a septet.
const EXTENDED: &str = "^{}\\[~]|€\u{c}";

/// Segments of the text; an empty text is one.
pub fn count(text: &str) -> u32 {
    let septets: Option<Vec<usize>> = text.chars().map(septets).collect();
    match septets {
        Some(units) => pack(units.into_iter(), 160, 153),
        None => pack(text.chars().map(char::len_utf16), 70, 67),
    }
}

fn septets(c: char) -> Option<usize> {
    if c.is_ascii_alphanumeric() || BASIC.contains(c) {
        Some(1)
    } else if EXTENDED.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// No character is split between two segments.
fn pack(units: impl Iterator<Item = usize> + Clone, single: usize, part: usize) -> u32 {
    if units.clone().sum::<usize>() <= single {
        return 1;
    }
    let mut segments = 1;
    let mut used = 0;
    for unit in units {
        if used + unit > part {
            segments += 1;
            used = 0;
        }
        used += unit;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn gsm_7_and_ucs_2() {
        assert_eq!(count(""), 1);
        assert_eq!(count(&"a".repeat(160)), 1);
        assert_eq!(count(&"a".repeat(161)), 2);
        assert_eq!(count(&"a".repeat(306)), 2);
        assert_eq!(count(&"a".repeat(307)), 3);
        assert_eq!(count(&"€".repeat(80)), 1);
        assert_eq!(count(&"€".repeat(81)), 2);
        // 76 pairs fit a part of 153 septets: the escape is not torn from its character.
        assert_eq!(count(&"€".repeat(153)), 3);
        assert_eq!(count(&"ф".repeat(70)), 1);
        assert_eq!(count(&"ф".repeat(71)), 2);
        assert_eq!(count(&"🔔".repeat(35)), 1);
        assert_eq!(count(&"🔔".repeat(36)), 2);
    }
}
