"""Coverage-guided fuzzing of request reading and image decoding."""
