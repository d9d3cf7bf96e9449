//! What is remembered of a request when it is over: one line in the log, one count in the meters.
//!
//! Never what was sent: no body, no query, no header except the request's own name.

use std::borrow::Cow;
use std::time::Instant;

use axum::http::{Method, StatusCode};

use super::RequestId;
use crate::App;

/// For filters: `tidemill::request=info` shows every request.
const TARGET: &str = "tidemill::request";

/// A request that is under way.
pub(super) struct Record {
    pub(super) app: App,
    pub(super) id: RequestId,
    pub(super) method: Method,
    /// The template of the route, so that names of things do not get into the log.
    pub(super) route: Cow<'static, str>,
    pub(super) status: StatusCode,
    pub(super) begun: Instant,
}

impl Record {
    /// The request is over, `bytes` of an answer were sent.
    pub(super) fn close(self, bytes: u64) {
        let took = self.begun.elapsed();
        let status = self.status.as_u16();
        let method = self.method.as_str();
        self.app.meter().request(method, &self.route, status, took);
        let (id, route, duration_ms) = (&self.id, &*self.route, took.as_secs_f64() * 1e3);
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
