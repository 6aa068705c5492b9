"""Everything that touches Redis: keys, scripts and the two clients that run them."""

from learner.store.client import AsyncStore, Call, Store
from learner.store.keys import Keys

__all__ = ["AsyncStore", "Call", "Keys", "Store"]
