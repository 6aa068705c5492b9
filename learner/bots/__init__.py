"""Bots that learn: each keeps :class:`learner.types.Bot`."""
