"""Vision-language-action models on transformers: Kosmos-2, CLIP or both, with recurrent, windowed or discrete heads.

Importing this package loads nothing; its modules load torch, and those that build models load transformers.
"""
