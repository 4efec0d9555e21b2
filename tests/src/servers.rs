//! The real servers that tests speak to where there are some: `deploy/dev/up` starts them and `deploy/dev/env` says where they are.

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

/// A throw-away database of one test; dropped with it.
pub struct Postgres {
    admin: String,
    pub database: Database,
}

impl Postgres {
    /// `None` where no PostgreSQL is at hand.
    pub async fn new() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let admin = server("postgres", "HEARTHLINE_TEST_POSTGRES")?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos();
        let name = format!("hearthline_test_{}_{}_{since}", std::process::id(), MADE.fetch_add(1, Ordering::SeqCst));
        let mut conn = PgConnection::connect(&admin).await.expect("HEARTHLINE_TEST_POSTGRES answers");
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name} strategy file_copy")))
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
        // A runtime of its own: a test's may be ending.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let mut conn = PgConnection::connect(&admin).await.ok()?;
                sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).execute(&mut conn).await.ok()
            })
        })
        .join();
        if !matches!(dropped, Ok(Some(_))) {
            eprintln!("the database {name} was not dropped", name = self.database.name);
        }
    }
}
