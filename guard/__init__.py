"""The guard: what people and programs touch, and everything that is asynchronous."""
