# SPDX-License-Identifier: MIT
"""Serializers: how packets become bytes and bytes packets. Each is loaded when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tieline.wire.default import NOTHING
    from tieline.wire.serializers.abc import (
        AbstractIncrementalPacketSerializer,
        AbstractPacketSerializer,
        BufferedIncrementalPacketSerializer,
    )
    from tieline.wire.serializers.bare import BytesSerializer, StringLineSerializer
    from tieline.wire.serializers.cbor import SAFE_TAGS, CBORSerializer
    from tieline.wire.serializers.compressed import (
        BZ2CompressorSerializer,
        ZlibCompressorSerializer,
        ZstdCompressorSerializer,
    )
    from tieline.wire.serializers.decoding import PacketDecoder
    from tieline.wire.serializers.encoded import Base64EncoderSerializer
    from tieline.wire.serializers.encrypted import EncryptorSerializer
    from tieline.wire.serializers.file_based import FileBasedPacketSerializer
    from tieline.wire.serializers.framed import DEFAULT_LIMIT
    from tieline.wire.serializers.json import JSONSerializer
    from tieline.wire.serializers.messagepack import MessagePackSerializer
    from tieline.wire.serializers.pickled import PickleSerializer
    from tieline.wire.serializers.reading import GeneratorStreamReader
    from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer
    from tieline.wire.serializers.sized import FixedSizePacketSerializer, LengthPrefixedSerializer
    from tieline.wire.serializers.stapled import StapledPacketSerializer
    from tieline.wire.serializers.structs import NamedTupleStructSerializer, StructSerializer

_MODULES: dict[str, tuple[str, ...]] = {
    "tieline.wire.default": ("NOTHING",),
    "tieline.wire.serializers.abc": (
        "AbstractIncrementalPacketSerializer",
        "AbstractPacketSerializer",
        "BufferedIncrementalPacketSerializer",
    ),
    "tieline.wire.serializers.bare": (
        "BytesSerializer",
        "StringLineSerializer",
    ),
    "tieline.wire.serializers.cbor": (
        "SAFE_TAGS",
        "CBORSerializer",
    ),
    "tieline.wire.serializers.compressed": (
        "BZ2CompressorSerializer",
        "ZlibCompressorSerializer",
        "ZstdCompressorSerializer",
    ),
    "tieline.wire.serializers.decoding": ("PacketDecoder",),
    "tieline.wire.serializers.encoded": ("Base64EncoderSerializer",),
    "tieline.wire.serializers.encrypted": ("EncryptorSerializer",),
    "tieline.wire.serializers.file_based": ("FileBasedPacketSerializer",),
    "tieline.wire.serializers.framed": ("DEFAULT_LIMIT",),
    "tieline.wire.serializers.json": ("JSONSerializer",),
    "tieline.wire.serializers.messagepack": ("MessagePackSerializer",),
    "tieline.wire.serializers.pickled": ("PickleSerializer",),
    "tieline.wire.serializers.reading": ("GeneratorStreamReader",),
    "tieline.wire.serializers.separated": ("AutoSeparatedPacketSerializer",),
    "tieline.wire.serializers.sized": (
        "FixedSizePacketSerializer",
        "LengthPrefixedSerializer",
    ),
    "tieline.wire.serializers.stapled": ("StapledPacketSerializer",),
    "tieline.wire.serializers.structs": (
        "NamedTupleStructSerializer",
        "StructSerializer",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DEFAULT_LIMIT",
    "NOTHING",
    "SAFE_TAGS",
    "AbstractIncrementalPacketSerializer",
    "AbstractPacketSerializer",
    "AutoSeparatedPacketSerializer",
    "BZ2CompressorSerializer",
    "Base64EncoderSerializer",
    "BufferedIncrementalPacketSerializer",
    "BytesSerializer",
    "CBORSerializer",
    "EncryptorSerializer",
    "FileBasedPacketSerializer",
    "FixedSizePacketSerializer",
    "GeneratorStreamReader",
    "JSONSerializer",
    "LengthPrefixedSerializer",
    "MessagePackSerializer",
    "NamedTupleStructSerializer",
    "PacketDecoder",
    "PickleSerializer",
    "StapledPacketSerializer",
    "StringLineSerializer",
    "StructSerializer",
    "ZlibCompressorSerializer",
    "ZstdCompressorSerializer",
]


if not TYPE_CHECKING:  # checkers that knew of it would let every misspelt name pass

    def __getattr__(name: str) -> object:
        from tieline.loading import loaded  # here, since it is needed only when a name is

        return loaded(globals(), _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
