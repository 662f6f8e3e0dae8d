"""Rival methods, one file each, behind the same door as SRCID: encoders, trainer, checkpoints and codes are shared."""
