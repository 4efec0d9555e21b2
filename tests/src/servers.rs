//! The real servers that tests speak to where there are some: `deploy/dev/up` starts them and `deploy/dev/env` says where they are.

use hearthline_log_kafka::{KafkaAdmin, KafkaOptions, Replication};
use hearthline_store::{Database, Tls};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The value of a variable that says where a server is; `None`, said once a test, where it is not set. Where `HEARTHLINE_REQUIRE`
/// names the tool, that fails the test.
pub fn server(tool: &str, variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => Some(value),
        _ => {
            let required = std::env::var("HEARTHLINE_REQUIRE").is_ok_and(|list| list.split(',').any(|one| one == tool));
            assert!(!required, "{tool} is required and {variable} is not set: eval \"$(deploy/dev/env)\"");
            eprintln!("skipped: {variable} is not set ({tool} is not at hand)");
            None
        }
    }
}

/// Topics of one test's own, on the broker that the environment names; deleted with it.
pub struct Kafka {
    pub options: KafkaOptions,
}

impl Kafka {
    /// `None` where no Kafka is at hand.
    pub async fn new() -> Option<Self> {
        let brokers = server("kafka", "HEARTHLINE_TEST_KAFKA")?;
        let prefix = format!("t{}.", uuid::Uuid::new_v4().simple());
        let options = KafkaOptions { topic_prefix: prefix.clone(), group_prefix: prefix, ..KafkaOptions::new(brokers, "contract") };
        let made = KafkaAdmin::new(options.clone()).expect("the options are right").apply(Replication::of(1)).await.expect("topics can be made");
        assert_eq!(made.len(), hearthline_contracts::topics::ALL.len());
        Some(Kafka { options })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let options = self.options.clone();
        apart("the test's topics were not deleted", async move { KafkaAdmin::new(options).ok()?.remove().await.ok() });
    }
}

/// Runs the end of something in a runtime of its own: a test's may be ending.
fn apart(otherwise: &str, work: impl Future<Output = Option<()>> + Send + 'static) {
    let done = std::thread::spawn(move || tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?.block_on(work)).join();
    if !matches!(done, Ok(Some(()))) {
        eprintln!("{otherwise}");
    }
}

/// A throw-away database of one test; dropped with it.
pub struct Postgres {
    admin: String,
    pub database: Database,
}

impl Postgres {
    /// `None` where no PostgreSQL is at hand.
    pub async fn new() -> Option<Self> {
        Self::of(None).await
    }

    /// Owned by the role that runs migrations, as in a deployment.
    pub async fn as_deployed() -> Option<Self> {
        Self::of(Some(hearthline_runtime::connect::OWNER)).await
    }

    async fn of(owner: Option<&str>) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let admin = server("postgres", "HEARTHLINE_TEST_POSTGRES")?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos();
        let name = format!("hearthline_test_{}_{}_{since}", std::process::id(), MADE.fetch_add(1, Ordering::SeqCst));
        let mut conn = PgConnection::connect(&admin).await.expect("HEARTHLINE_TEST_POSTGRES answers");
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name} strategy file_copy {}", owner.map(|o| format!("owner {o}")).unwrap_or_default())))
            .execute(&mut conn)
            .await
            .expect("hearthline_test may make databases");
        let url = admin.strip_prefix("postgres://").expect("HEARTHLINE_TEST_POSTGRES is a postgres:// address");
        let (who, place) = url.split_once('@').expect("the address names a role");
        let (role, password) = who.split_once(':').expect("the address has a password");
        let (host, port) = place.split('/').next().and_then(|hp| hp.rsplit_once(':')).expect("the address names host and port");
        let database = Database {
            host: host.to_owned(),
            port: port.parse().expect("a port"),
            name,
            role: role.to_owned(),
            password: Some(password.to_owned()),
            tls: Tls::Disabled,
        };
        Some(Postgres { admin, database })
    }

    /// A session of the database's owner, for what a test does behind the store's back.
    pub async fn session(&self) -> PgConnection {
        let Database { host, port, name, role, password, .. } = &self.database;
        let url = format!("postgres://{role}:{}@{host}:{port}/{name}", password.as_deref().unwrap_or_default());
        PgConnection::connect(&url).await.expect("the test's own database answers")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.database.name.clone());
        apart("a test's database was not dropped", async move {
            let mut conn = PgConnection::connect(&admin).await.ok()?;
            sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).execute(&mut conn).await.ok().map(drop)
        });
    }
}
