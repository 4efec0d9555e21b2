//! Where a delimiter stands in a text: eight bytes at a time while it is dense, by vectors through long stretches without it.

use memchr::{memchr, memchr2};

const LOW_BITS: u64 = u64::from_ne_bytes([0x7F; 8]);

/// After so many bytes without the delimiter it may be far: an attached document has millions.
const QUIET: usize = 64;

/// The highest bit of each byte that is the same in both words.
#[inline(always)]
fn equal(word: u64, pattern: u64) -> u64 {
    let differing = word ^ pattern;
    // No carry goes from one byte into the next.
    !(((differing & LOW_BITS) + LOW_BITS) | differing | LOW_BITS)
}

/// Where one ASCII byte other than NUL stands in a text: a bit for each of its bytes, the first lowest.
///
/// Delimiters of a message stand a few bytes apart, where a vectorised search spends more on starting than on searching.
pub(super) fn marks(byte: u8, text: &[u8]) -> Vec<u64> {
    let pattern = u64::from_ne_bytes([byte; 8]);
    let mut marks = vec![0; text.len().div_ceil(64)];
    let (blocks, rest) = text.as_chunks::<64>();
    let mut at = 0;
    while let Some(block) = blocks.get(at) {
        marks[at] = marks_of(block, pattern);
        at += 1;
        if marks[at - 1] == 0 {
            at += memchr(byte, &text[at * 64..]).unwrap_or(text.len()) / 64;
        }
    }
    if let Some(last) = marks.last_mut().filter(|_| !rest.is_empty()) {
        let mut block = [0; 64];
        block[..rest.len()].copy_from_slice(rest);
        *last = marks_of(&block, pattern);
    }
    marks
}

#[inline(always)]
fn marks_of(block: &[u8; 64], pattern: u64) -> u64 {
    // The product gathers the lowest bit of each byte in the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (words, _) = block.as_chunks();
    let of = |word: &[u8; 8]| (equal(u64::from_le_bytes(*word), pattern) >> 7).wrapping_mul(GATHER) >> 56;
    words.iter().rev().fold(0, |marks, word| marks << 8 | of(word))
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

    /// Where in the part the `n`th marked byte stands, from 1, and the one behind it; both may lie behind the end of the part.
    #[inline]
    pub(super) fn pair(&self, n: usize) -> Option<(usize, Option<usize>)> {
        let mut left = u32::try_from(n).ok()?;
        let mut words = self.marks.iter();
        let mut word = words.next()? >> self.before << self.before;
        let mut base = 0;
        loop {
            let marked = word.count_ones();
            if left <= marked {
                break;
            }
            left -= marked;
            word = *words.next()?;
            base += 64;
        }
        for _ in 1..left {
            word &= word - 1;
        }
        let place = |base: usize, word: u64| base + word.trailing_zeros() as usize - self.before as usize;
        let first = place(base, word);
        word &= word - 1;
        while word == 0 {
            let Some(next) = words.next() else {
                return Some((first, None));
            };
            (word, base) = (*next, base + 64);
        }
        Some((first, Some(place(base, word))))
    }
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

/// Calls `found` with the place of each byte that is one of `wanted`, which are ASCII, until it returns something.
#[inline(always)]
fn search<const N: usize, T>(bytes: &[u8], wanted: [u8; N], mut found: impl FnMut(usize) -> Option<T>) -> Option<T> {
    let patterns = wanted.map(|byte| u64::from_ne_bytes([byte; 8]));
    let (mut at, mut quiet) = (0, 0);
    loop {
        let rest = &bytes[at..];
        let whole = rest.first_chunk();
        let word = whole.map_or_else(|| short_word(rest), |word| u64::from_le_bytes(*word));
        let mut hits = patterns.iter().fold(0, |hits, &pattern| hits | equal(word, pattern));
        if whole.is_none() {
            // What a short word is filled up with is none of the text, whatever is looked for.
            hits &= (1 << (8 * rest.len())) - 1;
        }
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
            let next = if N == 1 { memchr(wanted[0], rest) } else { memchr2(wanted[0], wanted[1], rest) };
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

/// The first pieces of a text cut at `separator`.
#[inline]
pub(super) fn first_pieces<const N: usize>(text: &str, separator: u8) -> [Option<&str>; N] {
    let (mut pieces, mut filled, mut start) = ([None; N], 0, 0);
    let ended = search(text.as_bytes(), [separator], |at| {
        pieces[filled] = Some(&text[start..at]);
        (filled, start) = (filled + 1, at + 1);
        (filled == N).then_some(())
    });
    if ended.is_none() {
        pieces[filled] = Some(&text[start..]);
    }
    pieces
}

/// The text before the first `separator`.
#[inline]
pub(super) fn until(text: &str, separator: u8) -> &str {
    nth(text, separator, 0).unwrap_or(text)
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
                assert_eq!(part.pair(n), behind.get(n - 1).map(|&at| (at, behind.get(n).copied())), "{from} {n}");
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
    fn pieces_are_those_of_a_split() {
        let long = format!("a|{}~{}|b~|c", "x".repeat(100), "y".repeat(100));
        for text in ["", "|", "a", "a|b", "||c|", "~", "a~b|c", "a|b~c|d", "ab|cde~", "abcdefg|", "abcdefgh|i", "é|ü|long piece of~ text|z", &long] {
            let pieces: Vec<&str> = text.split('|').collect();
            let stopped: Vec<&str> = text.split('~').next().map(|first| first.split('|').collect()).unwrap_or_default();
            for n in 0..8 {
                assert_eq!(nth(text, b'|', n), pieces.get(n).copied(), "{text} {n}");
                assert_eq!(nth_before(text, b'~', b'|', n), stopped.get(n).copied(), "{text} {n}");
            }
            assert_eq!(until(text, b'|'), pieces[0]);
            assert_eq!(first_pieces::<2>(text, b'|'), [0, 1].map(|n| pieces.get(n).copied()), "{text}");
            assert_eq!(first_pieces::<9>(text, b'|').into_iter().flatten().collect::<Vec<_>>(), pieces, "{text}");
        }
    }
}
