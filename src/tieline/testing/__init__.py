# SPDX-License-Identifier: MIT
"""The test kit: connections in memory, a clock moved by hand, faults from one seed, and contracts to be checked.

Everything here is imported only when it is first used. Nothing of tieline itself needs it.
"""

# As in tieline/__init__.py: nothing is imported here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from tieline.testing.blocking_network import BlockingMemoryNetwork, BlockingMemoryServer
    from tieline.testing.clock import VirtualClock
    from tieline.testing.contracts import Case, ContractBroken
    from tieline.testing.cuts import cuts_of
    from tieline.testing.datagrams import DATAGRAM_CASES, DatagramPeer, DatagramRig
    from tieline.testing.dialects import DIALECT_CASES, DialectRig
    from tieline.testing.faults import Faults
    from tieline.testing.framers import FRAMER_CASES, FramerRig
    from tieline.testing.known_faults import KNOWN_FAULTS, KnownFault
    from tieline.testing.loops import VirtualClockLoop
    from tieline.testing.machines import MACHINE_CASES, MachineRig
    from tieline.testing.memory import MemoryPeer, MemoryTransport, memory_pair, memory_peer
    from tieline.testing.memory_datagrams import MemoryDatagramTransport, memory_datagram_pair
    from tieline.testing.network import MemoryNetwork, MemoryServer
    from tieline.testing.peers import Peer, SocketPeer, TLSPeer
    from tieline.testing.recordings import Recorded, Recording, replay
    from tieline.testing.serializers import SERIALIZER_CASES, SerializerCase, SerializerRig
    from tieline.testing.sockets import MemorySocket, memory_sockets
    from tieline.testing.stream_rigs import StreamRig
    from tieline.testing.streams import STREAM_CASES
    from tieline.testing.subprocesses import SUBPROCESS_CASES, SubprocessRig

_MODULES = {
    "tieline.testing.blocking_network": ("BlockingMemoryNetwork", "BlockingMemoryServer"),
    "tieline.testing.clock": ("VirtualClock",),
    "tieline.testing.contracts": ("Case", "ContractBroken"),
    "tieline.testing.cuts": ("cuts_of",),
    "tieline.testing.datagrams": ("DATAGRAM_CASES", "DatagramPeer", "DatagramRig"),
    "tieline.testing.dialects": ("DIALECT_CASES", "DialectRig"),
    "tieline.testing.faults": ("Faults",),
    "tieline.testing.framers": ("FRAMER_CASES", "FramerRig"),
    "tieline.testing.known_faults": ("KNOWN_FAULTS", "KnownFault"),
    "tieline.testing.loops": ("VirtualClockLoop",),
    "tieline.testing.machines": ("MACHINE_CASES", "MachineRig"),
    "tieline.testing.memory": ("MemoryPeer", "MemoryTransport", "memory_pair", "memory_peer"),
    "tieline.testing.memory_datagrams": ("MemoryDatagramTransport", "memory_datagram_pair"),
    "tieline.testing.sockets": ("MemorySocket", "memory_sockets"),
    "tieline.testing.network": ("MemoryNetwork", "MemoryServer"),
    "tieline.testing.peers": ("Peer", "SocketPeer", "TLSPeer"),
    "tieline.testing.recordings": ("Recorded", "Recording", "replay"),
    "tieline.testing.serializers": ("SERIALIZER_CASES", "SerializerCase", "SerializerRig"),
    "tieline.testing.stream_rigs": ("StreamRig",),
    "tieline.testing.streams": ("STREAM_CASES",),
    "tieline.testing.subprocesses": ("SUBPROCESS_CASES", "SubprocessRig"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DATAGRAM_CASES",
    "DIALECT_CASES",
    "FRAMER_CASES",
    "KNOWN_FAULTS",
    "MACHINE_CASES",
    "SERIALIZER_CASES",
    "STREAM_CASES",
    "SUBPROCESS_CASES",
    "BlockingMemoryNetwork",
    "BlockingMemoryServer",
    "Case",
    "ContractBroken",
    "DatagramPeer",
    "DatagramRig",
    "DialectRig",
    "Faults",
    "FramerRig",
    "KnownFault",
    "MachineRig",
    "MemoryDatagramTransport",
    "MemoryNetwork",
    "MemoryPeer",
    "MemoryServer",
    "MemorySocket",
    "MemoryTransport",
    "Peer",
    "Recorded",
    "Recording",
    "SerializerCase",
    "SerializerRig",
    "SocketPeer",
    "StreamRig",
    "SubprocessRig",
    "TLSPeer",
    "VirtualClock",
    "VirtualClockLoop",
    "cuts_of",
    "memory_datagram_pair",
    "memory_pair",
    "memory_peer",
    "memory_sockets",
    "replay",
]


if not TYPE_CHECKING:  # checkers that knew of it would let every misspelt name pass

    def __getattr__(name: str) -> object:
        from tieline.loading import loaded  # here, as above

        return loaded(globals(), _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
