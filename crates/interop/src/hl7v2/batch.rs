//! Files of messages: `FHS {BHS {message} BTS} FTS`, messages strung together without a wrapper, or a single message.
//!
//! HL7 UK A.3 says batches should not be used, so this is for loading history only. Missing trailers and wrong counts
//! are reported and read on; a file whose structure could hide a message is refused as a whole.

use std::fmt;

/// Messages of one file, borrowed from it, and what was odd about the file.
#[derive(PartialEq, Eq)]
pub struct Split<'a> {
    /// Each from its MSH to the end of its last line; MLLP framing bytes left out. Not yet parsed.
    pub messages: Vec<&'a [u8]>,
    /// In the order found.
    pub warnings: Vec<BatchWarning>,
}

/// Oddities that lose nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchWarning {
    /// A batch ended without BTS.
    NoBatchTrailer,
    /// A file ended without FTS.
    NoFileTrailer,
    /// A BTS without BHS, or an FTS without FHS.
    NoHeader,
    /// BTS-1 (messages) or FTS-1 (batches) does not agree with what is there.
    CountMismatch {
        /// Whose first field it is.
        trailer: Trailer,
        /// As the trailer says.
        stated: usize,
        /// As counted.
        found: usize,
    },
}

/// What ends a batch or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailer {
    /// BTS
    Batch,
    /// FTS
    File,
}

impl fmt::Display for BatchWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoBatchTrailer => f.write_str("a batch ends without BTS: the end of it may be missing"),
            Self::NoFileTrailer => f.write_str("the file ends without FTS: the end of it may be missing"),
            Self::NoHeader => f.write_str("a BTS has no BHS, or an FTS no FHS: the beginning of it may be missing"),
            Self::CountMismatch { trailer: Trailer::Batch, stated, found } => write!(f, "messages of a batch: BTS-1 says {stated}, and there are {found}"),
            Self::CountMismatch { trailer: Trailer::File, stated, found } => write!(f, "batches of the file: FTS-1 says {stated}, and there are {found}"),
        }
    }
}

/// Why a file is refused. Lines count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No MSH anywhere.
    #[error("the file holds no message")]
    NoMessage,
    /// A segment before the first MSH of its batch.
    #[error("line {line} belongs to no message")]
    OutsideMessage {
        /// Where.
        line: usize,
    },
    /// FHS or BHS while another is open and a message is unfinished.
    #[error("a file or batch header inside a message at line {line}")]
    HeaderInsideMessage {
        /// Where.
        line: usize,
    },
}

#[derive(Default)]
struct Open {
    file: bool,
    batch: bool,
    message: Option<usize>,
    messages_in_batch: usize,
    batches_in_file: usize,
}

/// Splits a file. Wide encodings (UTF-16, UTF-32) are taken as one message.
pub fn split(file: &[u8]) -> Result<Split<'_>, BatchError> {
    if matches!(file, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, ..] | [_, 0, ..]) {
        return Ok(Split { messages: vec![file], warnings: Vec::new() });
    }
    let mut split = Split { messages: Vec::new(), warnings: Vec::new() };
    let mut open = Open::default();
    for (number, at, content) in lines(file) {
        match segment_name(content) {
            Some(b"MSH") => {
                close_message(&mut open, file, at, &mut split);
                open.message = Some(at);
            }
            Some(name @ (b"FHS" | b"BHS")) => {
                let is_file = name == b"FHS";
                let unfinished = open.batch || (is_file && open.file);
                if unfinished && open.message.is_some() {
                    return Err(BatchError::HeaderInsideMessage { line: number });
                }
                close_message(&mut open, file, at, &mut split);
                if is_file {
                    open = Open { file: true, ..Open::default() };
                } else {
                    open.batch = true;
                    open.messages_in_batch = 0;
                }
            }
            Some(b"BTS") => {
                close_message(&mut open, file, at, &mut split);
                if !open.batch {
                    split.warnings.push(BatchWarning::NoHeader);
                }
                check_count(Trailer::Batch, content, open.messages_in_batch, &mut split.warnings);
                open.batches_in_file += 1;
                (open.batch, open.messages_in_batch) = (false, 0);
            }
            Some(b"FTS") => {
                close_message(&mut open, file, at, &mut split);
                close_batch(&mut open, &mut split.warnings);
                if !open.file {
                    split.warnings.push(BatchWarning::NoHeader);
                }
                // A file without batches counts as one.
                check_count(Trailer::File, content, open.batches_in_file.max(1), &mut split.warnings);
                open = Open::default();
            }
            _ if open.message.is_some() || content.trim_ascii().is_empty() => {}
            _ => return Err(BatchError::OutsideMessage { line: number }),
        }
    }
    close_message(&mut open, file, file.len(), &mut split);
    close_batch(&mut open, &mut split.warnings);
    if open.file {
        split.warnings.push(BatchWarning::NoFileTrailer);
    }
    if split.messages.is_empty() { Err(BatchError::NoMessage) } else { Ok(split) }
}

fn close_message<'a>(open: &mut Open, file: &'a [u8], end: usize, split: &mut Split<'a>) {
    let Some(start) = open.message.take() else {
        return;
    };
    let message = &file[start..end];
    let used = message.iter().rposition(|b| !matches!(b, 0x0B | 0x1C) && !b.is_ascii_whitespace());
    split.messages.push(&message[..used.map_or(0, |last| last + 1)]);
    open.messages_in_batch += 1;
}

fn close_batch(open: &mut Open, warnings: &mut Vec<BatchWarning>) {
    if open.batch {
        warnings.push(BatchWarning::NoBatchTrailer);
        open.batch = false;
        open.batches_in_file += 1;
    }
}

/// Number, offset of the first content byte, and content of each line, without framing bytes and byte order marks.
fn lines(file: &[u8]) -> impl Iterator<Item = (usize, usize, &[u8])> {
    let mut at = 0;
    file.split(|&b| b == b'\r' || b == b'\n').enumerate().map(move |(index, line)| {
        let start = at;
        at += line.len() + 1;
        let mut content = line;
        while let Some(rest) = [&b"\x1C"[..], b"\x0B", b"\xEF\xBB\xBF"].iter().find_map(|framing| content.strip_prefix(*framing)) {
            content = rest;
        }
        (index + 1, start + line.len() - content.len(), content)
    })
}

fn segment_name(line: &[u8]) -> Option<&[u8]> {
    let (name, rest) = line.split_at_checked(3)?;
    rest.first().is_none_or(|separator| separator.is_ascii_punctuation()).then_some(name)
}

fn check_count(trailer: Trailer, segment: &[u8], found: usize, warnings: &mut Vec<BatchWarning>) {
    let Some(&separator) = segment.get(3) else {
        return;
    };
    let first = segment.split(|&b| b == separator).nth(1).unwrap_or_default();
    let stated = std::str::from_utf8(first).ok().and_then(|digits| digits.trim().parse::<usize>().ok());
    if let Some(stated) = stated.filter(|&stated| stated != found) {
        warnings.push(BatchWarning::CountMismatch { trailer, stated, found });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "MSH|^~\\&|A\rPID|1\r";

    fn read(file: &str) -> Result<(usize, Vec<BatchWarning>), BatchError> {
        split(file.as_bytes()).map(|s| (s.messages.len(), s.warnings))
    }

    #[test]
    fn a_wrapped_file_gives_its_messages() {
        let file = format!("FHS|^~\\&\rBHS|^~\\&\r{MESSAGE}{MESSAGE}BTS|2\rFTS|1\r");
        assert_eq!(read(&file), Ok((2, vec![])));
        let split = split(file.as_bytes()).unwrap_or_else(|_| panic!("splits"));
        assert!(split.messages.iter().all(|m| *m == b"MSH|^~\\&|A\rPID|1"));
    }

    #[test]
    fn messages_without_a_wrapper_and_framed_ones_are_split() {
        assert_eq!(read(MESSAGE), Ok((1, vec![])));
        assert_eq!(read(&format!("{MESSAGE}\n\n{MESSAGE}{MESSAGE}")), Ok((3, vec![])));
        assert_eq!(read(&format!("\u{FEFF}\u{B}{MESSAGE}\u{1C}\r\u{B}{MESSAGE}\u{1C}\r")), Ok((2, vec![])));
        assert_eq!(read(&format!("{MESSAGE}\u{1C}\u{B}{MESSAGE}")), Ok((2, vec![])));
    }

    #[test]
    fn missing_trailers_and_headers_are_warnings() {
        assert_eq!(read(&format!("BHS|^~\\&\r{MESSAGE}")), Ok((1, vec![BatchWarning::NoBatchTrailer])));
        assert_eq!(read(&format!("{MESSAGE}BTS|1\r")), Ok((1, vec![BatchWarning::NoHeader])));
        assert_eq!(read(&format!("FHS|^~\\&\r{MESSAGE}")), Ok((1, vec![BatchWarning::NoFileTrailer])));
        assert_eq!(read(&format!("FHS|^~\\&\r{MESSAGE}FTS|1\r")), Ok((1, vec![])));
    }

    #[test]
    fn a_wrong_count_is_a_warning() {
        assert_eq!(read(&format!("BHS|^~\\&\r{MESSAGE}BTS|3\r")), Ok((1, vec![BatchWarning::CountMismatch { trailer: Trailer::Batch, stated: 3, found: 1 }])));
        let (_, warnings) = read(&format!("FHS|^~\\&\rBHS|^~\\&\r{MESSAGE}BTS|1\rFTS|2\r")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(warnings.iter().map(BatchWarning::to_string).collect::<Vec<_>>(), ["batches of the file: FTS-1 says 2, and there are 1"]);
    }

    #[test]
    fn a_structure_that_could_hide_a_message_is_refused() {
        assert_eq!(read(""), Err(BatchError::NoMessage));
        assert_eq!(read("BHS|^~\\&\rBTS|0\r"), Err(BatchError::NoMessage));
        assert_eq!(read("BHS|^~\\&\rEVN|A04\rBTS|1\r"), Err(BatchError::OutsideMessage { line: 2 }));
        let inside = format!("FHS|^~\\&\rBHS|^~\\&\r{MESSAGE}FHS|^~\\&\rPV1|1\rBTS|1\rFTS|1\r");
        assert_eq!(read(&inside), Err(BatchError::HeaderInsideMessage { line: 5 }));
    }
}
