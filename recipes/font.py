"""Makes the font of films: `python -m recipes.font NanumGothic.ttf`.

The font file of Debian's package `fonts-nanum` (SIL Open Font License) is reduced to what instructions and names are
written with. The licence reserves the name of the original for the original, so the reduced font has a name of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "vla_sim" / "core" / "fonts" / "sans_hangul.ttf"
NAME = "VLA Sim Sans"
RANGES = (
    (0x20, 0x7E),  # ASCII
    (0xA0, 0x17F),  # Latin letters with accents
    (0x391, 0x3C9),  # Greek
    (0x2010, 0x203A),  # dashes, quotes, ellipsis
    (0x2190, 0x2193),  # arrows
    (0x3000, 0x3011),  # East Asian punctuation
    (0x3131, 0x318E),  # single Hangul letters
    (0xAC00, 0xD7A3),  # Hangul syllables
)


def main(source: str) -> None:
    """Write the reduced font."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    options = subset.Options(hinting=False, name_IDs=["*"], notdef_outline=True, layout_features=[])
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "vhea", "vmtx", "DSIG"]
    font = TTFont(source)
    reducer = subset.Subsetter(options)
    reducer.populate(unicodes=[code for first, last in RANGES for code in range(first, last + 1)])
    reducer.subset(font)
    copyright_notice = font["name"].getDebugName(0)
    font["name"].names = []
    texts = {0: copyright_notice, 1: NAME, 2: "Regular", 4: NAME, 6: NAME.replace(" ", ""), 13: "SIL OFL 1.1"}
    for number, text in texts.items():
        font["name"].setName(text, number, 3, 1, 0x409)
    TARGET.parent.mkdir(exist_ok=True)
    font.save(TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
