//! Numbers that the block gives out: permanent numbers, virtual identifiers, registrations.

use publica_types::{Entropy, Timestamp};

/// Digits of a permanent number, check digit included.
pub(crate) const UIN_LEN: usize = 10;
/// Digits of a virtual identifier, check digit included.
pub(crate) const VID_LEN: usize = 16;

const MULTIPLY: [[u8; 10]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];
const PERMUTE: [[u8; 10]; 8] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
    [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
    [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
    [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
    [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
];
const INVERSE: [u8; 10] = [0, 4, 3, 2, 1, 5, 6, 7, 8, 9];

/// A permanent number: random, without meaning, never shown outside the block.
pub(crate) fn uin(entropy: &dyn Entropy) -> String {
    number(entropy, UIN_LEN)
}

/// A virtual identifier: random, revocable, and what a person may show.
pub(crate) fn vid(entropy: &dyn Entropy) -> String {
    number(entropy, VID_LEN)
}

/// The centre and machine of bulk enrolments, chosen anew for each batch so that two batches of
/// the same second cannot meet.
pub(crate) fn bulk_station(entropy: &dyn Entropy) -> u64 {
    let mut bytes = [0_u8; 8];
    entropy.fill(&mut bytes);
    u64::from_be_bytes(bytes) % 10_000_000_000
}

/// The number of an enrolment: ten digits of centre and machine, five of the sequence, and the
/// moment to the second.
pub(crate) fn registration_id(station: u64, sequence: usize, now: Timestamp) -> String {
    let (year, month, day) = now.date();
    let second = now.seconds().rem_euclid(86_400);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let sequence = sequence % 100_000;
    format!("{station:010}{sequence:05}{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

/// Random decimal digits, each as likely as any other.
pub(crate) struct Digits<'a> {
    entropy: &'a dyn Entropy,
    bytes: [u8; 64],
    at: usize,
}

impl<'a> Digits<'a> {
    /// Digits drawn from this source.
    pub(crate) fn new(entropy: &'a dyn Entropy) -> Self {
        Self {
            entropy,
            bytes: [0; 64],
            at: 64,
        }
    }
}

impl Iterator for Digits<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        loop {
            if self.at == self.bytes.len() {
                self.entropy.fill(&mut self.bytes);
                self.at = 0;
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            // 250 is the largest multiple of ten in a byte; what lies above would favour 0 to 5.
            if byte < 250 {
                return Some(byte % 10);
            }
        }
    }
}

/// A number that follows all rules. A digit that breaks a rule beside its neighbours is drawn
/// again at once, which leaves few whole numbers to throw away.
fn number(entropy: &dyn Entropy, length: usize) -> String {
    let mut source = Digits::new(entropy);
    let mut candidate = Vec::with_capacity(length);
    loop {
        candidate.clear();
        while candidate.len() < length - 1 {
            candidate.extend(source.next());
            if !is_good_so_far(&candidate) {
                candidate.pop();
            }
        }
        candidate.push(check_digit(&candidate));
        if is_good(&candidate) {
            return candidate
                .iter()
                .map(|digit| char::from(b'0' + digit))
                .collect();
        }
    }
}

/// The Verhoeff check digit, which catches every single wrong digit and every swap of two
/// neighbours.
fn check_digit(digits: &[u8]) -> u8 {
    let mut check = 0_u8;
    for (place, digit) in digits.iter().rev().enumerate() {
        let permuted = PERMUTE[(place + 1) % 8][usize::from(*digit)];
        check = MULTIPLY[usize::from(check)][usize::from(permuted)];
    }
    INVERSE[usize::from(check)]
}

/// Whether the last digit fits the others.
#[cfg(test)]
fn is_checked(number: &str) -> bool {
    let digits: Vec<u8> = number.bytes().map(|byte| byte - b'0').collect();
    digits
        .split_last()
        .is_some_and(|(last, rest)| *last == check_digit(rest))
}

/// Numbers that are easy to mistype, to guess or to take offence at are not given out: leading
/// 0 or 1, runs such as 123 or 321, equal digits beside or next but one to each other, a block of
/// two digits twice, a second half that repeats or mirrors the first, three even digits in a
/// row, 666 and 786.
fn is_good(digits: &[u8]) -> bool {
    (1..=digits.len()).all(|end| is_good_so_far(&digits[..end])) && !repeats(digits)
}

/// The rules that the last digit of a beginning can break beside its neighbours.
fn is_good_so_far(digits: &[u8]) -> bool {
    match digits {
        [] => true,
        [first] => *first > 1,
        [a, b] => a != b,
        [.., a, b, c] => {
            let rises = a + 1 == *b && b + 1 == *c;
            let falls = c + 1 == *b && b + 1 == *a;
            let even = [a, b, c].iter().all(|digit| *digit % 2 == 0);
            b != c && a != c && !rises && !falls && !even && [*a, *b, *c] != [7, 8, 6]
        }
    }
}

fn repeats(digits: &[u8]) -> bool {
    let block = |at: usize| (digits[at], digits[at + 1]);
    let last = digits.len() - 1;
    let twice = (0..last).any(|one| (one + 2..last).any(|two| block(one) == block(two)));
    let (head, tail) = (&digits[..5], &digits[digits.len() - 5..]);
    twice || head == tail || head.iter().eq(tail.iter().rev())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use publica_types::SystemEntropy;

    use super::*;

    #[test]
    fn numbers_are_checked_good_and_different() {
        let mut seen = HashSet::new();
        for _ in 0..2_000 {
            for (number, length) in [
                (uin(&SystemEntropy), UIN_LEN),
                (vid(&SystemEntropy), VID_LEN),
            ] {
                assert_eq!(number.len(), length);
                assert!(is_checked(&number), "{number}");
                assert!(!number.starts_with(['0', '1']), "{number}");
                assert!(
                    !number.contains("786") && !number.contains("123"),
                    "{number}"
                );
                seen.insert(number);
            }
        }
        assert!(seen.len() > 3_990);
    }

    #[test]
    fn a_wrong_digit_and_a_swap_are_noticed() {
        let number = vid(&SystemEntropy);
        for at in 0..VID_LEN {
            let mut wrong = number.clone().into_bytes();
            wrong[at] = b'0' + (wrong[at] - b'0' + 1) % 10;
            assert!(!is_checked(std::str::from_utf8(&wrong).unwrap()));
        }
        for at in 0..VID_LEN - 1 {
            let mut swapped = number.clone().into_bytes();
            swapped.swap(at, at + 1);
            assert!(!is_checked(std::str::from_utf8(&swapped).unwrap()));
        }
        // Worked out by hand: the check digit of 236 is 3.
        assert!(is_checked("2363"));
    }

    #[test]
    fn patterns_are_refused() {
        let good = |text: &str| is_good(&text.bytes().map(|b| b - b'0').collect::<Vec<u8>>());
        for bad in [
            "0951749306",
            "1951749306",
            "2345190738",
            "5432190738",
            "2298190738",
            "2928190738",
            "4839148057",
            "9372593725",
            "9372552739",
            "9246173508",
            "9378645102",
        ] {
            assert!(!good(bad), "{bad}");
        }
        assert!(good("9372518490"));
    }

    #[test]
    fn registrations_say_when() {
        let now = "2026-11-29T08:07:06Z".parse().unwrap();
        assert_eq!(registration_id(42, 7, now), "00000000420000720261129080706");
        assert_eq!(registration_id(9_999_999_999, 100_003, now).len(), 29);
    }

    #[test]
    fn digits_are_even_handed() {
        let mut counts = [0_u32; 10];
        for digit in Digits::new(&SystemEntropy).take(20_000) {
            counts[usize::from(digit)] += 1;
        }
        assert!(
            counts.iter().all(|count| (1_600..2_400).contains(count)),
            "{counts:?}"
        );
    }
}
