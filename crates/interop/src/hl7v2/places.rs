//! Where a delimiter stands in a text: eight bytes at a time while it is dense, by vectors through long stretches without it.

use memchr::{memchr, memchr2, memchr3};

const LOW_BITS: u64 = u64::from_ne_bytes([0x7F; 8]);

/// After so many bytes without the delimiter it may be far: an attached document has millions.
const QUIET: usize = 64;

/// The highest bit of each byte that is not the same in both words; the other bits mean nothing.
#[inline(always)]
fn different(word: u64, pattern: u64) -> u64 {
    let differing = word ^ pattern;
    // No carry goes from one byte into the next.
    ((differing & LOW_BITS) + LOW_BITS) | differing
}

/// Where one ASCII byte other than NUL stands in a text: a bit for each of its bytes, the first lowest.
///
/// Delimiters of a message stand a few bytes apart, where a vectorised search spends more on starting than on searching.
pub(super) fn marks(byte: u8, text: &[u8]) -> Vec<u64> {
    let mut marks = vec![0; text.len().div_ceil(64)];
    let (blocks, rest) = text.as_chunks::<64>();
    let mut at = 0;
    while let Some(block) = blocks.get(at) {
        marks[at] = marks_of(block, byte);
        at += 1;
        if marks[at - 1] == 0 {
            at += memchr(byte, &text[at * 64..]).unwrap_or(text.len()) / 64;
        }
    }
    if let Some(last) = marks.last_mut().filter(|_| !rest.is_empty()) {
        let mut block = [0; 64];
        block[..rest.len()].copy_from_slice(rest);
        *last = marks_of(&block, byte);
    }
    marks
}

#[inline(always)]
fn marks_of(block: &[u8; 64], byte: u8) -> u64 {
    // The product gathers the lowest bit of each byte in the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    // Compared all at once where the machine has vectors.
    let same = block.map(|other| u8::from(other == byte));
    let (words, _) = same.as_chunks();
    words.iter().rev().fold(0, |marks, word| marks << 8 | u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56)
}

/// A part of the marks of a text, that of a segment.
#[derive(Clone, Copy)]
pub(super) struct Marked<'m> {
    marks: &'m [u64],
    /// Bits of the first word that lie before the part.
    before: u32,
}

impl<'m> Marked<'m> {
    /// The marks of a text from `start` on.
    #[inline]
    pub(super) fn from(marks: &'m [u64], start: usize) -> Self {
        Self { marks: marks.get(start / 64..).unwrap_or_default(), before: (start % 64) as u32 }
    }

    /// Where in the part the `n`th marked byte stands, from 1, and the one behind it (`usize::MAX` when there is none); both
    /// may lie behind the end of the part.
    #[inline]
    pub(super) fn pair(&self, n: usize) -> Option<(usize, usize)> {
        let mut left = n.checked_sub(1)? as u64;
        let mut words = self.marks.iter();
        let mut word = words.next()? >> self.before << self.before;
        let mut sums = running_sums(word);
        let mut base = 0;
        while left >= sums >> 56 {
            left -= sums >> 56;
            word = *words.next()?;
            sums = running_sums(word);
            base += 64;
        }
        let place = |base: usize, word: u64| base + word.trailing_zeros() as usize - self.before as usize;
        word = without_first(word, sums, left);
        let first = place(base, word);
        word &= word - 1;
        while word == 0 {
            let Some(next) = words.next() else {
                return Some((first, usize::MAX));
            };
            (word, base) = (*next, base + 64);
        }
        Some((first, place(base, word)))
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = !LOW_BITS;

/// In each byte the number of bits set in it and in those below: the highest has all of them.
#[inline(always)]
fn running_sums(word: u64) -> u64 {
    // Bits are counted in pairs, in fours, in eights; the product then adds up the bytes.
    let twos = word - (word >> 1 & u64::from_ne_bytes([0x55; 8]));
    let fours = (twos & u64::from_ne_bytes([0x33; 8])) + (twos >> 2 & u64::from_ne_bytes([0x33; 8]));
    let eights = (fours + (fours >> 4)) & u64::from_ne_bytes([0x0F; 8]);
    eights.wrapping_mul(ONES)
}

/// A word without the first `n` of its bits, which has more than that.
#[inline(always)]
fn without_first(word: u64, sums: u64, n: u64) -> u64 {
    // The bytes whose sum is not above `n` go as a whole: no sum is above 64, so no borrow goes from one byte into the next.
    let passed = (((n * ONES) | HIGH_BITS) - sums) >> 7 & ONES;
    let bits = 8 * (passed.wrapping_mul(ONES) >> 56);
    let mut word = word >> bits << bits;
    for _ in (sums << 8 >> bits & 0xFF)..n {
        word &= word - 1;
    }
    word
}

/// Up to seven bytes as a word, filled up with NUL.
#[inline(always)]
fn short_word(bytes: &[u8]) -> u64 {
    let shift = |missing: usize| 8 * (bytes.len() - missing) as u32;
    // Two reads that may overlap.
    match (bytes.first_chunk(), bytes.last_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
        (Some(low), Some(high), ..) => u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << shift(4),
        (.., Some(low), Some(high)) => u64::from(u16::from_le_bytes(*low)) | u64::from(u16::from_le_bytes(*high)) << shift(2),
        _ => bytes.first().map_or(0, |&only| u64::from(only)),
    }
}

/// The last bytes of a text, fewer than eight, as a word filled up with NUL.
#[inline(always)]
fn last_word(bytes: &[u8], count: usize) -> u64 {
    match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last).checked_shr(64 - 8 * count as u32).unwrap_or(0),
        None => short_word(bytes),
    }
}

/// Calls `found` with the place of each byte that is one of `wanted`, which are ASCII other than NUL, until it returns something.
#[inline(always)]
fn search<const N: usize, T>(bytes: &[u8], wanted: [u8; N], mut found: impl FnMut(usize) -> Option<T>) -> Option<T> {
    let patterns = wanted.map(|byte| u64::from_ne_bytes([byte; 8]));
    let (mut at, mut quiet) = (0, 0);
    loop {
        let rest = &bytes[at..];
        let whole = rest.first_chunk();
        let word = whole.map_or_else(|| last_word(bytes, rest.len()), |word| u64::from_le_bytes(*word));
        let mut hits = !patterns.iter().fold(u64::MAX, |others, &pattern| others & different(word, pattern)) & HIGH_BITS;
        quiet = if hits == 0 { quiet + 8 } else { 0 };
        while hits != 0 {
            if let Some(result) = found(at + hits.trailing_zeros() as usize / 8) {
                return Some(result);
            }
            hits &= hits - 1;
        }
        whole?;
        at += 8;
        if quiet >= QUIET {
            let rest = &bytes[at..];
            let next = match wanted.as_slice() {
                [a] => memchr(*a, rest),
                [a, b] => memchr2(*a, *b, rest),
                [a, b, c] => memchr3(*a, *b, *c, rest),
                _ => Some(0),
            };
            (at, quiet) = (at + next?, 0);
        }
    }
}

/// Where piece `n`, from 0, of bytes cut at `separator` begins and ends.
#[inline]
pub(super) fn nth_place(bytes: &[u8], separator: u8, n: usize) -> Option<(usize, usize)> {
    let (mut before, mut start) = (n, 0);
    let ended = search(bytes, [separator], |at| {
        if before == 0 {
            return Some(at);
        }
        (before, start) = (before - 1, at + 1);
        None
    });
    (before == 0).then(|| (start, ended.unwrap_or(bytes.len())))
}

/// Piece `n`, from 0, of a text cut at `separator`, which is ASCII: every cut is a character boundary.
#[inline]
pub(super) fn nth(text: &str, separator: u8, n: usize) -> Option<&str> {
    nth_place(text.as_bytes(), separator, n).map(|(start, end)| &text[start..end])
}

/// The same of the text before the first `stop`.
#[inline]
pub(super) fn nth_before(text: &str, stop: u8, separator: u8, n: usize) -> Option<&str> {
    let (bytes, mut before, mut start) = (text.as_bytes(), n, 0);
    let ended = search(bytes, [separator, stop], |at| {
        if before == 0 || bytes[at] == stop {
            return Some(at);
        }
        (before, start) = (before - 1, at + 1);
        None
    });
    (before == 0).then(|| &text[start..ended.unwrap_or(bytes.len())])
}

/// The first pieces of a text cut at `separator`, each as far as its first `stop`: whole where that is the separator as well.
#[inline]
pub(super) fn first_pieces_before<const N: usize>(text: &str, stop: u8, separator: u8) -> [Option<&str>; N] {
    let (bytes, mut pieces, mut filled, mut start, mut stopped) = (text.as_bytes(), [None; N], 0, 0, None);
    let ended = search(bytes, [separator, stop], |at| {
        if bytes[at] != separator {
            stopped.get_or_insert(at);
            return None;
        }
        pieces[filled] = Some(&text[start..stopped.take().unwrap_or(at)]);
        (filled, start) = (filled + 1, at + 1);
        (filled == N).then_some(())
    });
    if ended.is_none() {
        pieces[filled] = Some(&text[start..stopped.unwrap_or(text.len())]);
    }
    pieces
}

/// The text before the first `separator`.
#[inline]
pub(super) fn until(text: &str, separator: u8) -> &str {
    until_any(text, [separator])
}

/// The text before the first of `wanted`.
#[inline]
pub(super) fn until_any<const N: usize>(text: &str, wanted: [u8; N]) -> &str {
    let ended = search(text.as_bytes(), wanted, Some);
    &text[..ended.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(byte: u8, text: &[u8]) -> Vec<usize> {
        let marks = marks(byte, text);
        let found: Vec<usize> = (1..).map_while(|n| Marked::from(&marks, 0).pair(n)).map(|(first, _)| first).collect();
        for from in 0..text.len() {
            let behind: Vec<usize> = found.iter().filter(|&&at| at >= from).map(|at| at - from).collect();
            let part = Marked::from(&marks, from);
            for n in [1, 2, behind.len(), behind.len() + 1].into_iter().filter(|n| *n > 0 && text.len() < 200) {
                assert_eq!(part.pair(n), behind.get(n - 1).map(|&at| (at, behind.get(n).map_or(usize::MAX, |&next| next))), "{from} {n}");
            }
        }
        found
    }

    #[test]
    fn every_place_is_found_wherever_it_lies_in_a_word() {
        // Neighbours of the byte by one bit, and high bytes, must not be taken for it.
        let filler = [b'}', b'{', b'|' | 0x80, 0xFF, 0x00, b'a', b'x'];
        for length in (0..40).chain([63, 64, 65, 129, 150]) {
            for at in (0..length).filter(|at| *at < 8 || length - at < 8) {
                for step in (1..length).filter(|step| *step < 10 || length < 20) {
                    let mut text: Vec<u8> = filler.iter().copied().cycle().take(length).collect();
                    (at..length).step_by(step).for_each(|place| text[place] = b'|');
                    let expected: Vec<usize> = (at..length).step_by(step).collect();
                    assert_eq!(places(b'|', &text), expected);
                }
            }
        }
    }

    #[test]
    fn a_long_stretch_without_the_byte_is_passed_over() {
        for gap in (0..200).chain([1_000, 100_003]) {
            let text = format!("a|{}|b||{}", "x".repeat(gap), "y".repeat(gap));
            assert_eq!(places(b'|', text.as_bytes()), [1, gap + 2, gap + 4, gap + 5], "{gap}");
            for (n, piece) in text.split('|').enumerate() {
                assert_eq!(nth(&text, b'|', n), Some(piece), "{gap} {n}");
            }
            assert_eq!(nth(&text, b'|', 5), None);
        }
    }

    #[test]
    fn each_bit_of_a_word_is_found_by_its_number() {
        let mut word = 0x9E37_79B9_7F4A_7C15_u64;
        for round in 0..500_u32 {
            word = word.wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(29) ^ u64::from(round);
            for word in [word, word & word.rotate_left(7), word | word.rotate_left(11), u64::MAX << (round % 64), 1 << (round % 64)] {
                let expected: Vec<usize> = (0..64).filter(|bit| word >> bit & 1 == 1).collect();
                let found = (1..).map_while(|n| Marked { marks: &[word], before: 0 }.pair(n)).map(|(first, _)| first);
                assert_eq!(found.collect::<Vec<_>>(), expected, "{word:x}");
            }
        }
        assert_eq!(Marked { marks: &[u64::MAX; 3], before: 0 }.pair(usize::MAX), None);
    }

    #[test]
    fn pieces_are_those_of_a_split() {
        let long = format!("a|{}~{}|b~|c", "x".repeat(100), "y".repeat(100));
        for text in ["", "|", "a", "a|b", "||c|", "~", "a~b|c", "a|b~c|d", "ab|cde~", "abcdefg|", "abcdefgh|i", "é|ü|long piece of~ text|z", &long] {
            let pieces: Vec<&str> = text.split('|').collect();
            let before: Vec<&str> = pieces.iter().map(|piece| piece.split('~').next().unwrap_or(piece)).collect();
            let stopped: Vec<&str> = text.split('~').next().map(|first| first.split('|').collect()).unwrap_or_default();
            for n in 0..8 {
                assert_eq!(nth(text, b'|', n), pieces.get(n).copied(), "{text} {n}");
                assert_eq!(nth_before(text, b'~', b'|', n), stopped.get(n).copied(), "{text} {n}");
            }
            assert_eq!(until(text, b'|'), pieces[0]);
            assert_eq!(until_any(text, [b'|', b'~', b'f']), text.split(['|', '~', 'f']).next().unwrap_or(text), "{text}");
            for (stop, expected) in [(b'~', &before), (b'|', &pieces)] {
                assert_eq!(first_pieces_before::<2>(text, stop, b'|'), [0, 1].map(|n| expected.get(n).copied()), "{text}");
                assert_eq!(&first_pieces_before::<9>(text, stop, b'|').into_iter().flatten().collect::<Vec<_>>(), expected, "{text}");
            }
        }
    }
}
