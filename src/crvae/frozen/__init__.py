"""Pretrained networks that are only looked through: backbones for scores and classifiers, pyramids for losses."""
