"""Modules that are copied unchanged into exported folders, as the package ``tuned``.

They import the parts of autotune that run in a trial. Copies of these travel with them, so that an
exported script computes what the trial computed and does not need autotune.
"""
