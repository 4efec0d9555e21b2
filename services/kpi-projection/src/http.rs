//! The routes: figures as JSON, CSV and HTML for analysts and operators, and the page that shows them.

use crate::answer::{answer, csv};
use crate::measures::{Figures, Terms, figures};
use crate::window::Window;
use crate::{Options, page, read};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hearthline_eventing::{Store, now_us};
use hearthline_runtime::auth::Role;
use hearthline_runtime::http::{Problem, QueryOf, Route, Scope, internal, invalid_field};
use jiff::Timestamp;
use serde::Deserialize;
use std::sync::Arc;

/// What the handlers work with.
pub struct Dashboard {
    pub store: Arc<dyn Store>,
    pub options: Options,
    /// Real people: a moment that has not come is refused.
    pub live: bool,
}

const READERS: &[Role] = &[Role::Analyst, Role::Operator];

/// The service's routes.
pub fn routes() -> Vec<Route<Arc<Dashboard>>> {
    vec![
        Route::get("/kpi", READERS, Scope::Any, json),
        Route::get("/kpi.csv", READERS, Scope::Any, comma_separated),
        Route::get("/kpi/table", READERS, Scope::Any, table),
        Route::public("/", shell),
        Route::public("/kpi.css", stylesheet),
        Route::public("/kpi.js", script),
    ]
}

/// Which figures are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Any day of the first week; the last complete week where it is not given.
    from: Option<String>,
    /// The day after the last; one week where it is not given.
    to: Option<String>,
    /// RFC 3339; now where it is not given.
    as_of: Option<String>,
}

impl Dashboard {
    async fn figures(self: &Arc<Self>, asked: &Asked, now: i64) -> Result<Figures, Problem> {
        let window = Window::parse(asked.from.as_deref(), asked.to.as_deref(), now).map_err(|wrong| invalid_field(wrong.field, wrong.allowed))?;
        let as_of = match &asked.as_of {
            None => now,
            Some(text) => {
                let at: Timestamp = text.parse().map_err(|_| invalid_field("as_of", "an instant, such as 2026-06-01T12:00:00Z"))?;
                at.as_microsecond()
            }
        };
        if self.live && as_of > now {
            return Err(invalid_field("as_of", "not in the future"));
        }
        let rows = read::rows(self.store.as_ref(), &window, self.options.window_h).await?;
        let dashboard = self.clone();
        // Years of weeks take a while to count; other requests go on meanwhile.
        let counted = tokio::task::spawn_blocking(move || {
            let terms = Terms { window_h: dashboard.options.window_h, feed_lag_h: dashboard.options.feed_lag_h, coverage: &dashboard.options.coverage, as_of };
            figures(&rows, &window, &terms)
        });
        counted.await.map_err(|error| {
            tracing::error!(%error, "figures could not be counted");
            internal()
        })
    }
}

async fn json(State(dashboard): State<Arc<Dashboard>>, QueryOf(asked): QueryOf<Asked>) -> Result<Response, Problem> {
    let now = now_us();
    let figures = dashboard.figures(&asked, now).await?;
    let body = Json(answer(&figures, &dashboard.options.coverage, now));
    Ok(([(header::CACHE_CONTROL, "no-store")], body).into_response())
}

async fn comma_separated(State(dashboard): State<Arc<Dashboard>>, QueryOf(asked): QueryOf<Asked>) -> Result<Response, Problem> {
    let figures = dashboard.figures(&asked, now_us()).await?;
    let body = csv(&figures).map_err(|error| {
        tracing::error!(%error, "a file of figures was not written");
        internal()
    })?;
    let name = format!("attachment; filename=\"hearthline-{}-{}.csv\"", figures.window.first_day(), figures.window.end_day());
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, body).into_response())
}

async fn table(State(dashboard): State<Arc<Dashboard>>, QueryOf(asked): QueryOf<Asked>) -> Result<Response, Problem> {
    let now = now_us();
    let figures = dashboard.figures(&asked, now).await?;
    Ok(guarded("text/html; charset=utf-8", "no-store", page::fragment(&figures, now).into_string()))
}

async fn shell() -> Response {
    guarded("text/html; charset=utf-8", "no-cache", page::shell().into_string())
}

async fn stylesheet() -> Response {
    guarded("text/css; charset=utf-8", "no-cache", include_str!("../assets/kpi.css"))
}

async fn script() -> Response {
    guarded("text/javascript; charset=utf-8", "no-cache", include_str!("../assets/kpi.js"))
}

/// Nothing but our own files runs, and nobody frames the page or learns its address.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn guarded(media_type: &'static str, cache: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, body).into_response()
}
