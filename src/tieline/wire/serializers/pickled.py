# SPDX-License-Identifier: MIT
"""Packets as pickles: any object of Python, between programs that trust each other with everything."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from tieline.errors import DeserializeError
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra
from tieline.wire.serializers.encoded import checked_key, mac_with, verified
from tieline.wire.serializers.framed import DEFAULT_LIMIT, FramedSerializer
from tieline.wire.serializers.sized import PrefixedDecoder

if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable

    from tieline.wire.serializers.decoding import PacketDecoder

__all__ = ["PickleSerializer"]


class PickleSerializer(FramedSerializer[SentT_contra, ReceivedT_co]):
    """Packets as pickles, each after its length and an HMAC-SHA256. **Whoever has the key can run any code here.**

    Unpickling executes whatever the sender wants. So a packet is unpickled only after its MAC has shown that it was
    made with the key; any other packet is refused, and the stream goes on after it. A recorded packet can be sent
    again: over networks that others can reach, use TLS as well.

    Args:
        key: A secret of 16 bytes or more, the same on both sides.
        allow_unsafe: Must be True: that you know the sentence in bold.
        protocol: The protocol of pickle that is written; None = its default.
        pickler_cls: The class to use in place of ``pickle.Pickler``, such as a subclass with a ``dispatch_table``.
        unpickler_cls: The class to use in place of ``pickle.Unpickler``, such as a subclass with a restricted
            ``find_class``.
        limit: The maximum size of a received packet in bytes.

    Raises:
        TypeError: *key* is not bytes, or *limit* no int.
        ValueError: *allow_unsafe* is not True, the key is too short, or *limit* is not positive.
    """

    __slots__ = ("_dumps", "_loads", "_mac", "_protocol")

    def __init__(
        self,
        key: bytes,
        *,
        allow_unsafe: bool = False,
        protocol: int | None = None,
        pickler_cls: type[pickle.Pickler] | None = None,
        unpickler_cls: type[pickle.Unpickler] | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(limit)
        if allow_unsafe is not True:
            raise ValueError("pickles run code of whoever has the key: PickleSerializer needs allow_unsafe=True")
        import pickle  # lazily: few programs need it, and none should load it by accident

        self._mac = mac_with(checked_key(key, "key"))
        self._protocol = protocol
        self._dumps: Callable[..., bytes] = pickle.dumps if pickler_cls is None else partial(_dumped, pickler_cls)
        self._loads: Callable[[bytes], Any] = pickle.loads if unpickler_cls is None else partial(_loaded, unpickler_cls)

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* as a pickle and its MAC."""
        data = self._dumps(packet, self._protocol)
        return data + self._mac(data)

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is, a pickle and its MAC.

        Raises:
            DeserializeError: The MAC is wrong, and nothing was unpickled; or it is right and the pickle is none.
        """
        plain = verified(data, self._mac)
        try:
            return self._loads(plain)  # type: ignore[no-any-return]  # nobody knows what a pickle holds
        except Exception as exc:  # pickles raise what they like
            raise DeserializeError("the packet is authentic, and cannot be unpickled here") from exc

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* after its length, four bytes in network order."""
        data = self.serialize(packet)
        return len(data).to_bytes(4, "big") + data

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        return PrefixedDecoder(4, "big", self._limit, self.deserialize)


def _dumped(pickler_cls: type[pickle.Pickler], packet: object, protocol: int | None) -> bytes:
    file = BytesIO()
    pickler_cls(file, protocol).dump(packet)
    return file.getvalue()


def _loaded(unpickler_cls: type[pickle.Unpickler], data: bytes) -> Any:
    return unpickler_cls(BytesIO(data)).load()
