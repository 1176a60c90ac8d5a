"""Training, scoring and comparison of jet taggers."""
