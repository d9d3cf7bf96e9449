//! The way to a model past the router, for a server whose other routes are many: nearly all of its requests are these.

use axum::body::HttpBody;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use bytes::Bytes;

use super::infer::infer_of;
use super::models::Asked;
use crate::oip::Shared;

/// Answers requests for inference that name their model plainly.
#[derive(Clone)]
pub struct Direct {
    shared: Shared,
}

/// A request that [`Direct`] answers.
#[derive(Debug)]
pub struct Wanted(Asked);

impl Wanted {
    /// What a request asks for, if that is an inference of a model whose name needs no decoding. All others are the router's.
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        if *method != Method::POST {
            return None;
        }
        let rest = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        let is_plain = |part: &str| !part.is_empty() && !part.contains(['/', '%']);
        let asked = match rest.split_once('/') {
            None => Asked { name: rest.to_owned(), version: None },
            Some((name, version)) => {
                let version = version.strip_prefix("versions/").filter(|version| is_plain(version))?;
                Asked { name: name.to_owned(), version: Some(version.to_owned()) }
            }
        };
        is_plain(&asked.name).then_some(Self(asked))
    }

    /// The route that answers the same, as it stands in metrics and logs.
    pub const fn route(&self) -> &'static str {
        match self.0.version {
            None => "/v2/models/{name}/infer",
            Some(_) => "/v2/models/{name}/versions/{version}/infer",
        }
    }
}

impl Direct {
    pub(in crate::oip) const fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The answer.
    pub async fn answer<B>(&self, wanted: Wanted, headers: &HeaderMap, body: B) -> Response
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<axum::BoxError>,
    {
        infer_of(&self.shared, wanted.0, headers, body).await
    }
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_go_past_the_router() {
        let wanted = |method: Method, path: &str| {
            let wanted = Wanted::of(&method, path)?;
            Some((wanted.route(), wanted.0.name, wanted.0.version))
        };
        let (own, of_version) = ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer");
        assert_eq!(wanted(Method::POST, "/v2/models/m/infer"), Some((own, "m".to_owned(), None)));
        assert_eq!(
            wanted(Method::POST, "/v2/models/m/versions/@champion/infer"),
            Some((of_version, "m".to_owned(), Some("@champion".to_owned())))
        );
        // A model may be called `versions`.
        assert_eq!(
            wanted(Method::POST, "/v2/models/versions/versions/3/infer"),
            Some((of_version, "versions".to_owned(), Some("3".to_owned())))
        );
        for path in [
            "/v2/models//infer",
            "/v2/models/infer",
            "/v2/models/a%2Fb/infer",
            "/v2/models/a/b/infer",
            "/v2/models/m/versions//infer",
            "/v2/models/m/versions/a/b/infer",
            "/v2/models/m/versions/%33/infer",
            "/v2/models/m/infer/",
            "/v2/models/m/generate",
            "/v2/models/m",
        ] {
            assert_eq!(wanted(Method::POST, path), None, "{path}");
        }
        assert_eq!(wanted(Method::GET, "/v2/models/m/infer"), None);
    }
}
