//! The short-form prescription id, `RRRRRR-OOOOOO-SSSSSC` (NHS EPS, prescription id guidance): six random hex
//! digits, the prescriber's ODS code padded with zeros to six, five hex digits of a sequence, one check
//! character after ISO 7064 MOD 37-2 with `+` in place of `*`.

const ALPHABET: &[u8; 37] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ+";

/// What is wrong with a short-form id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Format,
    CheckDigit,
}

pub(super) fn check(id: &str) -> Result<(), Fault> {
    let (body, check) = match id.as_bytes() {
        [body @ .., check] if body.len() == 19 => (body, *check),
        _ => return Err(Fault::Format),
    };
    let well_formed = body.iter().enumerate().all(|(at, byte)| match at {
        6 | 13 => *byte == b'-',
        7..=12 => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
        _ => byte.is_ascii_digit() || (b'A'..=b'F').contains(byte),
    });
    let check = value(check).ok_or(Fault::Format)?;
    if !well_formed {
        return Err(Fault::Format);
    }
    let total = body.iter().filter_map(|byte| value(*byte)).fold(0, |total, value| (total + value) * 2 % 37);
    if (total + check) % 37 == 1 { Ok(()) } else { Err(Fault::CheckDigit) }
}

/// The place in the alphabet; none for the hyphens and anything else.
fn value(byte: u8) -> Option<usize> {
    ALPHABET.iter().position(|known| *known == byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_published_with_the_eps_examples_are_valid() {
        for id in ["24F5DA-A83008-7EFE6Z", "7F4CA4-A99968-4B0BAZ", "4243A0-A99968-4E149+", "507FE8-A83008-4A859+", "A0548B-A99968-451485"] {
            assert_eq!(check(id), Ok(()), "{id}");
        }
    }

    #[test]
    fn a_wrong_check_character_and_a_wrong_shape_are_told_apart() {
        assert_eq!(check("269CA9-A99968-4577BP"), Err(Fault::CheckDigit));
        assert_eq!(check("269CA9-A99968-4577BF"), Ok(()));
        for id in ["", "269CA9A99968-4577BF", "269ca9-A99968-4577BF", "269CA9-A99968-4577B*", "269CA9-A99968-4577BFé"] {
            assert_eq!(check(id), Err(Fault::Format), "{id}");
        }
    }
}
