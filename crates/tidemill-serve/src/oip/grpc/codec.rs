//! How messages come from bytes and go into them. Bytes that are no message are the caller's mistake
//! (`INVALID_ARGUMENT`), which the usual codec calls an internal error.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::decode::{Decoded, decode};
use crate::InferError;

/// A message that comes in.
pub(super) trait Incoming: Sized + Send + 'static {
    fn read(bytes: Bytes) -> Result<Self, Status>;
}

impl<T: prost::Message + Default + 'static> Incoming for T {
    fn read(bytes: Bytes) -> Result<Self, Status> {
        T::decode(bytes).map_err(|error| {
            Status::invalid_argument(format!("the request is not the protocol's message: {error}"))
        })
    }
}

/// A request for inference. That one is wrong does not end a stream of them.
pub(super) struct Inferring(pub(super) Result<Decoded, InferError>);

impl Incoming for Inferring {
    fn read(bytes: Bytes) -> Result<Self, Status> {
        Ok(Self(decode(&bytes)))
    }
}

/// The codec of a method that takes `In` and gives `Out`.
pub(super) struct Messages<In, Out>(PhantomData<fn(Out) -> In>);

impl<In, Out> Messages<In, Out> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<In: Incoming, Out: prost::Message + 'static> Codec for Messages<In, Out> {
    type Encode = Out;
    type Decode = In;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::new()
    }

    fn decoder(&mut self) -> Self {
        Self::new()
    }
}

impl<In, Out: prost::Message> Encoder for Messages<In, Out> {
    type Item = Out;
    type Error = Status;

    fn encode(&mut self, message: Out, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(into)
            .map_err(|error| Status::internal(format!("the answer cannot be written: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl<In: Incoming, Out> Decoder for Messages<In, Out> {
    type Item = In;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<In>, Status> {
        let length = from.remaining();
        In::read(from.copy_to_bytes(length)).map(Some)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
