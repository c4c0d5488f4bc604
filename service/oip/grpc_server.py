"""The Open Inference Protocol over gRPC, beside HTTP: a port of its own, the same models, queue and limits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, NoReturn

import grpc
import structlog
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message

from service import errors
from service.access.admission import DISCONNECTED, Admission
from service.access.certificate import Certificate
from service.access.keys import KeyScope
from service.access.listening import format_host
from service.access.refusals import INTERNAL_ERROR, error_reply
from service.api.requests import parse_version
from service.config import Settings
from service.engine.engine import Engine
from service.engine.job import Job
from service.errors import DropserveError, MalformedBody, NotReady, UnknownModel
from service.inference import Request
from service.oip import metadata
from service.oip.datatypes import READ_SECONDS_PER_BYTE
from service.oip.infer import plan_infer
from service.oip.proto import open_inference_pb2 as pb
from service.oip.protobuf import read_request, write_reply
from service.oip.repository import check_load, index, versions_of
from service.repository.repository import Repository
from service.telemetry.records import Record
from service.turn import Encode, Turns

SERVICE = "inference.GRPCInferenceService"

STATUS: dict[type[DropserveError], grpc.StatusCode] = {
    errors.MalformedBody: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.LimitExceeded: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BodyTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnsupportedMediaType: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SlowBody: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.UnknownModel: grpc.StatusCode.NOT_FOUND,
    errors.UnknownFile: grpc.StatusCode.NOT_FOUND,
    errors.UnknownPrediction: grpc.StatusCode.NOT_FOUND,
    errors.UnknownPath: grpc.StatusCode.UNIMPLEMENTED,
    errors.MethodNotAllowed: grpc.StatusCode.UNIMPLEMENTED,
    errors.NotReady: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.CallerGone: grpc.StatusCode.CANCELLED,
    errors.StoreAway: grpc.StatusCode.UNAVAILABLE,
    errors.InvalidModel: grpc.StatusCode.FAILED_PRECONDITION,
    errors.InvalidStore: grpc.StatusCode.FAILED_PRECONDITION,
}
"""The gRPC status of each error."""

Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger(__name__)


class Call(Record):
    """A call over gRPC, and its answer."""

    __slots__ = ("context",)

    def __init__(self, method: str, context: Context) -> None:
        """Begin the record of a call of one of the service's methods."""
        metadata = context.invocation_metadata() or ()
        headers = {name.encode(): value.encode() if isinstance(value, str) else value for name, value in metadata}
        super().__init__("POST", f"/{SERVICE}/{method}", headers)
        self.route = self.path
        self.context = context


class Method(NamedTuple):
    """The handler of a method of the service."""

    request: type[Message]
    answer: Callable[[Any, Call], Awaitable[Message]]
    needed: KeyScope | None = "infer"
    """The scope that a key needs; None: no key is needed."""


@asynccontextmanager
async def grpc_server(
    repository: Repository,
    turns: Turns,
    settings: Settings,
    admission: Admission,
    certificate: Certificate | None = None,
) -> AsyncIterator[None]:
    """Listen on `settings.grpc_port`; at the end, calls in flight have `drain_timeout` to finish."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            ("grpc.max_send_message_length", -1),
        ]
    )
    methods = OpenInferenceGrpc(repository, turns, settings).methods()
    handlers = {name: _handler(name, method, admission) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = _listen(server, f"{format_host(settings.host)}:{settings.grpc_port}", certificate)
    await server.start()
    log.info("gRPC listens", host=settings.host, port=port)
    try:
        yield
    finally:
        await server.stop(settings.drain_timeout)


class OpenInferenceGrpc:
    """Answers the service's methods; each raises errors of `service.errors`."""

    def __init__(self, repository: Repository, turns: Turns, settings: Settings) -> None:
        """Answer for the models of `repository`; `turns` runs inference."""
        self._repository = repository
        self._turns = turns
        self._settings = settings

    def methods(self) -> Mapping[str, Method]:
        """Return the handlers by the methods' names."""
        return {
            "ModelInfer": Method(pb.ModelInferRequest, self._infer),
            "ServerLive": Method(pb.ServerLiveRequest, self._live, needed=None),
            "ServerReady": Method(pb.ServerReadyRequest, self._ready, needed=None),
            "ModelReady": Method(pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": Method(pb.ServerMetadataRequest, self._server),
            "ModelMetadata": Method(pb.ModelMetadataRequest, self._model),
            "RepositoryIndex": Method(pb.RepositoryIndexRequest, self._index),
            "RepositoryModelLoad": Method(pb.RepositoryModelLoadRequest, self._load, needed="admin"),
            "RepositoryModelUnload": Method(pb.RepositoryModelUnloadRequest, self._unload, needed="admin"),
        }

    async def _infer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelInferResponse:
        engine = self._find(request.model_name, request.model_version)
        call.manifest = engine.manifest
        left = call.context.time_remaining()
        seconds = self._settings.request_timeout if left is None else min(left, self._settings.request_timeout)

        def decode(_: Job) -> tuple[Request, Encode[pb.ModelInferResponse]]:
            requested = read_request(request, engine.manifest, self._settings.max_rows)
            planned, chosen = plan_infer(engine, requested, self._settings)
            return planned, partial(write_reply, requested.id, chosen)

        return await self._turns.answer(call, decode, request.ByteSize() * READ_SECONDS_PER_BYTE, seconds)

    async def _live(self, _: pb.ServerLiveRequest, __: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, _: pb.ServerReadyRequest, __: Call) -> pb.ServerReadyResponse:
        try:
            self._repository.check_ready()
        except NotReady:
            return pb.ServerReadyResponse(ready=False)
        return pb.ServerReadyResponse(ready=True)

    async def _model_ready(self, request: pb.ModelReadyRequest, _: Call) -> pb.ModelReadyResponse:
        try:
            self._find(request.name, request.version)
        except (NotReady, UnknownModel):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _server(self, _: pb.ServerMetadataRequest, __: Call) -> pb.ServerMetadataResponse:
        return ParseDict(metadata.SERVER, pb.ServerMetadataResponse())

    async def _model(self, request: pb.ModelMetadataRequest, _: Call) -> pb.ModelMetadataResponse:
        manifest = self._find(request.name, request.version).manifest
        described = metadata.describe_model(manifest, versions_of(self._repository, manifest.name))
        return ParseDict(described, pb.ModelMetadataResponse())

    async def _index(self, request: pb.RepositoryIndexRequest, _: Call) -> pb.RepositoryIndexResponse:
        return ParseDict({"models": index(self._repository, only_ready=request.ready)}, pb.RepositoryIndexResponse())

    async def _load(self, request: pb.RepositoryModelLoadRequest, _: Call) -> pb.RepositoryModelLoadResponse:
        check_load(request.parameters)
        await self._repository.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest, _: Call) -> pb.RepositoryModelUnloadResponse:
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    def _find(self, name: str, version: str) -> Engine:
        return self._repository.find(name, parse_version(version or None))


def _handler(name: str, method: Method, admission: Admission) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return gRPC's handler of a method, with errors as gRPC statuses."""

    async def answer(content: bytes, context: Context) -> Message:
        call = Call(name, context)
        admission.begin(call)
        try:
            admission.check(call, method.needed)
            reply = await method.answer(_parse(content, method.request), call)
            call.status = 200
            return reply
        except DropserveError as error:
            return await _refuse(call, error)
        except asyncio.CancelledError:
            call.status = DISCONNECTED
            raise
        except Exception as error:
            log.error("unexpected error", path=call.path, exc_info=error)
            return await _refuse(call, DropserveError(INTERNAL_ERROR))
        finally:
            admission.end([call])

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=None,  # gRPC would parse before the key is checked
        response_serializer=lambda reply: reply.SerializeToString(),
    )


def _parse(content: bytes, kind: type[Message]) -> Message:
    try:
        return kind.FromString(content)
    except DecodeError:
        raise MalformedBody(f"the message is not a {kind.DESCRIPTOR.name}") from None


async def _refuse(call: Call, error: DropserveError) -> NoReturn:
    call.status = error_reply(error).status
    await call.context.abort(STATUS.get(type(error), grpc.StatusCode.INTERNAL), error.message)


def _listen(server: grpc.aio.Server, address: str, certificate: Certificate | None) -> int:
    """Listen, with the certificate of HTTP if there is one, and return the port."""
    if certificate is None:
        return server.add_insecure_port(address)

    def newest() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([certificate.pair])

    return server.add_secure_port(address, grpc.dynamic_ssl_server_credentials(newest(), newest))
