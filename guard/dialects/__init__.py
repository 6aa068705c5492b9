"""The shapes we speak; every one is parsed into, and rendered from, the same values."""
