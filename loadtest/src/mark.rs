//! The mark that every notification carries: which run sent it, which of the run's notifications
//! it is, and a hash of the whole, so that whoever receives it on any channel can tell slot,
//! stranger and corruption without asking. Pure; never panics on what others send.
//!
//! The title is `lt-{run:08x}-{slot in base 36}-{check:04x}`; the body is `+`, filler words that
//! depend on the slot, and ` #{hash:016x}` over title and filler. Channels may put text around
//! either, join them in one line or wrap lines: only the words and their order count.

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub title: String,
    pub body: String,
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// One of this run's notifications; `intact` if its words are those that were sent.
    Ours { slot: u64, intact: bool },
    /// Somebody else's, or damaged so much that it names none of ours.
    Foreign,
}

const HASH_DIGITS: usize = 16;
const CHECK_DIGITS: usize = 4;
/// 36^13 is more than any `u64`.
const SLOT_DIGITS_MAX: usize = 13;
/// Begins the body; occurs nowhere else in what is sent.
const BODY_START: char = '+';
const HASH_START: &str = " #";

/// The content of a slot; `payload_bytes` counts title and body, and is exceeded where they do
/// not fit (about 50 bytes).
pub fn write(run: u32, slot: u64, payload_bytes: u32) -> Content {
    let title = title(run, slot);
    let fixed = title.len() + BODY_START.len_utf8() + HASH_START.len() + HASH_DIGITS;
    let room = (payload_bytes as usize).saturating_sub(fixed);
    let mut body = String::with_capacity(room + 1 + HASH_START.len() + HASH_DIGITS);
    body.push(BODY_START);
    fill(&mut body, slot ^ (u64::from(run) << 32), room);
    let hash = hash(&title, &body[1..]);
    body.push_str(HASH_START);
    body.push_str(&format!("{hash:016x}"));
    Content { title, body }
}

/// Looks for a mark of this run in a title and, where a channel has no title, in the body.
pub fn read(run: u32, title: &str, body: &str) -> Read {
    let Some(slot) = find_slot(run, title).or_else(|| find_slot(run, body)) else {
        return Read::Foreign;
    };
    Read::Ours { slot, intact: intact(&self::title(run, slot), body) }
}

fn title(run: u32, slot: u64) -> String {
    let mut title = format!("lt-{run:08x}-");
    push_base36(&mut title, slot);
    title.push_str(&format!("-{:04x}", check(run, slot)));
    title
}

fn find_slot(run: u32, text: &str) -> Option<u64> {
    let prefix = format!("lt-{run:08x}-");
    text.match_indices(prefix.as_str()).find_map(|(at, _)| {
        let rest = &text[at + prefix.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if digits == 0 || digits > SLOT_DIGITS_MAX {
            return None;
        }
        let slot = u64::from_str_radix(&rest[..digits], 36).ok()?;
        let check_text = rest[digits..].strip_prefix('-')?.get(..CHECK_DIGITS)?;
        (check_text == format!("{:04x}", check(run, slot))).then_some(slot)
    })
}

fn intact(title: &str, body: &str) -> bool {
    body.match_indices('#').any(|(at, _)| {
        let Some(digits) = body.get(at + 1..at + 1 + HASH_DIGITS) else { return false };
        let Ok(named) = u64::from_str_radix(digits, 16) else { return false };
        let Some(start) = body[..at].rfind(BODY_START) else { return false };
        hash(title, &body[start + 1..at]) == named
    })
}

/// FNV-1a over the title and the words, one space between any two, finished so that every bit
/// of the input reaches every bit of the hash.
fn hash(title: &str, filler: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    title.bytes().for_each(&mut take);
    for word in filler.split_ascii_whitespace() {
        take(b' ');
        word.bytes().for_each(&mut take);
    }
    mix(hash)
}

fn check(run: u32, slot: u64) -> u16 {
    (mix(slot ^ (u64::from(run) << 32) ^ 0x5a5a) >> 48) as u16
}

/// SplitMix64's finaliser.
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Words of seven letters that no channel has to escape; never ends in a space.
fn fill(text: &mut String, seed: u64, bytes: usize) {
    let mut state = seed;
    let mut left = bytes;
    while left > 0 {
        state = mix(state);
        let letters = left.min(7);
        for index in 0..letters {
            text.push(char::from(b'a' + ((state >> (8 * index)) % 26) as u8));
        }
        left -= letters;
        if left > 1 {
            text.push(' ');
            left -= 1;
        }
    }
}

fn push_base36(text: &mut String, mut value: u64) {
    let mut digits = [0_u8; SLOT_DIGITS_MAX];
    let mut count = 0;
    loop {
        digits[count] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(value % 36) as usize];
        count += 1;
        value /= 36;
        if value == 0 {
            break;
        }
    }
    text.extend(digits[..count].iter().rev().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: u32 = 0x00c0_ffee;

    #[test]
    fn the_title_is_as_documented() {
        let content = write(RUN, 123_456, 400);
        assert!(content.title.starts_with("lt-00c0ffee-2n9c-"), "{}", content.title);
        assert_eq!(content.title.len() + content.body.len(), 400);
        assert_ne!(write(RUN, 1, 400).body[..40], write(RUN, 2, 400).body[..40]);
        assert_eq!(read(RUN, &content.title, &content.body), ours(123_456, true));
        assert_eq!(read(RUN + 1, &content.title, &content.body), Read::Foreign);
    }

    fn ours(slot: u64, intact: bool) -> Read {
        Read::Ours { slot, intact }
    }

    #[test]
    fn a_mark_is_found_inside_other_text() {
        let Content { title, body } = write(RUN, 77, 120);
        let line = format!("Acme: {title}: {body} Reply STOP to end.");
        assert_eq!(read(RUN, "", &line), ours(77, true));
        let wrapped = format!("Dear A+B,\r\n\r\n{}\r\n-- \r\n#1 of all", body.replace(' ', "\r\n"));
        assert_eq!(read(RUN, &format!("Re: {title}!"), &wrapped), ours(77, true));
    }

    #[test]
    fn corruption_and_swapped_bodies_are_noticed() {
        let (one, two) = (write(RUN, 1, 200), write(RUN, 2, 200));
        assert_eq!(read(RUN, &one.title, &two.body), ours(1, false));
        assert_eq!(read(RUN, &one.title, ""), ours(1, false));
        assert_eq!(read(RUN, &one.title, &one.body[..150]), ours(1, false));
        assert_eq!(read(RUN, &one.title.replace("-1-", "-2-"), &one.body), Read::Foreign);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(run: u32, slot: u64, payload in 0_u32..2_000) {
            let content = write(run, slot, payload);
            prop_assert_eq!(read(run, &content.title, &content.body), ours(slot, true));
            prop_assert!(content.title.len() + content.body.len() <= (payload as usize).max(52));
        }

        #[test]
        fn one_changed_letter_is_noticed(slot: u64, at in 0_usize..100, letter in b'a'..=b'z') {
            let content = write(RUN, slot, 160);
            let mut body = content.body.clone().into_bytes();
            let at = 1 + at % (body.len() - 1);
            prop_assume!(body[at] != letter && body[at] != b' ' );
            body[at] = letter;
            let body = String::from_utf8(body).unwrap();
            prop_assert_eq!(read(RUN, &content.title, &body), ours(slot, false));
        }

        #[test]
        fn no_text_panics(title in ".{0,40}", body in ".{0,80}", cut in 0_usize..60) {
            let _ = read(RUN, &title, &body);
            let written = write(RUN, 5, 60);
            let cut = cut.min(written.title.len());
            let _ = read(RUN, &format!("{}{body}", &written.title[..cut]), &format!("+{title}#{body}"));
        }
    }
}
