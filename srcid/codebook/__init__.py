"""What codes are used for: counts, agreement between modalities, meaning, and the exemplars behind each code."""
