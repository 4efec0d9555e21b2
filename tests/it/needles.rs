//! Looks for many values at once in bytes, whatever their case.

use std::collections::HashMap;

/// Every value that is looked for is at least this long; its first bytes are looked up at every place.
const HEAD: usize = 6;
const BLOOM_BITS: u32 = 22;

/// Something that must not be found.
struct Needle {
    kind: &'static str,
    bytes: Vec<u8>,
    /// A run of digits in the midst of a longer run is something else.
    alone: bool,
}

/// Values looked for.
pub struct Needles {
    by_head: HashMap<u64, Vec<Needle>>,
    /// Most places begin with no head at all: one bit says so without a look into the map.
    bloom: Vec<u64>,
    count: usize,
}

/// A value that was found, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub kind: &'static str,
    pub at: usize,
    pub value: String,
    pub around: String,
}

impl Needles {
    pub fn new() -> Self {
        Needles { by_head: HashMap::new(), bloom: vec![0; 1 << (BLOOM_BITS - 6)], count: 0 }
    }

    /// A value that counts wherever it stands.
    pub fn add(&mut self, kind: &'static str, value: impl AsRef<[u8]>) {
        self.insert(kind, value.as_ref(), false);
    }

    /// A value of digits that counts only where no letter, digit, hyphen or point stands beside it.
    pub fn add_alone(&mut self, kind: &'static str, value: impl AsRef<[u8]>) {
        self.insert(kind, value.as_ref(), true);
    }

    fn insert(&mut self, kind: &'static str, value: &[u8], alone: bool) {
        let bytes = value.to_ascii_lowercase();
        assert!(bytes.len() >= HEAD, "{} bytes are too few to look for", bytes.len());
        let head = bytes[..HEAD].iter().fold(0, |head, byte| head << 8 | u64::from(*byte));
        let bit = bit(head);
        self.bloom[bit / 64] |= 1 << (bit % 64);
        self.by_head.entry(head).or_default().push(Needle { kind, bytes, alone });
        self.count += 1;
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// Every value found, each at each place.
    pub fn find(&self, hay: &[u8]) -> Vec<Found> {
        const MASK: u64 = (1 << (8 * HEAD)) - 1;
        let mut found = Vec::new();
        let mut head = 0;
        for (end, byte) in hay.iter().enumerate() {
            head = (head << 8 | u64::from(byte.to_ascii_lowercase())) & MASK;
            let bit = bit(head);
            if self.bloom[bit / 64] >> (bit % 64) & 1 == 0 || end + 1 < HEAD {
                continue;
            }
            let at = end + 1 - HEAD;
            for needle in self.by_head.get(&head).into_iter().flatten() {
                let here = hay.get(at..at + needle.bytes.len()).is_some_and(|here| here.eq_ignore_ascii_case(&needle.bytes));
                if here && (!needle.alone || is_alone(hay, at, needle.bytes.len())) {
                    found.push(Found {
                        kind: needle.kind,
                        at,
                        value: String::from_utf8_lossy(&needle.bytes).into_owned(),
                        around: String::from_utf8_lossy(&hay[at.saturating_sub(60)..(at + 60).min(hay.len())]).into_owned(),
                    });
                }
            }
        }
        found
    }
}

fn bit(head: u64) -> usize {
    (head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BLOOM_BITS)) as usize
}

fn is_alone(hay: &[u8], at: usize, len: usize) -> bool {
    let joins = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let before = at.checked_sub(1).and_then(|before| hay.get(before));
    !before.is_some_and(joins) && !hay.get(at + len).is_some_and(joins)
}

#[test]
fn a_value_is_found_at_either_end_in_any_case_and_beside_others() {
    let mut needles = Needles::new();
    needles.add("name", "Marplezq");
    needles.add("number", "9990000018");
    needles.add_alone("birthday", "19380412");
    let kinds = |hay: &[u8]| needles.find(hay).into_iter().map(|found| (found.kind, found.at)).collect::<Vec<_>>();
    assert_eq!(kinds(b"MARPLEZQ\0marplezq"), [("name", 0), ("name", 9)]);
    assert_eq!(kinds(b"x9990000018"), [("number", 1)]);
    assert_eq!(kinds(b"\x0819380412\x12"), [("birthday", 1)]);
    assert_eq!(kinds(b"1763193804125"), []);
    assert_eq!(kinds(b"marplez"), []);
    assert_eq!(kinds(b""), []);
    assert_eq!(needles.len(), 3);
}
