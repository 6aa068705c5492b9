"""What may be learned, what was learned, and how to take it back."""
