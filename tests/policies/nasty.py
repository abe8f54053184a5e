"""What a config may hold instead of what belongs there."""

import copy

from hypothesis import strategies as st

NASTY = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2, 7, 10**10, -(10**10), 2**63, 10**400, 0.5, -0.5, 1e400, -1e400, float("nan")),
        *("", "x", "mlp", "lstm", "\x00", "\ud800", "a" * 300, "../clip_mlp", "/etc", "~root", "hold", "ensemble", "."),
        *([], {}, [[]], [None], [1, 2], ["vx", "vy"], ["vy", "vx"], ["vx"] * 50, {"kind": "gpt2"}, {"a": {"b": {}}}),
        *([10**10] * 3, ["ensemble"] * 3, ["../x", "hold"], {"names": 3}, {"vx": 1}, [{}], [0.5, 0.5], [1e308, 1e308]),
    ]
)


def places(value, path=()):
    """Paths of everything in a config."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        if not (isinstance(key, int) and key > 2):
            yield from places(part, (*path, key))


def changed(config, path, value):
    whole = copy.deepcopy(config)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return whole
