"""What exported folders are made of: modules that are copied into them as they are.

They import the parts of autotune that a trial ran; the copies travel along, under ``tuned``, so
that an exported script computes what the trial computed and needs no autotune.
"""
