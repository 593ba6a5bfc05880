"""How much one address may ask: a bucket of tokens for each."""

import threading
import time

ADDRESSES_MAX = 10_000


class Rate:
    """`burst` at once after a quiet time, `per_second` in the long run."""

    def __init__(self, per_second, burst):
        self.per_second, self.burst = per_second, burst
        self.buckets, self.lock = {}, threading.Lock()

    def admits(self, address, now=None):
        now = time.monotonic() if now is None else now
        with self.lock:
            if len(self.buckets) >= ADDRESSES_MAX:
                self.buckets = {name: one for name, one in self.buckets.items() if self.filled(one, now) < self.burst}
            if len(self.buckets) >= ADDRESSES_MAX and address not in self.buckets:
                return False
            tokens = self.filled(self.buckets.get(address, (self.burst, now)), now)
            admitted = tokens >= 1
            self.buckets[address] = (tokens - 1 if admitted else tokens, now)
            return admitted

    def filled(self, bucket, now):
        tokens, since = bucket
        return min(self.burst, tokens + (now - since) * self.per_second)
