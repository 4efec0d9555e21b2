use super::*;

const HEADER: &str = "MSH|^~\\&|PAS|RHM|HUB|QRL|20250110120000||ADT^A01^ADT_A01|M0001|P|2.4||||||8859/1";

fn scrubbed(text: &str) -> String {
    let raw: Vec<u8> = text.chars().map(|c| u8::try_from(c).expect("latin 1")).collect();
    let mut scrubber = Scrubber::new([1; 32]);
    let out = scrubber.scrub(&raw);
    assert_eq!(scrubber.found_in(&out), Vec::<String>::new());
    assert_eq!(out.len(), raw.len(), "lengths are kept");
    out.into_iter().map(char::from).collect()
}

fn field(text: &str, id: &str, number: usize) -> String {
    let raw: Vec<u8> = text.chars().map(|c| u8::try_from(c).expect("latin 1")).collect();
    Message::parse(&raw).expect("readable").field(id, number).value().text().unwrap_or_default().to_owned()
}

/// Letters by case, digits, the rest as it stands.
fn shape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_uppercase() => 'A',
            c if c.is_lowercase() => 'a',
            '0'..='9' => '9',
            c => c,
        })
        .collect()
}

#[test]
fn persons_are_replaced_and_codes_structure_and_shape_stay() {
    let text = format!(
        "{HEADER}\rPID|1||RHM0012345^^^RHM^MR~9434765919^01^^NHS^NH||O'Neil-SM\u{cb}th^Agn\u{e8}s^^^MRS^^L||19390612|F|||12 High Street^^TOWN^^SO16 6YD^GBR^H||02380123456^PRN^PH\r\
         PV1|1|I|AMU^B2|21||| C1234567^WATSON^J|||||||19||||V0013|V0012\rOBX|1|TX|||Agn\u{e8}s fell; Dr Watson, \\X0D\\seen 20250109 at 10:30\rZPD|secret"
    );
    let out = scrubbed(&text);
    for word in [
        "Neil",
        "th^",
        "Agn",
        "High",
        "TOWN",
        "SO16",
        "6YD",
        "RHM0012345",
        "9434765919",
        "19390612",
        "WATSON",
        "Watson",
        "V0012",
        "V0013",
        "secret",
        "02380123456",
    ] {
        assert!(!out.contains(word), "{word} is left: {out}");
    }
    for kept in
        ["MSH|^~\\&|PAS|RHM|HUB|QRL|", "||ADT^A01^ADT_A01|", "|P|2.4||||||8859/1\rPID|1||", "^^^RHM^MR~999", "^01^^NHS^NH||", "^GBR^H||", "^PRN^PH\rPV1|1|I|"]
    {
        assert!(out.contains(kept), "{kept} is gone: {out}");
    }
    assert!(out.contains("\\X0D\\") && field(&out, "PV1", 4) == "21" && field(&out, "PV1", 14) == "19");
    assert_eq!(shape(&field(&out, "PID", 5)), shape(&field(&text, "PID", 5)));
    assert_eq!(shape(&field(&out, "PID", 11)), shape(&field(&text, "PID", 11)));
    assert!(field(&out, "PV1", 7).starts_with(' '));
}

#[test]
fn the_same_value_has_the_same_fake_in_every_file_of_a_run_and_another_in_another() {
    let one = format!("{HEADER}\rPID|1||0012345||SMITH^ANN");
    let two = format!("{HEADER}\rNK1|1|Smith^Bob\rPID|1||12345||JONES^ANN");
    let run = |key: u8| {
        let mut scrubber = Scrubber::new([key; 32]);
        [&one, &two].iter().for_each(|file| scrubber.learn(file.as_bytes()));
        [&one, &two].map(|file| String::from_utf8(scrubber.scrub(file.as_bytes())).expect("ascii"))
    };
    let [first, second] = run(1);
    let names = |text: &str, id: &str, number: usize| field(text, id, number).split('^').map(str::to_uppercase).collect::<Vec<_>>();
    assert_eq!(names(&first, "PID", 5)[0], names(&second, "NK1", 2)[0]);
    assert_eq!(names(&first, "PID", 5)[1], names(&second, "PID", 5)[1]);
    assert_eq!(field(&first, "PID", 3), format!("00{}", field(&second, "PID", 3)));
    assert_eq!(run(1), [first.clone(), second]);
    assert_ne!(run(2)[0], first);
}

#[test]
fn a_number_stays_as_valid_as_it_was() {
    for source in ["9434765919", "9434765918", "943 476 5919", "943-476-5912", "1111111111", "0000000000", "2278322867"] {
        let out = field(&scrubbed(&format!("{HEADER}\rPID|1|{source}|{source}^^^NHS^NH")), "PID", 2);
        assert_eq!(shape(&out), shape(source));
        let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect::<Vec<u8>>();
        let (was, is) = (digits(source), digits(&out));
        if was.iter().all(|digit| *digit == was[0]) {
            assert!(is.iter().all(|digit| *digit == is[0]) && is != was, "{source}: {out}");
            continue;
        }
        assert_eq!(is[..3], [9, 9, 9], "{source}: {out}");
        let wrong_by = |ten: &[u8]| fake::check_digit(&ten[..9]).map(|check| (10 + ten[9] - check) % 10);
        assert_eq!(wrong_by(&is), wrong_by(&was), "{source}: {out}");
    }
}

#[test]
fn events_keep_their_intervals_and_births_their_shape() {
    let text = format!("{HEADER}\rEVN||20250110120000||||20250110115500\rPID|1||7||||196512131515^x\rPV1||I{}|20250103115500.12+0000", "|".repeat(41));
    let out = scrubbed(&text);
    let day = |value: String| jiff::civil::Date::strptime("%Y%m%d", &value[..8]).expect("a day");
    let (sent, occurred, admitted) = (day(field(&out, "EVN", 2)), day(field(&out, "EVN", 6)), day(field(&out, "PV1", 44)));
    assert_eq!(sent, occurred);
    assert_eq!((sent - admitted).get_days(), 7);
    assert_ne!(field(&out, "EVN", 2), "20250110120000");
    assert!(field(&out, "PV1", 44).ends_with("115500.12+0000"));
    let birth = field(&out, "PID", 7);
    assert!(birth.contains("1515^") && !birth.starts_with("19651213"), "{birth}");
}

#[test]
fn a_birth_in_free_text_moves_as_it_does_in_its_field() {
    let out = scrubbed(&format!("{HEADER}\rPID|1||7||||19651213\rNTE|1||born 19651213"));
    assert!(field(&out, "NTE", 3).ends_with(&field(&out, "PID", 7)), "{out}");
}

#[test]
fn a_person_s_value_in_a_harmless_place_is_replaced_too() {
    let out = scrubbed(&format!("{HEADER}\rPID|1||7||QRL^ANN\rPV1|1|ANN"));
    assert!(!out.contains("QRL") && !out.contains("ANN"), "{out}");
}

#[test]
fn names_in_coded_fields_are_replaced_whoever_is_named() {
    let text = format!(
        "{HEADER}\rEVN|A01|20250110120000||Whitcombe\rPID|1||7||Whitcombe^Gwendolyn\r\
         PV1|1|I||SMITH JOHN||||||||||Home of Mrs Whitcombe\rZU1|1|Zsecret text\rERR|WhitcombeG"
    );
    let text = text.replace("|PAS|", "|PAS-WHITCOMBES|");
    let out = scrubbed(&text).to_lowercase();
    for word in ["whitcombe", "gwendolyn", "smith", "john", "mrs", "zsecret"] {
        assert!(!out.contains(word), "{word} is left: {out}");
    }
    assert!(out.contains("\revn|a01|") && out.contains("\rpv1|1|i||"), "{out}");
}

#[test]
fn a_line_that_begins_no_segment_is_replaced_whole() {
    let out = scrubbed("MSH|^~\\&|PAS|RHM|HUB|QRL|20250110||ADT^A01|M1|P|2.4\rpid|1||9434765919^^^NHS^NH||KHAN^ANN|LEE|19400701|||COOK\rEVN|A01\rKHAN LEE 21");
    for word in ["9434765919", "KHAN", "ANN", "LEE", "19400701", "COOK"] {
        assert!(!out.contains(word), "{word} is left: {out}");
    }
    assert!(out.contains("|P|2.4\r") && out.contains("\rEVN|A01\r"), "{out}");
}

#[test]
fn text_in_hexadecimal_is_replaced() {
    let out = scrubbed(&format!("{HEADER}\rPID|1||7||Zo\\XEB\\^\\X534D495448\\\\E\\\\F\\"));
    assert!(!out.contains("534D495448") && !out.contains("Zo\\") && out.contains("\\E\\\\F\\"), "{out}");
}

#[test]
fn other_character_sets_line_ends_and_files_are_kept() {
    let body = "PID|1||7||Zoë^Ann\n";
    let utf16: Vec<u8> = format!("\u{FEFF}MSH|^~\\&|A\n{body}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let out = Scrubber::new([1; 32]).scrub(&utf16);
    assert_eq!((out.len(), &out[..4]), (utf16.len(), &b"\xFF\xFEM\0"[..]));
    let marked = format!("\u{FEFF}MSH|^~\\&|A\r\n{body}");
    let out = String::from_utf8(Scrubber::new([1; 32]).scrub(marked.as_bytes())).expect("utf-8");
    assert!(out.starts_with("\u{FEFF}MSH|^~\\&|A\r\nPID|1||") && out.len() == marked.len() && !out.contains("Zoë"));
    let file = format!("FHS|^~\\&|A|B|||20250101|secret\rBHS|^~\\&\rMSH|^~\\&|A\r{body}MSH|^~\\&|A\r{body}BTS|2\rFTS|1\r");
    let out = String::from_utf8(Scrubber::new([1; 32]).scrub(file.as_bytes())).expect("utf-8");
    assert!(out.ends_with("BTS|2\rFTS|1\r") && out.len() == file.len() && !out.contains("secret") && !out.contains("Ann"), "{out}");
    let unread = "PID|1||7||Ann^Smith";
    let out = String::from_utf8(Scrubber::new([1; 32]).scrub(unread.as_bytes())).expect("utf-8");
    assert!(out.starts_with("PID|") && !out.contains("Ann") && !out.contains("Smith"));
}

#[test]
fn what_is_left_is_found() {
    let text = format!("{HEADER}\rPID|1||RHM77||SMITH");
    let mut scrubber = Scrubber::new([1; 32]);
    scrubber.learn(text.as_bytes());
    let mut found = scrubber.found_in(text.as_bytes());
    found.sort_unstable();
    assert_eq!(found, ["m0001", "rhm77", "smith"]);
    let mut scrubber = Scrubber::new([1; 32]);
    scrubber.learn(text.as_bytes());
    assert_eq!(scrubber.found_in(format!("{HEADER}\rPV1|1||SMITHS^^^Smith\rPID|1").as_bytes()), ["m0001", "smith"]);
    assert!(scrubber.identifiers().any(|value| value == "smith"));
}

#[test]
fn what_names_of_files_hold_is_found() {
    let mut scrubber = Scrubber::new([1; 32]);
    scrubber.learn(format!("{HEADER}\rPID|1||RHM77~0012345||FEATHERSTONEHAUGH^Ann||19400701").as_bytes());
    for name in
        ["Featherstonehaugh", "the-FeatherstonehaughA01", "ann_1", "rhm77", "x12345", "0012345", "19400701", "9434765919_A01", "A943 476 5919", "p943-476-5919"]
    {
        assert!(!scrubber.found_in_name(name).is_empty(), "{name}");
    }
    for name in ["0001", "safe", "admissions-2026", "9434765918", "hannah"] {
        assert!(scrubber.found_in_name(name).is_empty(), "{name}");
    }
}

#[test]
fn names_of_character_sets_stay() {
    for label in ["UNICODE UTF-16", "UNICODE UTF-32", "UNICODE UTF-8", "8859/15", "GB 18030-2000", "ISO IR87"] {
        let out = scrubbed(&format!("{}\rPID|1||7", HEADER.replace("8859/1", label)));
        assert_eq!(field(&out, "MSH", 18), label);
    }
}
