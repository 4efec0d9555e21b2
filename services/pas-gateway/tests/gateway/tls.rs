//! Listeners with TLS, and certificates that senders show.

use crate::edge::{edge_on, plain};
use crate::world::*;
use hearthline_interop::hl7v2::AckCode;
use hearthline_pas_gateway::mllp::{Timings, listener::Port};
use hearthline_pas_gateway::{Listener, Peer, peer::Tls};
use hearthline_runtime::mllp_client::{MllpClient, Outcome, Target};
use hearthline_runtime::tls::{self, Pair};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::{Path, PathBuf};

/// An authority, with what it signed as files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let authority = Authority { issuer, folder: tempfile::tempdir().expect("temporary folder") };
        std::fs::write(authority.ca(), authority.issuer.pem()).expect("written");
        authority
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Certificate and key for `name`.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let files = (self.folder.path().join(format!("{name}.pem")), self.folder.path().join(format!("{name}.key")));
        std::fs::write(&files.0, certificate.pem()).expect("written");
        std::fs::write(&files.1, key.serialize_pem()).expect("written");
        files
    }

    fn listener(&self, client_ca_file: Option<PathBuf>) -> Listener {
        let (certificate_file, key_file) = self.sign("gateway");
        Listener { tls: Some(Tls { certificate_file, key_file, client_ca_file }), ..plain("default") }
    }
}

fn client(port: u16, ca: &Path, own: Option<&(PathBuf, PathBuf)>) -> MllpClient {
    let own = own.map(|(certificate_file, key_file)| Pair { certificate_file, key_file });
    MllpClient::new(Target { tls: Some(tls::client(Some(ca), own).expect("files")), ..Target::plain("localhost", port) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_over_tls_and_a_sender_that_does_not_trust_us_sends_none() {
    let ours = Authority::new();
    let edge = edge_on(peers(), Timings::default(), vec![ours.listener(None)], |store| store).await;
    let port = edge.addresses[0].port();
    let message = Adt::new("A01", "C1", &number(1)).write();
    assert_eq!(client(port, &ours.ca(), None).send(&message, "C1").await, Outcome::Accepted { code: AckCode::ApplicationAccept });
    let report = edge.end().await;
    let tls = report.tls.expect("it was");
    assert_eq!((tls.version.as_str(), tls.client_name), ("TLS 1.3", None));

    let outcome = client(port, &Authority::new().ca(), None).send(&message, "C2").await;
    assert!(matches!(&outcome, Outcome::NotSent(why) if why.contains("TLS")), "{outcome:?}");
    until("the handshake is on record", || async { edge.gateway.connections().iter().any(|c| c.state.starts_with("TLS was not agreed on")) }).await;
    // Plain bytes on the same port.
    let mut plain = Sender::connect(edge.addresses[0]).await;
    plain.send(&message).await;
    assert!(plain.reply().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_certificate_is_asked_for_only_those_of_the_authority_are_let_in_and_named() {
    let (ours, theirs, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let edge = edge_on(peers(), Timings::default(), vec![ours.listener(Some(theirs.ca()))], |store| store).await;
    let port = edge.addresses[0].port();
    let message = Adt::new("A01", "C1", &number(1)).write();

    let mut trusted = client(port, &ours.ca(), Some(&theirs.sign("pas.southampton.example")));
    assert_eq!(trusted.send(&message, "C1").await, Outcome::Accepted { code: AckCode::ApplicationAccept });
    let named = edge.gateway.connections().into_iter().find_map(|c| c.tls).expect("a connection with TLS");
    assert_eq!(named.client_name.as_deref(), Some("pas.southampton.example"));
    assert_eq!(named.client_fingerprint.map(|f| f.len()), Some(64));

    for own in [None, Some(strangers.sign("somebody"))] {
        let outcome = client(port, &ours.ca(), own.as_ref()).send(&message, "C1").await;
        assert!(matches!(outcome, Outcome::NotSent(_) | Outcome::Unconfirmed(_)), "{outcome:?}");
    }
    let refused = || edge.gateway.connections().into_iter().filter(|c| c.state.starts_with("TLS was not agreed on") && c.advice.is_some()).count();
    until("both are on record", || async { refused() == 2 }).await;
    assert_eq!(edge.world.rows().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_peer_come_with_a_certificate_of_its_own_only() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let named = peers().into_iter().map(|peer| Peer { client_names: vec![format!("pas.{}.example", peer.name)], ..peer }).collect();
    let edge = edge_on(named, Timings::default(), vec![ours.listener(Some(theirs.ca()))], |store| store).await;
    let mut sender = client(edge.addresses[0].port(), &ours.ca(), Some(&theirs.sign("pas.southampton.example")));
    let another = Adt { facility: "RHU", ..Adt::new("A01", "C1", &number(1)) }.write();
    let outcome = sender.send(&another, "C1").await;
    let Outcome::Refused { code, text, error_code } = outcome else { panic!("{outcome:?}") };
    assert_eq!((code, error_code.as_deref()), (AckCode::ApplicationReject, Some("103")));
    assert!(text.is_some_and(|text| text.contains("MSH-4") && text.contains("certificate")));
    // Nor is the connection the other's, whatever its size.
    let report = edge.connection();
    assert_eq!((report.peer, crate::edge::quirks(&edge.connection())), (None, vec![("other_certificate", 1)]));
    let own = Adt::new("A01", "C2", &number(1)).write();
    assert_eq!(sender.send(&own, "C2").await, Outcome::Accepted { code: AckCode::ApplicationAccept });
    assert_eq!(edge.connection().peer.as_deref(), Some("southampton"));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_the_cause_at_start() {
    let ours = Authority::new();
    let (certificate_file, key_file) = ours.sign("one");
    let (_, other_key) = ours.sign("two");
    let empty = ours.folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").expect("written");
    let missing = ours.folder.path().join("missing.pem");
    let of = |certificate: &Path, key: &Path, ca: Option<&Path>| Tls {
        certificate_file: certificate.to_owned(),
        key_file: key.to_owned(),
        client_ca_file: ca.map(Path::to_owned),
    };
    for (files, said) in [
        (of(&missing, &key_file, None), ["missing.pem", "cannot be read"]),
        (of(&empty, &key_file, None), ["empty.pem", "holds no certificate"]),
        (of(&certificate_file, &empty, None), ["empty.pem", "holds no private key"]),
        (of(&certificate_file, &other_key, None), ["two.key", "does not belong to the certificate"]),
        (of(&certificate_file, &key_file, Some(&missing)), ["missing.pem", "cannot be read"]),
        (of(&certificate_file, &key_file, Some(&empty)), ["empty.pem", "holds no certificate"]),
    ] {
        let listener = Listener { tls: Some(files), ..plain("north") };
        let error = Port::open(&listener, 1 << 20, Timings::default()).await.err().map(|e| format!("{e:#}")).expect("refused");
        assert!(error.contains("[[mllp.listener]] north") && said.iter().all(|word| error.contains(word)), "{error}");
    }
}
