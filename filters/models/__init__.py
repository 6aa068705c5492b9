"""The shipped weights with their manifest, and the code that builds the encoder from them."""
