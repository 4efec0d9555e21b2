//! What every keyring means by a key, its grants and its end.

use async_trait::async_trait;
use hearthline_contracts::wire;
use hearthline_eventing::{Access, EventRow, Fact, GRANTS, KeyState, KeyStore, Keyring, KeyringError, OpenError};
use hearthline_nhs::{Personal, StreamId};
use hearthline_store::{PostgresKeyring, SqliteKeyring};
use hearthline_tests::bench::{self, Folder, composer, id, stream};
use hearthline_tests::servers::Postgres;
use hearthline_tests::until;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// An adapter under test: opens the same keyring, again after a crash.
#[async_trait]
pub trait KeyringAdapter: Send + Sync {
    async fn open(&self) -> Arc<dyn KeyStore>;
}

pub struct Sqlite(Folder);

#[async_trait]
impl KeyringAdapter for Sqlite {
    async fn open(&self) -> Arc<dyn KeyStore> {
        self.0.keys().await
    }
}

pub struct InPostgres(Postgres, Folder);

#[async_trait]
impl KeyringAdapter for InPostgres {
    async fn open(&self) -> Arc<dyn KeyStore> {
        let kek = self.1.file("kek");
        PostgresKeyring::migrate(self.0.database.clone(), "keyring", &[(self.0.database.role.clone(), &["call"])], &kek).await.expect("the tables are made");
        Arc::new(PostgresKeyring::open(self.0.database.clone(), "keyring".to_owned(), &kek).await.expect("the keyring opens"))
    }
}

macro_rules! suite {
    ($($name:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(server) = super::Postgres::new().await else { return };
                super::$name(&super::InPostgres(server, super::Folder::new())).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&super::Sqlite(super::Folder::new())).await;
            })+
        }
    };
}

suite! {
    a_key_is_made_once_and_kept,
    many_who_make_one_key_get_the_same,
    a_service_opens_what_it_is_granted_and_nothing_else,
    a_service_makes_keys_of_its_own_context_only,
    a_destroyed_key_never_comes_back,
    a_key_that_was_never_made_is_a_fault,
    a_destroyed_key_is_forgotten,
    a_key_in_memory_is_read_again_in_time,
    personal_data_is_known_destroyed_or_withheld,
    a_sealed_part_opens_in_its_own_place_only,
    tags_differ_by_service_name_and_authority,
}

fn bytes(state: KeyState) -> [u8; 32] {
    match state {
        KeyState::Key { key, .. } => **key.0,
        other => panic!("no key but {other:?}"),
    }
}

async fn a_key_is_made_once_and_kept(adapter: &dyn KeyringAdapter) {
    let (a, b) = (id(), id());
    let keys = adapter.open().await;
    let made = bytes(keys.create("call", a).await.unwrap());
    assert_eq!(bytes(keys.create("call", a).await.unwrap()), made);
    assert_ne!(bytes(keys.create("call", b).await.unwrap()), made);
    assert!(matches!(keys.create("outcome", a).await.unwrap(), KeyState::Key { context, .. } if context == "call"), "a key keeps its context");
    // Dropped without being closed.
    let keys = adapter.open().await;
    assert_eq!(bytes(keys.open(a).await.unwrap()), made);
    assert_eq!(bytes(keys.create("call", a).await.unwrap()), made);
}

async fn many_who_make_one_key_get_the_same(adapter: &dyn KeyringAdapter) {
    let keys = adapter.open().await;
    let ids: Vec<[u8; 16]> = (0..20).map(|_| id()).collect();
    let mut makers = tokio::task::JoinSet::new();
    for n in 0..200usize {
        let (keys, id) = (keys.clone(), ids[n % 20]);
        makers.spawn(async move { (id, bytes(keys.create("call", id).await.unwrap())) });
    }
    let made: HashSet<([u8; 16], [u8; 32])> = makers.join_all().await.into_iter().collect();
    assert_eq!(made.len(), 20);
    for (id, key) in made {
        assert_eq!(bytes(keys.open(id).await.unwrap()), key);
    }
}

/// Written out by hand: who may read whose personal data is a decision, not a consequence of the code.
const READERS: [(&str, &[&str]); 6] = [
    ("call", &["call-intake", "clinical-outcome", "prescribing", "shared-record", "directory"]),
    ("outcome", &["clinical-outcome", "shared-record"]),
    ("prescribing", &["prescribing", "shared-record"]),
    ("shared-record", &["shared-record"]),
    ("hospital", &["pas-gateway"]),
    ("directory", &["directory", "call-intake", "clinical-outcome", "prescribing", "shared-record", "pas-gateway"]),
];

async fn a_service_opens_what_it_is_granted_and_nothing_else(adapter: &dyn KeyringAdapter) {
    let keys = adapter.open().await;
    assert_eq!(GRANTS.len(), 7);
    for (context, readers) in READERS {
        let (living, destroyed) = (id(), id());
        keys.create(context, living).await.unwrap();
        keys.create(context, destroyed).await.unwrap();
        keys.destroy(destroyed).await.unwrap();
        for service in GRANTS.iter().map(|(name, _)| *name).chain(["nobody", "admin"]) {
            let keyring = Keyring::new(service, keys.clone());
            let (access, ended) = (keyring.open(living).await.unwrap(), keyring.open(destroyed).await.unwrap());
            if readers.contains(&service) {
                assert!(matches!((access, ended), (Access::Key(_), Access::Destroyed)), "{service} reads {context}");
            } else {
                assert!(matches!((access, ended), (Access::NotGranted, Access::NotGranted)), "{service} does not read {context}");
            }
        }
    }
}

async fn a_service_makes_keys_of_its_own_context_only(adapter: &dyn KeyringAdapter) {
    let keys = adapter.open().await;
    let foreign = id();
    keys.create("call", foreign).await.unwrap();
    for (service, grants) in GRANTS {
        let keyring = Keyring::new(service, keys.clone());
        // Also once it has been opened and lies in memory.
        for _ in 0..2 {
            match grants.first() {
                Some(&"call") => assert!(keyring.ensure(foreign).await.is_ok()),
                _ => assert!(matches!(keyring.ensure(foreign).await, Err(KeyringError::NotGranted { .. })), "{service}"),
            }
            keyring.open(foreign).await.unwrap();
        }
        let own = id();
        match grants.first() {
            Some(context) => {
                keyring.ensure(own).await.unwrap();
                assert!(matches!(keys.open(own).await.unwrap(), KeyState::Key { context: c, .. } if c == *context));
            }
            None => {
                assert!(matches!(keyring.ensure(own).await, Err(KeyringError::NotGranted { .. })));
                assert!(matches!(keys.open(own).await.unwrap(), KeyState::Missing), "nothing was made");
            }
        }
    }
}

async fn a_destroyed_key_never_comes_back(adapter: &dyn KeyringAdapter) {
    let keys = adapter.open().await;
    let a = id();
    assert!(!keys.destroy(a).await.unwrap(), "there was none");
    keys.create("call", a).await.unwrap();
    assert!(keys.destroy(a).await.unwrap());
    assert!(!keys.destroy(a).await.unwrap(), "it is gone already");
    for keys in [keys, adapter.open().await] {
        assert!(matches!(keys.open(a).await.unwrap(), KeyState::Destroyed { context } if context == "call"));
        assert!(matches!(keys.create("call", a).await.unwrap(), KeyState::Destroyed { .. }));
        assert!(matches!(Keyring::new("call-intake", keys).ensure(a).await, Err(KeyringError::Destroyed)));
    }
}

async fn a_key_that_was_never_made_is_a_fault(adapter: &dyn KeyringAdapter) {
    let keys = adapter.open().await;
    assert!(matches!(keys.open(id()).await.unwrap(), KeyState::Missing));
    assert!(matches!(Keyring::new("call-intake", keys.clone()).open(id()).await, Err(KeyringError::Missing)));
    // An event of another deployment's keyring.
    let other = Folder::new();
    let (fact, _) = sealed_fact(&composer("call-intake", other.keys().await), stream(), b"x").await;
    assert!(matches!(composer("call-intake", keys).personal(&fact).await, Err(OpenError::Keyring(KeyringError::Missing))));
}

async fn a_destroyed_key_is_forgotten(adapter: &dyn KeyringAdapter) {
    let keyring = Keyring::new("call-intake", adapter.open().await);
    let (a, clone) = (id(), keyring.clone());
    keyring.ensure(a).await.unwrap();
    assert!(matches!(clone.open(a).await.unwrap(), Access::Key(_)));
    assert!(clone.destroy(a).await.unwrap());
    assert!(matches!(keyring.open(a).await.unwrap(), Access::Destroyed));
}

async fn a_key_in_memory_is_read_again_in_time(adapter: &dyn KeyringAdapter) {
    let keys = adapter.open().await;
    let a = id();
    keys.create("call", a).await.unwrap();
    let remembers = Keyring::new("call-intake", keys.clone());
    let forgets = Keyring::new("call-intake", keys.clone()).caching_for(Duration::from_millis(200));
    assert!(matches!((remembers.open(a).await.unwrap(), forgets.open(a).await.unwrap()), (Access::Key(_), Access::Key(_))));
    // By another process.
    keys.destroy(a).await.unwrap();
    assert!(matches!(remembers.open(a).await.unwrap(), Access::Key(_)), "within its minute");
    until("the key is read again", async || matches!(forgets.open(a).await.unwrap(), Access::Destroyed).then_some(())).await;
}

fn fact_of(topic: &'static str, row: &EventRow) -> Fact {
    let parts = wire::split(&row.payload).unwrap();
    Fact { topic, envelope: parts.envelope, sealed: parts.sealed, payload: row.payload.clone() }
}

async fn sealed_fact(composer: &hearthline_eventing::Composer, stream: StreamId, personal: &[u8]) -> (Fact, EventRow) {
    let write = composer.write(stream, 0, vec![bench::opened(personal)], &bench::cause(), 2).await.unwrap();
    (fact_of(composer.topic.name, &write.events[0]), write.events[0].clone())
}

async fn personal_data_is_known_destroyed_or_withheld(adapter: &dyn KeyringAdapter) {
    let keys = adapter.open().await;
    let s = stream();
    let writer = composer("call-intake", keys.clone());
    let (fact, row) = sealed_fact(&writer, s, b"Mrs Marple").await;
    assert!(!row.payload.windows(10).any(|w| w == b"Mrs Marple"));
    assert!(matches!(composer("shared-record", keys.clone()).personal(&fact).await.unwrap(), Some(Personal::Known(plain)) if plain.expose() == b"Mrs Marple"));
    assert!(matches!(composer("kpi-projection", keys.clone()).personal(&fact).await.unwrap(), Some(Personal::Withheld)));
    let plain = writer.write(stream(), 0, vec![bench::answered()], &bench::cause(), 2).await.unwrap();
    assert!(writer.personal(&fact_of(writer.topic.name, &plain.events[0])).await.unwrap().is_none());
    keys.destroy(*s.bytes()).await.unwrap();
    assert!(matches!(composer("call-intake", keys.clone()).personal(&fact).await.unwrap(), Some(Personal::Destroyed)));
    assert!(matches!(composer("kpi-projection", keys.clone()).personal(&fact).await.unwrap(), Some(Personal::Withheld)));
    let again = composer("call-intake", keys).write(s, 1, vec![bench::opened(b"x")], &bench::cause(), 2).await;
    assert!(matches!(again, Err(KeyringError::Destroyed)), "nothing is sealed under a key that is gone");
}

async fn a_sealed_part_opens_in_its_own_place_only(adapter: &dyn KeyringAdapter) {
    let composer = composer("call-intake", adapter.open().await);
    let s = stream();
    let write = composer.write(s, 0, vec![bench::opened(b"first"), bench::opened(b"second")], &bench::cause(), 2).await.unwrap();
    let [first, second] = [0, 1].map(|n| wire::split(&write.events[n].payload).unwrap());
    let compose = |envelope: &hearthline_contracts::envelope::Envelope, fact: &[u8]| {
        let payload = wire::compose(envelope, first.sealed.as_ref(), fact);
        let parts = wire::split(&payload).unwrap();
        Fact { topic: composer.topic.name, envelope: parts.envelope, sealed: parts.sealed, payload }
    };
    assert!(composer.personal(&compose(&first.envelope, &first.fact)).await.is_ok());
    let broken = async |fact: Fact| matches!(composer.personal(&fact).await, Err(OpenError::Broken(_)));
    assert!(broken(compose(&second.envelope, &second.fact)).await, "another event of its stream");
    let mut moved = first.envelope.clone();
    moved.stream_version = 2;
    assert!(broken(compose(&moved, &first.fact)).await, "another version");
    let mut moved = first.envelope.clone();
    moved.event_id = second.envelope.event_id.clone();
    assert!(broken(compose(&moved, &first.fact)).await, "another event");
    let mut moved = first.envelope.clone();
    moved.stream_id = bytes::Bytes::copy_from_slice(&id());
    assert!(broken(compose(&moved, &first.fact)).await, "another stream");
    assert!(broken(compose(&first.envelope, &bench::answered().fact)).await, "another fact");
    let mut fact = compose(&first.envelope, &first.fact);
    if let Some(sealed) = &mut fact.sealed {
        let mut changed = sealed.ciphertext.to_vec();
        changed[0] ^= 1;
        sealed.ciphertext = changed.into();
    }
    assert!(broken(fact).await, "changed");
}

async fn tags_differ_by_service_name_and_authority(adapter: &dyn KeyringAdapter) {
    let keys = adapter.open().await;
    let tag = async |service, name, authority, identifier| Keyring::new(service, keys.clone()).lookup(name).await.unwrap().tag(authority, identifier);
    let one = tag("directory", "lasting", "nhs", "9434765919").await;
    assert_eq!(tag("directory", "lasting", "nhs", "9434765919").await, one);
    let others = [
        tag("directory", "lasting", "nhs", "9434765870").await,
        tag("directory", "lasting", "nhs9", "434765919").await,
        tag("directory", "2026-11-22", "nhs", "9434765919").await,
        tag("pas-gateway", "lasting", "nhs", "9434765919").await,
    ];
    assert!(!others.contains(&one));
}

/// Every byte of every file in a folder.
fn files(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

fn holders(folder: &std::path::Path, needle: &[u8]) -> Vec<std::path::PathBuf> {
    files(folder).into_iter().filter(|(_, bytes)| bytes.windows(needle.len()).any(|w| w == needle)).map(|(path, _)| path).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_a_destroyed_key_is_left_in_a_file() {
    let folder = Folder::new();
    let (log, keys) = (folder.log().await, folder.keys().await);
    let store = folder.store("call-intake", vec![]).await;
    let composer = composer("call-intake", keys.clone());
    // Enough rows for pages to be split and balanced in between.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut makers = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let (keys, s) = (keys.clone(), stream());
            streams.push(s);
            makers.spawn(async move { keys.create("call", *s.bytes()).await.unwrap() });
        }
        makers.join_all().await;
    }
    // Wrapped keys lie in the file right behind the name of their key-encryption key.
    let wrapped_of = |s: StreamId| -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mark = [s.bytes().as_slice(), b"callfile-1"].concat();
        for (_, bytes) in files(folder.path()) {
            for at in bytes.windows(mark.len()).enumerate().filter(|(_, w)| *w == mark).map(|(at, _)| at) {
                found.push(bytes[at + mark.len()..at + mark.len() + 60].to_vec());
            }
        }
        found
    };
    let picked: Vec<(StreamId, Vec<u8>)> = streams.iter().step_by(37).map(|s| (*s, wrapped_of(*s).pop().expect("a living key lies in the file"))).collect();
    for (s, wrapped) in &picked {
        let write = composer.write(*s, 0, vec![bench::opened(b"Mrs Marple")], &bench::cause(), 2).await.unwrap();
        hearthline_eventing::Store::append(&store, hearthline_eventing::Unit { writes: vec![write], ..Default::default() }).await.unwrap();
        assert!(!holders(folder.path(), wrapped).is_empty());
    }
    for (s, wrapped) in &picked {
        assert!(keys.destroy(*s.bytes()).await.unwrap());
        assert_eq!(holders(folder.path(), wrapped), Vec::<std::path::PathBuf>::new());
        assert_eq!(holders(folder.path(), &wrapped[16..40]), Vec::<std::path::PathBuf>::new(), "nor a part of it");
    }
    for s in streams.iter().filter(|s| picked.iter().all(|(p, _)| p != *s)).take(50) {
        assert!(matches!(keys.open(*s.bytes()).await.unwrap(), KeyState::Key { .. }), "the others live");
    }
    assert!(holders(folder.path(), b"Mrs Marple").is_empty());
    store.close().await;
    log.close().await;
}

#[tokio::test]
async fn a_key_encryption_key_that_is_missing_or_another_is_named() {
    let folder = Folder::new();
    folder.keys().await.create("call", id()).await.unwrap();
    let (db, kek) = (folder.file("keyring.db"), folder.file("kek"));
    let why = async || SqliteKeyring::open(&db, &kek).await.err().map(|e| e.to_string()).unwrap_or_default();
    let right = std::fs::read_to_string(&kek).unwrap();
    assert_eq!(right.trim().len(), 64);
    std::fs::remove_file(&kek).unwrap();
    assert!(why().await.contains("missing"), "{}", why().await);
    assert!(!kek.exists(), "no new one is made for an old keyring");
    std::fs::write(&kek, "00".repeat(32)).unwrap();
    assert!(why().await.contains("another one"), "{}", why().await);
    std::fs::write(&kek, "not a key").unwrap();
    assert!(why().await.contains("64 hexadecimal digits"));
    std::fs::write(&kek, right).unwrap();
    assert_eq!(why().await, "");
}

#[cfg(unix)]
#[tokio::test]
async fn the_key_encryption_key_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    folder.keys().await;
    assert_eq!(std::fs::metadata(folder.file("kek")).unwrap().permissions().mode() & 0o777, 0o600);
}
