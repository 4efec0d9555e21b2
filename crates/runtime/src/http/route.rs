//! A route as data: who may use it, on what, and how it changes things. One table for the guard, for the documents
//! and for the tests.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Serialize;

use crate::auth::Role;

/// Whether a route changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Changes something: needs an `Idempotency-Key`, runs to its end even if the caller hangs up.
    Command,
    /// Reads.
    Query,
    /// Reads, without a token. For things that are no secret at all.
    Public,
}

/// Which things of those that the route reaches may be the caller's. The guard makes sure that the token says enough;
/// the handler compares, with the methods of [`crate::auth::Caller`], once it knows the thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Any.
    Any,
    /// Those of the caller's organisation.
    OwnOrganisation,
    /// For `care_home` those of its home; for other roles any.
    OwnHome,
}

/// One route of a service with state `S`.
#[derive(Debug, Clone)]
pub struct Route<S> {
    /// The method.
    pub method: Method,
    /// The path template (`/calls/{call_id}`).
    pub path: &'static str,
    /// The roles that may use it; empty only for [`Kind::Public`].
    pub roles: &'static [Role],
    /// Which things the caller may reach.
    pub scope: Scope,
    /// Command, query or public.
    pub kind: Kind,
    /// Whether a reason is needed because personal data is read. The handler writes the audit row.
    pub reads_personal: bool,
    /// A limit for the body other than the shell's, in bytes.
    pub body_limit_bytes: Option<usize>,
    /// The handler.
    pub handler: MethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    /// `POST`, a command.
    pub fn post<H, T>(path: &'static str, roles: &'static [Role], scope: Scope, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self::command(Method::POST, path, roles, scope, handler)
    }

    /// A command with another method (`PUT`, `DELETE`, `PATCH`).
    ///
    /// # Panics
    /// With a method that HTTP servers do not route (a programmer's error).
    pub fn command<H, T>(method: Method, path: &'static str, roles: &'static [Role], scope: Scope, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self::new(method, path, roles, scope, Kind::Command, handler)
    }

    /// `GET`, a query.
    pub fn get<H, T>(path: &'static str, roles: &'static [Role], scope: Scope, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self::new(Method::GET, path, roles, scope, Kind::Query, handler)
    }

    /// A query whose criteria are personal (a search by name) and therefore travel in a body, never in an address.
    pub fn search<H, T>(path: &'static str, roles: &'static [Role], scope: Scope, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self::new(Method::POST, path, roles, scope, Kind::Query, handler)
    }

    /// `GET` without a token.
    pub fn public<H, T>(path: &'static str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self::new(Method::GET, path, &[], Scope::Any, Kind::Public, handler)
    }

    /// Asks for a reason (`X-Access-Reason`), because personal data is read.
    #[must_use]
    pub fn reads_personal(mut self) -> Self {
        self.reads_personal = true;
        self
    }

    /// Takes bodies up to this many bytes instead of the shell's limit.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit_bytes = Some(bytes);
        self
    }

    fn new<H, T>(method: Method, path: &'static str, roles: &'static [Role], scope: Scope, kind: Kind, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("routes use the methods that axum knows");
        Self { handler: on(filter, handler), method, path, roles, scope, kind, reads_personal: false, body_limit_bytes: None }
    }
}

/// One line of the table of who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessRow {
    /// The method.
    pub method: String,
    /// The path template.
    pub path: &'static str,
    /// Command, query or public.
    pub kind: Kind,
    /// Which things may be reached.
    pub scope: Scope,
    /// Whether a reason is needed.
    pub reads_personal: bool,
    /// The role of this line.
    pub role: &'static str,
    /// Whether this role may.
    pub allowed: bool,
}

/// Every route × role of a service, also those that may not, for documents and tests.
pub fn access_table<S>(routes: &[Route<S>]) -> Vec<AccessRow> {
    let rows = |route: &Route<S>| {
        let (method, roles) = (route.method.to_string(), route.roles);
        let (path, kind, scope, reads_personal) = (route.path, route.kind, route.scope, route.reads_personal);
        Role::ALL.map(move |role| AccessRow {
            method: method.clone(),
            path,
            kind,
            scope,
            reads_personal,
            role: role.as_str(),
            allowed: kind == Kind::Public || roles.contains(&role),
        })
    };
    routes.iter().flat_map(rows).collect()
}
