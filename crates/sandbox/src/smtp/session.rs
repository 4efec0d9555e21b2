//! One SMTP session (RFC 5321), from greeting to goodbye.
//!
//! States: waiting for MAIL, then for RCPT, then for DATA. Replies go out one by one in the order of the
//! commands, so a client that pipelines (RFC 2920) is served without more ado.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::mail::Mail;
use super::{Office, Options, Refusal};

/// Longest command line taken, in bytes; RFC 5321 asks for 512, extensions for some more.
const COMMAND_BYTES_MAX: u64 = 4096;

#[derive(Default)]
struct Envelope {
    from: Option<String>,
    to: Vec<String>,
}

enum After {
    GoOn,
    HangUp,
}

pub(super) async fn serve(stream: TcpStream, office: Office) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let fault = office.faults.take_named("connect");
    fault.wait().await;
    if fault.drop_before_reply {
        return Ok(());
    }
    if let Some(code) = fault.status {
        return reply(&mut write, &format!("{code} 4.3.2 as scripted")).await;
    }
    reply(&mut write, &format!("220 {} ESMTP sandbox", office.options.hostname)).await?;
    let mut envelope = Envelope::default();
    while let Some(line) = command(&mut read).await? {
        match answer(&office, &mut envelope, &line, &mut read, &mut write).await? {
            After::GoOn => {}
            After::HangUp => break,
        }
    }
    Ok(())
}

async fn answer(
    office: &Office,
    envelope: &mut Envelope,
    line: &str,
    read: &mut (impl AsyncBufRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<After> {
    let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
    let said = match verb.as_str() {
        "EHLO" => {
            *envelope = Envelope::default();
            let Options { hostname, size_bytes_max, .. } = &office.options;
            format!("250-{hostname}\r\n250-PIPELINING\r\n250-SIZE {size_bytes_max}\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
        }
        "HELO" => {
            *envelope = Envelope::default();
            format!("250 {}", office.options.hostname)
        }
        "MAIL" => mail_from(office, envelope, line),
        "RCPT" => match office.faults.take_named("rcpt").status {
            Some(code) => format!("{code} as scripted"),
            None => rcpt_to(office, envelope, line),
        },
        "DATA" => return data(office, envelope, read, write).await,
        "RSET" => {
            *envelope = Envelope::default();
            "250 2.0.0 reset".to_owned()
        }
        "NOOP" => "250 2.0.0 nothing done".to_owned(),
        "VRFY" => "252 2.5.0 try it".to_owned(),
        "QUIT" => {
            reply(write, "221 2.0.0 goodbye").await?;
            return Ok(After::HangUp);
        }
        "STARTTLS" | "AUTH" | "EXPN" | "HELP" => "502 5.5.1 not offered".to_owned(),
        _ => "500 5.5.2 not understood".to_owned(),
    };
    reply(write, &said).await?;
    Ok(After::GoOn)
}

fn mail_from(office: &Office, envelope: &mut Envelope, line: &str) -> String {
    if envelope.from.is_some() {
        return "503 5.5.1 one mail at a time".to_owned();
    }
    let Some((address, parameters)) = path(line, "FROM:") else {
        return "501 5.5.4 MAIL FROM:<address>".to_owned();
    };
    let declared = parameters
        .split_ascii_whitespace()
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("SIZE"))
        .and_then(|(_, bytes)| bytes.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > office.options.size_bytes_max) {
        office.refused(Refusal::TooLarge);
        return "552 5.3.4 message too large".to_owned();
    }
    envelope.from = Some(address.to_owned());
    "250 2.1.0 sender taken".to_owned()
}

fn rcpt_to(office: &Office, envelope: &mut Envelope, line: &str) -> String {
    if envelope.from.is_none() {
        return "503 5.5.1 MAIL first".to_owned();
    }
    match path(line, "TO:") {
        None | Some(("", _)) => "501 5.5.4 RCPT TO:<address>".to_owned(),
        Some((address, _)) if office.refuses(address) => {
            office.refused(Refusal::Recipient);
            "550 5.1.1 no such mailbox".to_owned()
        }
        Some((address, _)) => {
            envelope.to.push(address.to_owned());
            "250 2.1.5 recipient taken".to_owned()
        }
    }
}

/// The address and parameters behind `MAIL FROM:` or `RCPT TO:`.
fn path<'a>(line: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let argument = line.get(5..)?.trim_start();
    let (found, rest) = argument.split_at_checked(keyword.len())?;
    if !found.eq_ignore_ascii_case(keyword) {
        return None;
    }
    rest.trim_start().strip_prefix('<')?.split_once('>')
}

async fn data(office: &Office, envelope: &mut Envelope, read: &mut (impl AsyncBufRead + Unpin), write: &mut (impl AsyncWrite + Unpin)) -> io::Result<After> {
    if envelope.to.is_empty() {
        reply(write, "503 5.5.1 MAIL and RCPT first").await?;
        return Ok(After::GoOn);
    }
    reply(write, "354 end with a dot on a line of its own").await?;
    let received = content(read, office.options.size_bytes_max).await?;
    let Envelope { from, to } = std::mem::take(envelope);
    let fault = office.faults.take("message");
    let said = match (&received, fault.status, &fault.refuse) {
        (_, Some(code), _) => {
            office.refused(Refusal::Scripted);
            format!("{code} as scripted")
        }
        (_, None, Some(code)) => {
            office.refused(Refusal::Scripted);
            format!("554 5.7.1 {code}")
        }
        (Content::TooLarge, None, None) => {
            office.refused(Refusal::TooLarge);
            "552 5.3.4 message too large".to_owned()
        }
        (Content::Whole(bytes), None, None) => {
            let number = office.keep(Mail::read(from.unwrap_or_default(), to, bytes));
            format!("250 2.0.0 kept as {number}")
        }
    };
    fault.wait().await;
    if fault.drop_before_reply {
        return Ok(After::HangUp);
    }
    reply(write, &said).await?;
    Ok(After::GoOn)
}

enum Content {
    Whole(Vec<u8>),
    TooLarge,
}

/// Reads up to the lone dot and undoes dot-stuffing (RFC 5321, 4.5.2). Only CR LF ends a line, so a bare LF
/// cannot smuggle in a second mail. What goes beyond the limit is read and thrown away.
async fn content(read: &mut (impl AsyncBufRead + Unpin), bytes_max: usize) -> io::Result<Content> {
    let mut kept = Vec::new();
    let mut line = Vec::new();
    let mut too_large = false;
    let mut at_line_start = true;
    loop {
        line.clear();
        // A piece is cut at 64 KiB, so a line without an end cannot fill the memory.
        if (&mut *read).take(64 * 1024).read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if at_line_start && line == b".\r\n" {
            return Ok(if too_large { Content::TooLarge } else { Content::Whole(kept) });
        }
        let piece = match line.strip_prefix(b".") {
            Some(unstuffed) if at_line_start => unstuffed,
            _ => line.as_slice(),
        };
        too_large |= kept.len() + piece.len() > bytes_max;
        if !too_large {
            kept.extend_from_slice(piece);
        }
        at_line_start = line.ends_with(b"\r\n");
    }
}

/// The next command line without its end; none when the client has gone.
async fn command(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if read.take(COMMAND_BYTES_MAX).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

async fn reply(write: &mut (impl AsyncWrite + Unpin), line: &str) -> io::Result<()> {
    write.write_all(format!("{line}\r\n").as_bytes()).await?;
    write.flush().await
}
