//! Which partition a key belongs to: the murmur2 hash of Apache Kafka's Java client, so that the embedded log, librdkafka
//! (`murmur2_random`) and any Java producer agree.

use crate::topics::PARTITIONS;

/// The partition (0 to 11) of a record key.
pub fn partition_of(key: &[u8]) -> u16 {
    // The remainder is below PARTITIONS, so it fits.
    ((murmur2(key) & 0x7fff_ffff) % u32::from(PARTITIONS)) as u16
}

/// MurmurHash2, 32 bit, little endian, with the seed that Kafka's `Utils.murmur2` uses. Java reads the result as signed.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Java's array length is a 32-bit integer; keys are far shorter.
    let mut hash = SEED ^ (data.len() as u32);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (position, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * position);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_equals_that_of_kafkas_java_client() {
        // Values of `UtilsTest.testMurmur2` in Apache Kafka.
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key), expected.cast_unsigned());
        }
    }
    #[test]
    fn the_partition_of_a_stream_never_changes() {
        let ascending: [u8; 16] = std::array::from_fn(|position| position as u8);
        let cases: [([u8; 16], u16); 6] = [
            ([0; 16], 4),
            (ascending, 9),
            ([0xff; 16], 10),
            (0x0190_f3c2_a7b4_7c1d_9e5f_0011_2233_4455_u128.to_be_bytes(), 5),
            ([0x80; 16], 2),
            (ascending.map(|byte| byte + 0xf0), 8),
        ];
        for (key, expected) in cases {
            assert_eq!(partition_of(&key), expected);
        }
    }

    #[test]
    fn every_partition_gets_a_fair_share_of_random_keys() {
        let mut counts = [0_u32; PARTITIONS as usize];
        for number in 0..12_000_u128 {
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834).to_be_bytes();
            counts[usize::from(partition_of(&key))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
