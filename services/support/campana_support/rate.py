"""How much one address may ask: a bucket of tokens for each."""

import ipaddress
import threading
import time

ADDRESSES_MAX = 10_000
#: Whoever has one IPv6 address has the 2^64 beside it.
IPV6_NETWORK_BITS = 64


class Rate:
    """`burst` at once after a quiet time, `per_second` in the long run."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self.buckets: dict[str, tuple[float, float]] = {}
        self.lock = threading.Lock()

    def admits(self, address: str, now: float | None = None) -> bool:
        """Takes a token of this address; false if it has none."""
        now = time.monotonic() if now is None else now
        address = network_of(address)
        with self.lock:
            if len(self.buckets) >= ADDRESSES_MAX:
                self.buckets = {name: one for name, one in self.buckets.items() if self.filled(one, now) < self.burst}
            if len(self.buckets) >= ADDRESSES_MAX and address not in self.buckets:
                return False
            tokens = self.filled(self.buckets.get(address, (self.burst, now)), now)
            admitted = tokens >= 1
            self.buckets[address] = (tokens - 1 if admitted else tokens, now)
            return admitted

    def filled(self, bucket: tuple[float, float], now: float) -> float:
        """The tokens of a bucket by now."""
        tokens, since = bucket
        return min(self.burst, tokens + (now - since) * self.per_second)


def network_of(address: str) -> str:
    """What counts as one asker."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed.packed, IPV6_NETWORK_BITS), strict=False))
    return address
