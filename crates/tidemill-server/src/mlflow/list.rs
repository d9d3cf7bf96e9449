//! Answers with a list that may be long: they are sent while they are read, so that neither the list nor its text is in
//! memory as a whole.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt as _};
use tidemill_registry::{Code, Error, Result};

use crate::mlflow::failure::Failure;

/// An object with a list by `name` and the token of the next page. Each part is a list that is not empty, whose items `write` puts
/// to the end of the answer.
///
/// The first part is read before the answer begins, so that a failure has its status. Later ones break the answer off.
pub(super) async fn answer<T: Send + 'static>(
    name: &str,
    parts: impl Stream<Item = Result<Vec<T>>> + Send + 'static,
    write: impl Fn(&mut Vec<u8>, T) -> serde_json::Result<()> + Send + 'static,
    next: Option<String>,
) -> Result<Response, Failure> {
    let mut parts = Box::pin(parts);
    // Base64 needs no escapes.
    let token = next.map(|next| format!("\"next_page_token\":\"{next}\""));
    let Some(first) = parts.next().await.transpose()? else {
        return Ok(whole(format!("{{{}}}", token.unwrap_or_default())));
    };
    let mut begin = format!("{{\"{name}\":[").into_bytes();
    put(&mut begin, first, &write)?;
    let mut end = vec![b']'];
    if let Some(token) = token {
        end.extend(format!(",{token}").bytes());
    }
    end.push(b'}');
    let Some(second) = parts.next().await else {
        begin.extend(end);
        return Ok(whole(begin));
    };
    let rest = stream::iter([second]).chain(parts).map(move |part| {
        // There were items before these.
        let mut out = vec![b','];
        part.and_then(|part| put(&mut out, part, &write)).map(|()| Bytes::from(out))
    });
    let body = stream::iter([Ok(begin.into())]).chain(rest).chain(stream::iter([Ok(end.into())]));
    Ok(whole(Body::from_stream(body)))
}

fn whole(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// Adds items with commas between them.
fn put<T>(
    out: &mut Vec<u8>,
    items: Vec<T>,
    write: impl Fn(&mut Vec<u8>, T) -> serde_json::Result<()>,
) -> Result<()> {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item)
            .map_err(|error| Error::new(Code::InternalError, format!("cannot write an answer: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(parts: Vec<Result<Vec<i32>>>, next: Option<&str>) -> Result<String, axum::Error> {
        let write = |out: &mut Vec<u8>, item: i32| serde_json::to_writer(out, &item);
        let answer = answer("items", stream::iter(parts), write, next.map(str::to_owned)).await;
        let body = answer.map_err(|Failure(error)| axum::Error::new(error))?.into_body();
        let bytes = axum::body::to_bytes(body, usize::MAX).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn parts_make_one_answer() {
        let fail = || Err(Error::invalid("no"));
        assert_eq!(text(vec![], None).await.unwrap(), "{}");
        assert_eq!(text(vec![Ok(vec![1, 2])], None).await.unwrap(), r#"{"items":[1,2]}"#);
        assert_eq!(
            text(vec![Ok(vec![1, 2]), Ok(vec![3]), Ok(vec![4, 5])], Some("t")).await.unwrap(),
            r#"{"items":[1,2,3,4,5],"next_page_token":"t"}"#
        );
        assert!(text(vec![fail()], None).await.is_err());
        assert!(text(vec![Ok(vec![1]), Ok(vec![2]), fail()], None).await.is_err());
    }
}
