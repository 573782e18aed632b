"""The poison corpus: what is sent, what must come of it, and an independent judge of bytes."""
