use super::*;

fn events(chunks: &[&[u8]]) -> Vec<Event> {
    let mut decoder = Decoder::new(64);
    let mut found = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        found.extend(std::iter::from_fn(|| decoder.poll()));
    }
    decoder.finish();
    found.extend(std::iter::from_fn(|| decoder.poll()));
    found
}

fn frame(content: &'static [u8]) -> Event {
    Event::Frame(Bytes::from_static(content))
}

fn odd(quirk: Quirk) -> Event {
    Event::Quirk(quirk)
}

#[test]
fn a_frame_is_found_however_its_bytes_arrive() {
    let stream = b"\x0BMSH|one\x1C\x0D\x0BMSH|two\x1C\x0D";
    let expected = vec![frame(b"MSH|one"), frame(b"MSH|two")];
    assert_eq!(events(&[stream]), expected);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(events(&bytes), expected);
    assert_eq!(events(&[&stream[..9], &stream[9..]]), expected);
}

#[test]
fn encoding_then_decoding_gives_the_message_back() {
    let mut out = BytesMut::new();
    encode(b"MSH|x", &mut out);
    assert_eq!(&out[..], b"\x0BMSH|x\x1C\x0D");
    assert_eq!(events(&[&out]), vec![frame(b"MSH|x")]);
}

#[test]
fn white_space_and_a_byte_order_mark_between_frames_are_skipped() {
    let stream = b"\r\n \x0BMSH|a\x1C\x0D\r\n\xEF\xBB\xBF\x0BMSH|b\x1C\x0D\x0BMSH|c\x1C\x0D";
    let blank = || odd(Quirk::BlankBetweenFrames);
    assert_eq!(events(&[stream]), vec![blank(), frame(b"MSH|a"), blank(), odd(Quirk::MarkBeforeFrame), frame(b"MSH|b"), frame(b"MSH|c")]);
}

#[test]
fn a_byte_order_mark_after_the_start_block_stays_in_the_frame() {
    assert_eq!(events(&[b"\x0B\xEF\xBB\xBFMSH|a\x1C\x0D"]), vec![odd(Quirk::MarkInFrame), frame(b"\xEF\xBB\xBFMSH|a")]);
}

#[test]
fn other_bytes_between_frames_are_counted_as_noise() {
    assert_eq!(events(&[b"hello\x0BMSH|a\x1C\x0D"]), vec![Event::Noise { bytes: 5 }, frame(b"MSH|a")]);
    assert_eq!(events(&[b"left over"]), vec![odd(Quirk::BlankBetweenFrames), Event::Noise { bytes: 8 }]);
}

#[test]
fn a_message_without_a_start_block_is_reported_and_the_next_one_is_read() {
    assert_eq!(events(&[b"MSH|a\x1C\x0D\x0BMSH|b\x1C\x0D"]), vec![Event::MissingStart { bytes: 5 }, frame(b"MSH|b")]);
}

#[test]
fn a_lone_end_byte_inside_a_frame_is_content() {
    assert_eq!(events(&[b"\x0Ba\x1Cb\x1C\x1C\x0D"]), vec![odd(Quirk::EndByteInContent), frame(b"a\x1Cb\x1C")]);
}

#[test]
fn an_end_block_without_its_carriage_return_is_accepted_before_the_next_start() {
    assert_eq!(events(&[b"\x0BMSH|a\x1C\x0BMSH|b\x1C\x0D"]), vec![odd(Quirk::MissingTrailer), frame(b"MSH|a"), frame(b"MSH|b")]);
}

#[test]
fn a_sender_that_never_sends_the_carriage_return_is_served_when_it_falls_silent() {
    for trailer in [&b"\x1C"[..], b"\x1C\n", b"\x1C \n"] {
        let mut decoder = Decoder::new(64);
        decoder.push(b"\x0BMSH|a");
        assert!(!decoder.settle(), "no end block yet");
        decoder.push(trailer);
        assert_eq!(decoder.poll(), None);
        assert!(decoder.settle() && !decoder.is_mid_frame());
        assert_eq!([decoder.poll(), decoder.poll(), decoder.poll()], [Some(odd(Quirk::MissingTrailer)), Some(frame(b"MSH|a")), None]);
        assert!(!decoder.settle());
    }
}

#[test]
fn an_empty_frame_is_named() {
    assert_eq!(events(&[b"\x0B\x1C\x0D"]), vec![odd(Quirk::EmptyFrame), frame(b"")]);
}

#[test]
fn no_more_is_ever_held_than_the_limit() {
    let mut decoder = Decoder::new(1_000);
    decoder.push(b"\x0B");
    for _ in 0..100 {
        decoder.push(&[b'x'; 33]);
        assert!(decoder.frame.capacity() <= 1_000);
    }
    assert_eq!(decoder.poll(), Some(Event::Oversize { limit_bytes: 1_000, begun: Bytes::from(vec![b'x'; 1_000]) }));
    assert_eq!(decoder.frame.capacity(), 0);
}

#[test]
fn every_event_but_a_frame_stands_for_a_quirk() {
    let stream = b"x\x0BMSH|half\x0BMSH|whole\x1C\x0DMSH\x1C\x0D\x0BMSH";
    let quirks: Vec<Option<Quirk>> = events(&[stream]).iter().map(Event::quirk).collect();
    let expected =
        [Some(Quirk::NoiseBetweenFrames), Some(Quirk::StartedAgain), Some(Quirk::Unfinished), None, Some(Quirk::MissingStart), Some(Quirk::Unfinished)];
    assert_eq!(quirks, expected);
}

#[test]
fn an_oversized_frame_is_dropped_and_the_stream_goes_on() {
    let mut stream = vec![0x0B];
    stream.extend_from_slice(&[b'x'; 65]);
    stream.extend_from_slice(b"\x1C\x0D\x0BMSH|b\x1C\x0D");
    let oversize = |begun: &[u8]| Event::Oversize { limit_bytes: 64, begun: Bytes::copy_from_slice(begun) };
    assert_eq!(events(&[&stream]), vec![oversize(&[b'x'; 64]), frame(b"MSH|b")]);
    assert_eq!(events(&[&stream[..30], &stream[30..]]), vec![oversize(&[b'x'; 64]), frame(b"MSH|b")], "however it was cut");
    let mut exact = vec![0x0B];
    exact.extend_from_slice(&[b'x'; 64]);
    exact.extend_from_slice(b"\x1C\x0D");
    assert!(matches!(&events(&[&exact])[..], [Event::Frame(f)] if f.len() == 64));
}

#[test]
fn a_limit_that_is_lowered_holds_for_the_frame_that_has_begun() {
    let mut decoder = Decoder::new(64);
    decoder.push(b"\x0BMSH|twelve+");
    assert_eq!(decoder.unfinished(), b"MSH|twelve+");
    decoder.limit(8);
    assert_eq!(decoder.poll(), Some(Event::Oversize { limit_bytes: 8, begun: Bytes::from_static(b"MSH|twel") }));
    assert_eq!((decoder.poll(), decoder.is_mid_frame(), decoder.unfinished()), (None, true, &b""[..]));
    decoder.push(b"more of it\x1C\x0D\x0BMSH|b\x1C\x0D");
    assert_eq!((decoder.poll(), decoder.poll()), (Some(frame(b"MSH|b")), None));
}

#[test]
fn a_sender_that_begins_again_truncates_the_frame_before() {
    assert_eq!(events(&[b"\x0BMSH|half\x0BMSH|whole\x1C\x0D"]), vec![odd(Quirk::StartedAgain), Event::Truncated { bytes: 8 }, frame(b"MSH|whole")]);
    assert_eq!(events(&[b"\x0BMSH|soft\x0Bbreak\x1C\x0D"]), vec![odd(Quirk::StartByteInContent), frame(b"MSH|soft\x0Bbreak")]);
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_truncated() {
    assert_eq!(events(&[b"\x0BMSH|a"]), vec![Event::Truncated { bytes: 5 }]);
    let mut decoder = Decoder::new(64);
    decoder.push(b"\x0BMSH");
    assert!(decoder.is_mid_frame());
    decoder.push(b"\x1C\x0D");
    assert!(!decoder.is_mid_frame());
}
