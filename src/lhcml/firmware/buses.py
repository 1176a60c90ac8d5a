"""Fixed-point numbers on a bus: what stands on the ports of the RTL, element by element, lowest bit first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhcml.common.errors import UserError

# words are computed in int64; one bit is kept for the sign of unsigned ones
WIDEST = 62


@dataclass(frozen=True)
class Bus:
    """A port that carries several numbers of one fixed-point format.

    Attributes
    ----------
    port : str
        Name of the port in the Verilog.
    count : int
        Numbers on the port.
    bits : int
        Bits of one number, the sign among them.
    fraction : int
        Bits after the binary point; the word of x is x * 2^fraction. May be negative.
    signed : bool
        Two's complement, or unsigned.
    """

    port: str
    count: int
    bits: int
    fraction: int
    signed: bool

    def describe(self) -> dict[str, Any]:
        """Return what `rtl.json` says of the port."""
        return asdict(self)

    def pack(self, values: NDArray[np.float64]) -> NDArray[np.uint32]:
        """Return numbers as the 32-bit words of the port, lowest first.

        What is finer than the grid is cut off downwards, what is out of range wraps, as wires do.

        Parameters
        ----------
        values : array, shape (events, count)
            Numbers.

        Returns
        -------
        array, shape (events, words)
            Words, the last filled up with zeros.

        Raises
        ------
        UserError
            If a number on the port is wider than 62 bits, or the number of columns is not that of the port.
        """
        if values.shape[1:] != (self.count,):
            raise UserError(
                f"port {self.port} takes {self.count} numbers an event, the stimuli have shape {values.shape}",
                "make the stimuli of this model again",
            )
        require_narrow(self)
        words = np.floor(values * 2.0**self.fraction).astype(np.int64)
        bits = (words[:, :, None] >> np.arange(self.bits)) & 1
        packed = np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1, bitorder="little")
        room: NDArray[np.uint8] = np.zeros((len(values), 4 * self.words()), np.uint8)
        room[:, : packed.shape[1]] = packed
        return room.view("<u4")

    def unpack(self, words: NDArray[np.uint32]) -> NDArray[np.float64]:
        """Return the numbers, shape (events, count), in the words of the port, shape (events, words)."""
        require_narrow(self)
        bits = np.unpackbits(words.astype("<u4").view(np.uint8), axis=1, bitorder="little")
        each = bits[:, : self.count * self.bits].reshape(len(words), self.count, self.bits).astype(np.int64)
        place: NDArray[np.int64] = 2 ** np.arange(self.bits, dtype=np.int64)
        if self.signed:
            place[-1] *= -1
        return (each @ place).astype(np.float64) * 2.0**-self.fraction

    def words(self) -> int:
        """Return the number of 32-bit words of the port."""
        return -(-self.count * self.bits // 32)


def require_narrow(bus: Bus) -> None:
    """Raise a UserError if the numbers on a port are too wide to be compared."""
    if bus.bits > WIDEST:
        raise UserError(
            f"numbers on port {bus.port} have {bus.bits} bits, more than {WIDEST}",
            "quantise the model more coarsely, or with fewer bits before the binary point",
        )
