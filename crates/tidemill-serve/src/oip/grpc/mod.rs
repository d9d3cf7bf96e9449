//! The protocol over gRPC: a service written out by hand, since the messages that matter are read from their bytes.

mod codec;
mod decode;
mod methods;
mod proto;
mod whole;
mod wire;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use axum::http;
use bytes::Bytes;
use futures::Stream;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tower::service_fn;

use self::codec::{Incoming, Inferring, Messages};
use super::Shared;
use super::http::{LOGGING, STATISTICS, TRACE, no_region};
use crate::InferError;

/// The largest message of a request that carries no tensors, bytes.
const SMALL: usize = 64 << 10;

/// The gRPC service. It is a tower service of HTTP/2 requests; clones share everything.
#[derive(Clone)]
pub struct GrpcService {
    shared: Shared,
    admits: Option<Admits>,
}

/// Whether the metadata of a call show that its caller may call.
type Admits = Arc<dyn Fn(&http::HeaderMap) -> bool + Send + Sync>;

impl std::fmt::Debug for GrpcService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcService").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

impl NamedService for GrpcService {
    const NAME: &'static str = "inference.GRPCInferenceService";
}

impl GrpcService {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, admits: None }
    }

    /// Answers only calls whose metadata `admits` lets in; others are `UNAUTHENTICATED`.
    #[must_use]
    pub fn guarded(self, admits: impl Fn(&http::HeaderMap) -> bool + Send + Sync + 'static) -> Self {
        Self { admits: Some(Arc::new(admits)), ..self }
    }

    fn grpc<In: Incoming, Out: prost::Message + 'static>(&self, most: usize) -> Grpc<Messages<In, Out>> {
        Grpc::new(Messages::new())
            .max_decoding_message_size(most)
            .max_encoding_message_size(self.shared.limits.message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Deflate)
    }

    /// A method without tensors.
    async fn small<B, In, Out, F>(
        self,
        request: http::Request<B>,
        method: impl Fn(Shared, In) -> F + Send,
    ) -> http::Response<Body>
    where
        B: HttpBody + Send + 'static,
        B::Error: Into<axum::BoxError> + Send,
        In: Incoming,
        Out: prost::Message + 'static,
        F: Future<Output = Result<Response<Out>, Status>> + Send,
    {
        let shared = &self.shared;
        let service = service_fn(|request: Request<In>| method(shared.clone(), request.into_inner()));
        self.grpc(SMALL).unary(service, request).await
    }

    async fn answer<B>(self, request: http::Request<B>) -> http::Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError> + Send,
    {
        if self.admits.as_ref().is_some_and(|admits| !admits(request.headers())) {
            let why = "the token is missing or wrong; send it as `authorization: Bearer TOKEN`";
            return Status::unauthenticated(why).into_http();
        }
        let most = self.shared.limits.message;
        let request = request.map(|body| whole::Whole::of(body, most));
        let path = request.uri().path();
        let method = path.strip_prefix("/inference.GRPCInferenceService/").unwrap_or_default().to_owned();
        match method.as_str() {
            "ModelInfer" => {
                let shared = &self.shared;
                let service =
                    service_fn(|request: Request<Inferring>| methods::infer(shared.clone(), request));
                self.grpc(most).unary(service, request).await
            }
            "ModelStreamInfer" => {
                let service = Streamed(self.shared.clone());
                self.grpc(most).streaming(service, request).await
            }
            "ServerLive" => self.small(request, methods::live).await,
            "ServerReady" => self.small(request, methods::ready).await,
            "ModelReady" => self.small(request, methods::model_ready).await,
            "ServerMetadata" => self.small(request, methods::server_metadata).await,
            "ModelMetadata" => self.small(request, methods::model_metadata).await,
            "ModelConfig" => self.small(request, methods::model_config).await,
            "RepositoryIndex" => self.small(request, methods::index).await,
            "RepositoryModelLoad" => self.small(request, methods::load).await,
            "RepositoryModelUnload" => self.small(request, methods::unload).await,
            "ModelStatistics" => self.refuse(request, STATISTICS).await,
            "TraceSetting" => self.refuse(request, TRACE).await,
            "LogSettings" => self.refuse(request, LOGGING).await,
            // Nothing is registered, and so nothing is listed and nothing is left.
            "SystemSharedMemoryStatus" | "CudaSharedMemoryStatus" => self.small(request, nothing).await,
            "SystemSharedMemoryUnregister" | "CudaSharedMemoryUnregister" => {
                self.small(request, nothing).await
            }
            "SystemSharedMemoryRegister" => self.small(request, |_, region| refused(&region, "system")).await,
            "CudaSharedMemoryRegister" => self.small(request, |_, region| refused(&region, "CUDA")).await,
            _ => Status::unimplemented(format!(
                "the protocol has no method `{path}`",
                path = request.uri().path()
            ))
            .into_http(),
        }
    }

    async fn refuse<B>(self, request: http::Request<B>, why: &'static str) -> http::Response<Body>
    where
        B: HttpBody + Send + 'static,
        B::Error: Into<axum::BoxError> + Send,
    {
        let refuse =
            |_, _: proto::Nothing| async { Err::<Response<proto::Nothing>, _>(Status::unimplemented(why)) };
        self.small(request, refuse).await
    }
}

async fn nothing(_: Shared, _: proto::Nothing) -> Result<Response<proto::Nothing>, Status> {
    Ok(Response::new(proto::Nothing {}))
}

fn refused(region: &proto::Region, kind: &str) -> Ready<Result<Response<proto::Nothing>, Status>> {
    ready(Err(Status::invalid_argument(no_region(kind, &region.name))))
}

/// `ModelStreamInfer`.
struct Streamed(Shared);

type Answers = Pin<Box<dyn Stream<Item = Result<proto::StreamResponse, Status>> + Send>>;
type Started = Pin<Box<dyn Future<Output = Result<Response<Answers>, Status>> + Send>>;

impl tonic::server::StreamingService<Inferring> for Streamed {
    type Response = proto::StreamResponse;
    type ResponseStream = Answers;
    type Future = Started;

    fn call(&mut self, request: Request<tonic::Streaming<Inferring>>) -> Started {
        let shared = self.0.clone();
        Box::pin(async move {
            let answers = methods::stream(shared, request)?;
            Ok(answers.map(|answers| Box::pin(answers) as Answers))
        })
    }
}

impl<B> tower::Service<http::Request<B>> for GrpcService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

/// The gRPC server ended because of an error of the transport.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC server stopped: {0}")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves gRPC on a listener until `stop` is done; then calls that are open are answered. Streams end when their
/// clients end them; who does not wait for that drops the future.
///
/// # Errors
/// Where the transport fails as a whole. That a connection breaks is none.
pub async fn serve_grpc(
    listener: TcpListener,
    service: GrpcService,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let calls = service.shared.limits.calls;
    // An error here would end the server, and one of `accept` is about one connection or passes.
    let incoming = futures::stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without it answers are only slower.
                    let _ = stream.set_nodelay(true);
                    return Some((std::io::Result::Ok(stream), listener));
                }
                // Out of descriptors, most likely: some come back when connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    tonic::transport::Server::builder()
        .max_concurrent_streams(calls)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .http2_max_header_list_size(32 << 10)
        .serve_with_incoming_shutdown(service, incoming, stop)
        .await?;
    Ok(())
}

/// Reads any bytes as a request for inference: see [`fuzz_grpc`](super::fuzz_grpc).
pub(super) fn fuzz(data: &[u8]) {
    let read: Result<_, InferError> = decode::decode(data);
    if let Ok(decoded) = read {
        let values: usize = decoded.request.inputs.iter().map(|input| input.tensor.values().len()).sum();
        assert!(values <= data.len() * 8, "{values} values from {} bytes", data.len());
    }
}
