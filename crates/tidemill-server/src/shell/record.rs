//! What is remembered of a request when it is over: one line in the log, one count in the meters.
//!
//! Never what was sent: no body, no query, no header except the request's own name.

use std::time::Instant;

use axum::http::{Method, StatusCode};

use super::RequestId;
use crate::App;

/// For filters: `tidemill::request=info` shows every request.
const TARGET: &str = "tidemill::request";

/// By which way a request came, as the template of the route, so that names of things do not get into the log.
pub(super) enum Route {
    /// By the routes.
    Matched(String),
    /// Past them.
    Past(&'static str),
}

/// What is known of a request that is under way.
pub(super) struct About {
    pub(super) id: RequestId,
    pub(super) method: Method,
    pub(super) route: Route,
    pub(super) status: StatusCode,
    pub(super) begun: Instant,
}

/// A request whose answer is still being sent.
pub(super) struct Record {
    pub(super) app: App,
    pub(super) about: About,
}

impl Record {
    /// The request is over, `bytes` of an answer were sent.
    pub(super) fn close(self, bytes: u64) {
        self.about.close(&self.app, bytes);
    }
}

impl About {
    /// The request is over, `bytes` of an answer were sent.
    pub(super) fn close(&self, app: &App, bytes: u64) {
        let took = self.begun.elapsed();
        let status = self.status.as_u16();
        let method = self.method.as_str();
        let route = match &self.route {
            Route::Matched(route) => {
                app.meter().request(method, route, status, took);
                route.as_str()
            }
            &Route::Past(route) => {
                app.meter().past_routes(method, route, status, took);
                route
            }
        };
        let (id, duration_ms) = (&self.id, took.as_secs_f64() * 1e3);
        // What fails on our side is seen with the default filter; the rest is for those who ask for it.
        if self.status.is_server_error() {
            tracing::warn!(
                target: TARGET,
                { request.id = %id, http.method = method, http.route = route, http.status = status, duration_ms, bytes },
                "answered with an error of the server"
            );
        } else {
            tracing::info!(
                target: TARGET,
                { request.id = %id, http.method = method, http.route = route, http.status = status, duration_ms, bytes },
                "answered"
            );
        }
    }
}
