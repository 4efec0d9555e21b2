use hearthline_sandbox::Fault;
use hearthline_sandbox::smtp::{Handle, Options, Smtp};
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::any_port;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

async fn start(options: Options) -> (Handle, Transport) {
    let server = Smtp::start(any_port(), options).await.unwrap();
    let transport = Transport::builder_dangerous("127.0.0.1").port(server.addr().port()).build();
    (server, transport)
}

fn plan(to: &str) -> Message {
    Message::builder()
        .from("Hub <hub@example.test>".parse().unwrap())
        .to(to.parse().unwrap())
        .subject("Care plan – agreed")
        .message_id(Some("<plan-1@example.test>".to_owned()))
        .header(ContentType::TEXT_PLAIN)
        .body(".A line that starts with a dot\r\n.\r\nObservations every 4 hours, café at 3".to_owned())
        .unwrap()
}

#[tokio::test]
async fn a_mail_of_the_ordinary_client_arrives_whole() {
    let (server, transport) = start(Options::default()).await;
    transport.send(plan("home@example.test")).await.unwrap();
    let mails = server.mails_by_id("plan-1@example.test");
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!(mail.from, "hub@example.test");
    assert_eq!(mail.to, ["home@example.test"]);
    assert_eq!(mail.subject.as_deref(), Some("Care plan – agreed"));
    assert!(mail.header("content-type").unwrap().starts_with("text/plain"));
    // The client ends the last line if the writer did not.
    assert_eq!(mail.text(), ".A line that starts with a dot\r\n.\r\nObservations every 4 hours, café at 3\r\n");
}

#[tokio::test]
async fn a_mail_whose_reply_is_lost_is_kept_and_a_repeat_shows() {
    let (server, transport) = start(Options::default()).await;
    server.faults().script(Fault::lost_reply()).unwrap();
    assert!(transport.send(plan("home@example.test")).await.is_err());
    assert_eq!(server.counts().mails, 1);
    transport.send(plan("home@example.test")).await.unwrap();
    assert_eq!((server.counts().mails, server.counts().message_ids), (2, 1));
    assert_eq!(server.mails_by_id("<plan-1@example.test>").len(), 2);
}

#[tokio::test]
async fn transient_and_permanent_refusals_keep_nothing() {
    let (server, transport) = start(Options::default()).await;
    server.faults().script_all([Fault::status(451), Fault::refuse("POLICY"), Fault::status(421).on("connect"), Fault::status(450).on("rcpt")]).unwrap();
    assert!(transport.send(plan("home@example.test")).await.unwrap_err().is_transient());
    let again = Transport::builder_dangerous("127.0.0.1").port(server.addr().port()).build();
    assert!(again.send(plan("home@example.test")).await.is_err());
    assert!(transport.send(plan("home@example.test")).await.is_err());
    assert!(transport.send(plan("home@example.test")).await.is_err());
    assert_eq!(server.counts().mails, 0);
    assert!(server.faults().waiting().is_empty());
    transport.send(plan("home@example.test")).await.unwrap();
    assert_eq!(server.counts().mails, 1);
}

#[tokio::test]
async fn a_refused_recipient_is_a_permanent_error() {
    let options = Options { refused_recipients: ["gone@example.test".to_owned()].into(), ..Options::default() };
    let (server, transport) = start(options).await;
    assert!(transport.send(plan("Gone@example.test")).await.unwrap_err().is_permanent());
    assert_eq!(server.counts().recipients_refused, 1);
    transport.send(plan("home@example.test")).await.unwrap();
    assert_eq!(server.mails_to("HOME@example.test").len(), 1);
}

#[tokio::test]
async fn a_mail_beyond_the_limit_is_refused_and_the_session_goes_on() {
    let (server, transport) = start(Options { size_bytes_max: 100, ..Options::default() }).await;
    assert!(transport.send(plan("home@example.test")).await.unwrap_err().is_permanent());
    assert_eq!((server.counts().mails, server.counts().too_large), (0, 1));

    let script = "EHLO x\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n\r\nshort\r\n.\r\nQUIT\r\n";
    assert!(talk(&server, script).await.ends_with("250 2.0.0 kept as 1\r\n221 2.0.0 goodbye\r\n"));
    let declared = talk(&server, "EHLO x\r\nMAIL FROM:<a@example.test> SIZE=101\r\nQUIT\r\n").await;
    assert!(declared.contains("552 5.3.4"));
}

/// Sends the whole script at once, as a pipelining client would, and returns everything said.
async fn talk(server: &Handle, script: &str) -> String {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(script.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

#[tokio::test]
async fn commands_out_of_order_or_unknown_are_answered_as_such() {
    let (server, _) = start(Options::default()).await;
    let said = talk(
        &server,
        "HELO x\r\nDATA\r\nRCPT TO:<b@example.test>\r\nMAIL FROM:a\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nRSET\r\n\
         NOOP\r\nWHAT\r\nSTARTTLS\r\nVRFY b\r\nQUIT\r\n",
    )
    .await;
    let codes: Vec<&str> = said.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["220", "250", "503", "503", "501", "250", "503", "250", "250", "500", "502", "252", "221"]);
}

#[tokio::test]
async fn a_bare_line_feed_does_not_end_a_mail() {
    let (server, _) = start(Options::default()).await;
    let said =
        talk(&server, "HELO x\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n\r\none\n.\nMAIL FROM:<c@example.test>\r\n.\r\nQUIT\r\n")
            .await;
    assert!(said.contains("kept as 1"));
    assert_eq!(server.mails()[0].body, "one\n.\nMAIL FROM:<c@example.test>\r\n");
}

#[tokio::test]
async fn a_mail_broken_off_in_the_middle_is_not_kept() {
    let (server, _) = start(Options::default()).await;
    let mut stream = BufReader::new(TcpStream::connect(server.addr()).await.unwrap());
    let script = "HELO x\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n\r\nhalf a";
    stream.write_all(script.as_bytes()).await.unwrap();
    let mut line = String::new();
    while !line.starts_with("354") {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!((rest.as_str(), server.counts().mails), ("", 0));
}

#[tokio::test]
async fn mails_are_found_over_http() {
    let (server, transport) = start(Options::default()).await;
    transport.send(plan("home@example.test")).await.unwrap();
    let client = crate::client();
    for (query, found) in [
        ("", 1),
        ("?message_id=plan-1@example.test", 1),
        ("?recipient=home@example.test&subject=Care%20plan%20%E2%80%93%20agreed", 1),
        ("?recipient=other@example.test", 0),
    ] {
        let url = format!("{}/_sandbox/mails{query}", server.control_url());
        let mails: serde_json::Value = client.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(mails.as_array().unwrap().len(), found, "{query}");
    }
    let script = serde_json::json!({ "next": [{ "status": 451 }] });
    client.post(format!("{}/_sandbox/faults", server.control_url())).json(&script).send().await.unwrap();
    assert!(transport.send(plan("home@example.test")).await.is_err());
}
