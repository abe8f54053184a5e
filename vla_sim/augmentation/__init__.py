"""More training data from what there is. Used by training (each time an episode is seen) and by `vla_sim.augment`.

words, training    light work on arrays and sentences, drawn anew for every batch
mirroring, images, viewing, timing    an `Episode` becomes another one, without a simulator
redriving          a recorded world is driven again: with other looks, or with noise and the expert's labels
recipe, filling    what the command `vla_sim.augment` makes of them
"""

from vla_sim.augmentation.jitter import colour_matrices, shifted
from vla_sim.augmentation.words import mirror_text, vary_text

__all__ = ["colour_matrices", "mirror_text", "shifted", "vary_text"]
