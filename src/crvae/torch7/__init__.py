"""The authors' released checkpoints: Torch7's binary file format, and the models in it."""
