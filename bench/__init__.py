"""Every figure that the documentation quotes, reproducible by one command each."""
