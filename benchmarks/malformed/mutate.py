"""Break a model at random: at one place of its protobuf tree, or at some bytes of its file."""

from __future__ import annotations

from random import Random
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_NUMBERS = (0, 1, -1, 2, 3, 7, 16, 255, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))
_FLOATS = (0.0, -0.0, -1.0, 1e38, 1e-45, float("inf"), float("nan"))
_TEXTS = ("", "x", "y", "Relu", "Conv", "If", "Loop", "a/../../b", "/etc/passwd", "../secret.bin", "\x00", "\x1b[2J",
          "é" * 40, "n" * 70_000, "%s%n{0}", "1e999", "-5", "18446744073709551616", "own", "ai.onnx.ml")  # fmt: skip
_WHOLE = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_ENUM}
_UNSIGNED = {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}


def broken_tree(model: onnx.ModelProto, random: Random) -> bytes:
    """The file of a copy of a model in which one to four fields, anywhere, hold something else."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        messages = list(_messages(copy))
        _break(random.choice(messages), messages, random)
    return copy.SerializeToString()


def broken_bytes(data: bytes, random: Random) -> bytes:
    """The bytes of a file with some flipped, cut out, put in, repeated, or with its end missing."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        at = random.randrange(len(made) + 1)
        what = random.randrange(5)
        if what == 0 and at < len(made):
            made[at] ^= 1 << random.randrange(8)
        elif what == 1 and at < len(made):
            made[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif what == 2:
            made[at : at + random.randrange(1, 9)] = random.randbytes(random.randrange(8))
        elif what == 3:
            made[at:at] = made[at : at + random.randrange(1, 64)]
        elif random.random() < 0.2:
            del made[at:]
    return bytes(made)


def _messages(message: Message) -> Any:
    yield message
    for field, value in message.ListFields():
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for part in value if field.is_repeated else [value]:
                yield from _messages(part)


def _break(message: Message, others: list[Message], random: Random) -> None:
    """Change one field of a message: one that it has, seldom one that it has not."""
    held = [field for field, _ in message.ListFields()]
    every = list(message.DESCRIPTOR.fields)
    field = random.choice(held if held and random.random() < 0.8 else every)
    if field.is_repeated:
        _break_list(getattr(message, field.name), field, others, random)
    elif random.random() < 0.25:
        message.ClearField(field.name)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        _graft(getattr(message, field.name), others, random)
    else:
        _set(message, field, random)


def _break_list(items: Any, field: FieldDescriptor, others: list[Message], random: Random) -> None:
    at = random.randrange(len(items)) if len(items) else None
    what = random.randrange(4)
    if at is not None and what == 0:
        del items[at]
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        if at is None or what == 1:
            _graft(items.add(), others, random)
        elif what == 2:
            items.add().CopyFrom(items[at])
        else:
            _graft(items[at], others, random)
    elif at is not None and what < 3:
        items[at] = _other(field, random)
    else:
        items.extend([_other(field, random)] * random.choice((1, 1, 3, 100)))


def _graft(message: Message, others: list[Message], random: Random) -> None:
    """Put in the place of a message another of its kind, from elsewhere in the model (whatever that nests)."""
    alike = [other for other in others if other.DESCRIPTOR is message.DESCRIPTOR and other.ByteSize() < 10_000]
    if alike:
        kept = type(message)()
        kept.CopyFrom(random.choice(alike))
        message.CopyFrom(kept)


def _set(message: Message, field: FieldDescriptor, random: Random) -> None:
    try:
        setattr(message, field.name, _other(field, random))
    except ValueError:  # an enumeration of old protobuf that takes its own numbers alone
        message.ClearField(field.name)


def _other(field: FieldDescriptor, random: Random) -> Any:
    kind = field.cpp_type
    if kind in _WHOLE:
        wide = kind == FieldDescriptor.CPPTYPE_INT64
        number = random.choice(_NUMBERS) if random.random() < 0.7 else random.randrange(-40, 40)
        return number if wide else max(-(1 << 31), min(number, (1 << 31) - 1))
    if kind in _UNSIGNED:
        return random.choice([number for number in _NUMBERS if 0 <= number < 1 << 31])
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return random.choice(_FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.choice((b"", b"\xff\xfe", b"\x00" * 7, b"constant", random.randbytes(33)))
    return random.choice(_TEXTS)
