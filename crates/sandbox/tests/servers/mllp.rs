use hearthline_sandbox::Fault;
use hearthline_sandbox::mllp::{Handle, Options, Receiver};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::any_port;

const DOCUMENT: &str = "MSH|^~\\&|HUB|R1F|TIE|RHU|20260302030000||MDM^T02|M1|P|2.4\rEVN|T02|20260302030000\r";

async fn start(options: Options) -> Handle {
    Receiver::start(any_port(), options).await.unwrap()
}

async fn connect(receiver: &Handle) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(receiver.addr()).await.unwrap())
}

fn framed(content: &str) -> Vec<u8> {
    [b"\x0b", content.as_bytes(), b"\x1c\r"].concat()
}

async fn reply(stream: &mut BufReader<TcpStream>) -> String {
    let mut reply = Vec::new();
    stream.read_until(0x1C, &mut reply).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'\r');
    String::from_utf8(reply).unwrap().trim_matches(['\x0b', '\x1c']).to_owned()
}

#[tokio::test]
async fn a_message_is_kept_and_acknowledged_with_its_own_control_id() {
    let receiver = start(Options::default()).await;
    let mut stream = connect(&receiver).await;
    stream.write_all(&framed(DOCUMENT)).await.unwrap();
    let reply = reply(&mut stream).await;
    assert!(reply.starts_with("MSH|^~\\&|TIE|RHU|HUB|R1F|"), "{reply}");
    assert!(reply.contains("|ACK^T02^ACK|"), "{reply}");
    assert!(reply.ends_with("\rMSA|AA|M1\r"), "{reply}");
    let message = &receiver.messages()[0];
    assert_eq!((message.message_type.as_str(), message.content.as_str()), ("MDM^T02", DOCUMENT));
}

#[tokio::test]
async fn frames_split_or_joined_and_noise_between_them_are_read() {
    let receiver = start(Options { code: "CA".to_owned(), ..Options::default() }).await;
    let mut stream = connect(&receiver).await;
    let two = [framed(DOCUMENT), b"\r\n ".to_vec(), framed(&DOCUMENT.replace("M1", "M2"))].concat();
    let (first, rest) = two.split_at(30);
    stream.write_all(first).await.unwrap();
    stream.flush().await.unwrap();
    stream.write_all(rest).await.unwrap();
    assert!(reply(&mut stream).await.ends_with("MSA|CA|M1\r"));
    assert!(reply(&mut stream).await.ends_with("MSA|CA|M2\r"));

    let end_block_inside = DOCUMENT.replace("EVN", "EV\x1c\x1cN");
    stream.write_all(&framed(&end_block_inside)).await.unwrap();
    // The stray end blocks belong to the content: one reply, one message.
    reply(&mut stream).await;
    assert_eq!(receiver.messages()[2].content, end_block_inside);
}

#[tokio::test]
async fn scripted_refusals_are_answered_and_not_kept() {
    let receiver = start(Options::default()).await;
    receiver.faults().script_all([Fault::refuse("AE"), Fault::refuse("AR")]).unwrap();
    let mut stream = connect(&receiver).await;
    for code in ["AE", "AR", "AA"] {
        stream.write_all(&framed(DOCUMENT)).await.unwrap();
        assert!(reply(&mut stream).await.ends_with(&format!("MSA|{code}|M1\r")));
    }
    assert_eq!((receiver.counts().messages, receiver.counts().refused), (1, 2));
}

#[tokio::test]
async fn a_message_whose_reply_is_lost_is_kept_and_a_repeat_shows() {
    let receiver = start(Options::default()).await;
    receiver.faults().script(Fault::lost_reply()).unwrap();
    let mut stream = connect(&receiver).await;
    stream.write_all(&framed(DOCUMENT)).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert!(said.is_empty());

    let mut stream = connect(&receiver).await;
    stream.write_all(&framed(DOCUMENT)).await.unwrap();
    reply(&mut stream).await;
    assert_eq!((receiver.counts().messages, receiver.counts().control_ids), (2, 1));
}

#[tokio::test]
async fn what_has_no_header_is_rejected() {
    let receiver = start(Options::default()).await;
    let mut stream = connect(&receiver).await;
    stream.write_all(&framed("PID|1\r")).await.unwrap();
    assert!(reply(&mut stream).await.ends_with("MSA|AR|\r"));
    assert_eq!(receiver.counts().messages, 0);
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_the_session() {
    let receiver = start(Options { frame_bytes_max: 64, ..Options::default() }).await;
    let mut stream = connect(&receiver).await;
    stream.write_all(&framed(DOCUMENT)).await.unwrap();
    let mut said = Vec::new();
    // Closed with content unread, the connection may end in a reset as well as in silence.
    stream.read_to_end(&mut said).await.unwrap_or_default();
    assert!(said.is_empty());
    assert_eq!(receiver.counts().messages, 0);
}

#[tokio::test]
async fn messages_are_found_over_http() {
    let receiver = start(Options::default()).await;
    let mut stream = connect(&receiver).await;
    stream.write_all(&framed(DOCUMENT)).await.unwrap();
    reply(&mut stream).await;
    for (control_id, found) in [("M1", 1), ("M2", 0)] {
        let url = format!("{}/_sandbox/messages?control_id={control_id}", receiver.control_url());
        let messages: serde_json::Value = crate::get(url).await.unwrap().json().await.unwrap();
        assert_eq!(messages.as_array().unwrap().len(), found);
    }
}
