"""The codec: values to bytes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import WeakSet

import msgspec

from ..errors import CodecError, MalformedValueError, UnserializableValueError
from . import failures
from .careful import CarefulWriter
from .plain import all_plain, plain_mapping
from .reach import EMPTY_REACH, Reach
from .reading import BROKEN, LenientReader, Reader
from .registry import Registry
from .terms import HIGH, LOW, MARK_BYTE, MARK_BYTES, MAX_DEPTH, Refusal
from .writing import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

_C = TypeVar("_C", bound=type)
_Data = bytes | msgspec.Raw | memoryview

_TEXT = (str, bool, type(None))
_ROOM = MAX_DEPTH - 2
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_call = msgspec.json.Decoder(tuple[tuple[Any, ...], dict[str, Any]]).decode


class Codec:
    """Writes values as JSON with explicit tags, and revives them.

    Plain JSON values are plain JSON. What JSON lacks is an object with the key ``"$"``. A type
    of an application is written only if it is registered here or named by the annotations of
    the code that the value belongs to (its `Reach`), and revived under the same condition:
    stored data never makes anything be imported.
    """

    def __init__(self) -> None:
        self._registry = Registry()
        self._plain_writer = Writer(self._registry, EMPTY_REACH)
        self._plain_reader = Reader(self._registry, EMPTY_REACH)
        self._lenient = LenientReader(self._registry, EMPTY_REACH)
        # Those of other reaches live as long as their reach; here they are told of registrations.
        self._walkers: WeakSet[Writer | Reader] = WeakSet(
            (self._plain_writer, self._plain_reader, self._lenient)
        )

    @overload
    def register(
        self,
        cls: _C,
        *,
        name: str | None = None,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> _C: ...

    @overload
    def register(
        self,
        cls: None = None,
        *,
        name: str | None = None,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> Callable[[_C], _C]: ...

    def register(
        self,
        cls: type | None = None,
        *,
        name: str | None = None,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Let instances of exactly `cls` be written and revived everywhere; usable as a decorator.

        Dataclasses, Structs, NamedTuples, pydantic models, Enums and exceptions need no functions.
        A class that was renamed is registered once more under its old name, before its new one.

        Args:
            cls: the class.
            name: its name in the log; ``module.qualname`` unless given.
            encode: takes an instance, returns a value that the codec can write.
            decode: takes that value, returns the instance.

        Raises:
            ConfigurationError: the name is another class's, or the class needs functions.
        """
        if cls is None:
            return lambda decorated: self.register(decorated, name=name, encode=encode, decode=decode)
        self._registry.add(cls, name, encode, decode)
        for walker in list(self._walkers):
            walker.forget()
        return cls

    def encode(self, value: Any, *, where: str = "value", reach: Reach = EMPTY_REACH) -> bytes:
        """Write `value` as compact UTF-8 JSON without line breaks.

        Args:
            value: what to write.
            where: how error messages call the value, such as ``result``.
            reach: the types that may be written besides the registered ones.

        Raises:
            UnserializableValueError: a part of the value cannot be written; `path` says which.
        """
        kind = type(value)
        try:
            if kind in _TEXT or (kind is int and LOW <= value <= HIGH):
                return _encode(value)
            if kind is dict:
                if plain_mapping(value, _ROOM):
                    return _encode(value)
            elif kind is list and all_plain(value, _ROOM):
                return _encode(value)
            return _encode(self._writer(reach).write(value, 0))
        except (Refusal, UnicodeEncodeError, RecursionError) as error:
            cause: Exception = error
        raise self._explain(value, where, reach) or _unwritable(where, cause)

    def encode_args(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        where: str = "args",
        reach: Reach = EMPTY_REACH,
    ) -> bytes:
        """Write the arguments of a call as ``[[…],{…}]``, keywords in the order of their names.

        Raises:
            UnserializableValueError: an argument cannot be written; `path` is ``args[0]…`` or
                ``args['name']…``, with `where` for ``args``.
        """
        if len(kwargs) > 1:
            kwargs = dict(sorted(kwargs.items()))
        try:
            if all_plain(args, _ROOM) and (not kwargs or plain_mapping(kwargs, _ROOM)):
                return _encode((args, kwargs))
            writer = self._writer(reach)
            return _encode((writer.write_all(args, 2), writer.write(kwargs, 1)))
        except (Refusal, UnicodeEncodeError, RecursionError) as error:
            cause: Exception = error
        for index, value in enumerate(args):
            explained = self._explain(value, f"{where}[{index}]", reach, 2)
            if explained is not None:
                raise explained
        raise self._explain(kwargs, where, reach, 1) or _unwritable(where, cause)

    def decode(self, data: _Data, *, reach: Reach = EMPTY_REACH) -> Any:
        """Revive what `encode` wrote.

        Raises:
            UnknownTypeError: it names a type that is neither registered nor in reach.
            MalformedValueError: it is not what `encode` writes, or does not fit its class any more.
        """
        if type(data) is not bytes:
            data = bytes(data)
        try:
            tree = _decode(data)
            # Looking for one byte takes a tenth of the time that looking for three takes.
            if MARK_BYTE not in data or MARK_BYTES not in data:
                return tree
            return self._reader(reach).read(tree, 0)
        except CodecError:
            raise
        except BROKEN as error:
            raise _malformed(data, error) from error

    def decode_args(self, data: _Data, reach: Reach = EMPTY_REACH) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Revive what `encode_args` wrote: positional and keyword arguments.

        Raises:
            UnknownTypeError: it names a type that is neither registered nor in reach.
            MalformedValueError: it is not what `encode_args` writes.
        """
        if type(data) is not bytes:
            data = bytes(data)
        try:
            args, kwargs = _decode_call(data)
            if MARK_BYTE not in data or MARK_BYTES not in data:
                return args, kwargs
            reader = self._reader(reach)
            args = tuple([reader.read(value, 2) for value in args])
            kwargs = reader.read(kwargs, 1)
            if type(kwargs) is not dict:
                raise TypeError("keyword arguments are no object")
        except CodecError:
            raise
        except BROKEN as error:
            raise _malformed(data, error) from error
        return args, kwargs

    def decode_lenient(self, data: _Data) -> Any:
        """Revive as much as registered types allow; what is left comes as `Opaque`. For printing.

        Raises:
            MalformedValueError: it is not JSON, or nested too deeply.
        """
        data = bytes(data)
        try:
            return self._lenient.read_tree(_decode(data))
        except CodecError:
            raise
        except BROKEN as error:
            raise _malformed(data, error) from error

    def encode_error(self, error: BaseException, *, reach: Reach = EMPTY_REACH) -> bytes:
        """Record an exception: type, text, arguments, attributes, notes, causes and traceback.

        What of it cannot be written is left out; the exception is always recorded.
        """
        try:
            return _encode(failures.write_error(CarefulWriter(self._registry, reach), error))
        except Exception:  # a class may make anything of its attributes
            return _encode(failures.smallest(error))

    def decode_error(self, data: _Data, *, reach: Reach = EMPTY_REACH) -> BaseException:
        """Revive a recorded exception.

        Its class is the original one if that is registered, built in, or known to the code of
        `reach`; else the nearest base class that is, with a note; else `RecordedError`. Classes
        that would end the process (`SystemExit`, `KeyboardInterrupt`) are never revived. The
        original's traceback is kept as text in the attribute ``__recorded_traceback__``.

        Raises:
            MalformedValueError: it is not what `encode_error` writes.
        """
        error = self.decode(data, reach=reach)
        if not isinstance(error, BaseException):
            raise MalformedValueError(f"recorded data {bytes(data)[:80]!r}… is no exception")
        return error

    def _writer(self, reach: Reach) -> Writer:
        if reach is EMPTY_REACH:
            return self._plain_writer
        writer: Writer | None = reach.walkers.get(self)
        if writer is None:
            writer = reach.walkers[self] = Writer(self._registry, reach)
            self._walkers.add(writer)
        return writer

    def _reader(self, reach: Reach) -> Reader:
        if reach is EMPTY_REACH:
            return self._plain_reader
        reader: Reader | None = reach.walkers.get((self,))
        if reader is None:
            reader = reach.walkers[self,] = Reader(self._registry, reach)
            self._walkers.add(reader)
        return reader

    def _explain(
        self, value: Any, where: str, reach: Reach, depth: int = 0
    ) -> UnserializableValueError | None:
        """The error that says where in `value` the trouble is, if it is there."""
        try:
            CarefulWriter(self._registry, reach).write(value, depth)
        except Refusal as refusal:
            path = refusal.path(where)
            error = UnserializableValueError(f"{path}: {refusal.message}", path=path)
            error.__cause__ = refusal.__cause__
            return error
        return None


def _unwritable(where: str, cause: Exception) -> UnserializableValueError:
    error = UnserializableValueError(f"{where}: cannot be written: {cause}", path=where)
    error.__cause__ = cause
    return error


def _malformed(data: bytes, error: BaseException) -> MalformedValueError:
    shown = f"{data[:80]!r}{'…' if len(data) > 80 else ''}"
    return MalformedValueError(f"recorded data {shown} cannot be read: {type(error).__name__}: {error}")


default_codec = Codec()
"""The codec that is used where none is given."""
