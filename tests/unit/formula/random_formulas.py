"""Random formulas, right and wrong ones, and random small frames to try them on."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd

NUMBERS = [
    "x", "z", "w", "n", "log", "I", "`my x`", "`1`", "`.`",
]  # fmt: skip
CATEGORIES = [
    "f", "h", "C", "t", "b", "`a-b`",
]  # fmt: skip
ODD = [
    "day", "o", "m", "gap", "con", "k", "nosuch", "yield", "`nosuch`", "d.x", "2x", "np", "0", "1", "2", "3.5", ".",
    "-1",
]  # fmt: skip
RIGHT = [
    "I({0}**2)", "log(w)", "exp({0})", "scale({0})", "center({0})", "poly({0}, 2)", "bs({0}, df=4)", "I({0} > 0)",
    "{0}.gt(0)", "np.log(w)", "np.isin(n, [1, 2])", "I({0} > 0 & {1} > 0)", "abs({0})", "C({2})", "C({2}, sum)",
    "C({2}, contr.helmert)", "factor({2})", "{{{0} + {1}}}", "cr({0}, df=3)", "np.where({0} > 0, {1}, 1)", "C(k)",
    "I(C == 'p')", "f.str.upper()", "C(day)", "log(w, 2)",
]  # fmt: skip
WRONG = [
    "C({2}, treatment('a'))", "C({2}, Sum)", "{2}.str.upper()", "nosuch({0})", "I({0} {1})", "I({2} + {0})", "I(1)",
    "np.nosuch({0})", "{0}[0]", "I({0}", "ordered({2})", "lag({0})", "I(`my x` / {0})", "C({2}, [[1, 2], [3]])",
    "as.factor({2})", "poly({0}, 0)", "bs({0})", "log({0}, 0)", "np.where({0} > 0, {2}, 'z')", "I([v for v in {0}])",
    "hash({2})", "I({0}.mean())", "np.array([1, 2])", "{0}.rolling(2).mean()", "pd.cut({0}, 3)", "I(lambda v: v)",
    "offset({0})", "log({0})", "I({0} / n)", "exp(1000 * {0})", "np.mean({0})", "{0}.diff()", "C({0})",
    "I({2} == 'a')", "{0}.any()", "np.outer({0}, {1})", "poly({2}, 2)", "scale({2})", "I(`` + {0})", "I({0} is {1})",
    "1({0})", "f({0})", "{{}}", "I()", "C()", "poly({0})", "C({2}, levels=['a'])", "C(gap)", "bs(gap, df=4)",
    "scale(con)", "cr({0}, df=99)", "hashed({2}, 4)", "I({0} if {1} else 1)", "np.random.normal({0})",
    "{0}.__class__", "x.values", "np.c_[x, z]", "I(day)", "day.dt.day", "C(day) ", "I({0} == {2})", "max({0})",
    "sum({0})", "round({0})", "I(10**400 * {0})", "I({0} % 0)",
]  # fmt: skip
GROUPS = [
    "g", "s", "g/s", "g:s", "`my g`", "C(g)", "(g:s)",
]  # fmt: skip
ODD_GROUPS = [
    "b", "f", "day", "I(n > 0)", "gap", "x", "one", "nosuch", "g+s", "g:g", "g/x", "o", "log(w)", "`a-b`", "y",
]  # fmt: skip
LEFT = [
    "log(y + 9)", "I(y > 0)", "y^2", "f", "`my x`", "yield", "nosuch", "y - x", "x + 1", "con", "day", "C(f)", "1",
    ".",
]  # fmt: skip
NOISE = [
    "+", "-", "*", "/", ":", "^", "**", "|", "||", "~", "(", ")", "0", "1", "2", "-3", "2.5", "1e999", "'a'", "`",
    ".", ",", "%in%", "%o%", "$", "@", "=", "==", "&", "!", "#", "[", "]", "{", "}", "\\", "\n", " ", "−", "\x00",
    "\x1b", "é", "lambda", "in", "None", "x z", "I(", "0x1", "1_0", '"', ";", "?",
]  # fmt: skip


def random_frame(draw: random.Random) -> pd.DataFrame:
    """Return a frame of a few rows with columns of every kind and name; some are constant, gappy or without sense."""
    n = draw.choice([0, 1, 5, 24, *8 * [60]])
    rng = np.random.default_rng(draw.getrandbits(32))
    g, s = rng.integers(0, 6, n), rng.integers(0, 3, n)
    x, z = rng.normal(size=n), rng.normal(size=n) * draw.choice([1, 1, 1e-9, 1e9])
    frame = pd.DataFrame({
        "y": x + rng.normal(size=6)[g] + 0.5 * rng.normal(size=n), "x": x, "z": z, "w": rng.uniform(0.5, 2, n),
        "n": rng.integers(-2, 3, n), "log": rng.uniform(1, 2, n), "I": rng.normal(size=n), "my x": rng.normal(size=n),
        "1": rng.normal(size=n), ".": rng.normal(size=n), "np": rng.normal(size=n),
        "f": rng.choice(list("abc"), n), "h": pd.Categorical(rng.choice(["u", "v"], n), categories=["v", "u", "w"]),
        "C": rng.choice(["p", "q"], n), "t": rng.choice(["1", "2"], n), "b": rng.random(n) > 0.5,
        "k": rng.integers(1, 4, n), "a-b": rng.choice(["l", "r"], n), "g": g, "s": s, "my g": g * 10 + s,
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 4, n), unit="D"),
        "o": rng.choice(np.array(["a", 1], dtype=object), n), "m": pd.array(rng.integers(0, 9, n), dtype="Int64"),
        "gap": np.where(rng.random(n) < 0.2, np.nan, x), "con": 1.0, "one": "a", "yield": x,
    })  # fmt: skip
    if draw.random() < 0.2:
        frame.loc[frame.index % 7 == 3, draw.choice(["f", "x", "g"])] = None
    if draw.random() < 0.1:
        frame["f"] = "a"
    if draw.random() < 0.05:
        frame["x"] = np.inf
    return frame.drop(columns=draw.sample(sorted(set(frame) - {"y", "g"}), draw.choice([0, 0, 0, 0, 0, 3])))


def random_formula(draw: random.Random) -> str:
    """Return a formula; half are made of parts that have a meaning, the others have odd ones or are cut up."""
    odd = draw.choice([0.0, 0.0, 0.0, 0.1, 0.4])
    left = "y" if draw.random() > odd else draw.choice(LEFT)
    terms = [_sum(draw, 1, odd)] if draw.random() < 0.9 else []
    terms += [_random_term(draw, odd) for _ in range(draw.choice([1, 1, 1, 2, 3]))]
    draw.shuffle(terms)
    text = f"{left} ~ " + " + ".join(terms)
    for _ in range(draw.choice([0, 0, 0, 0, 1, 1, 2, 4]) if odd else 0):
        text = _mutated(draw, text)
    return text


def _sum(draw: random.Random, depth: int, odd: float) -> str:
    text = _product(draw, depth, odd)
    for _ in range(draw.choice([0, 0, 0, 1, 1, 2])):
        text += ("+" if draw.random() > odd else draw.choice([" - ", "-", "+ -"])) + _product(draw, depth, odd)
    return text


def _product(draw: random.Random, depth: int, odd: float) -> str:
    text = _operand(draw, depth, odd)
    for _ in range(draw.choice([0, 0, 0, 0, 1, 1, 2])):
        sign = (
            draw.choice(["*", "*", ":", ":", "/"]) if draw.random() > odd else draw.choice([" %in% ", "^", "**", ":-"])
        )
        text += sign + _operand(draw, depth, odd)
    return text


def _operand(draw: random.Random, depth: int, odd: float) -> str:
    kind = draw.random()
    if kind < 0.15 and depth:
        power = draw.choice(["", "", "", "^2"])
        return f"({_sum(draw, depth - 1, odd)}){power}"
    if kind < 0.35:
        calls = RIGHT if draw.random() > odd else WRONG
        return draw.choice(calls).format(draw.choice(NUMBERS), draw.choice(NUMBERS), draw.choice(CATEGORIES))
    if draw.random() < odd:
        return draw.choice(ODD)
    return draw.choice(draw.choice([NUMBERS, CATEGORIES]))


def _random_term(draw: random.Random, odd: float) -> str:
    columns = draw.choice(["1", "1", "1", "x", "0 + x", "f", "0 + f", "x*f", "poly(x, 2)", "log", "b"])
    columns = columns if draw.random() < 0.8 else _sum(draw, 0, odd)
    group = draw.choice(GROUPS) if draw.random() > odd else draw.choice(ODD_GROUPS)
    return f"({columns} {draw.choice(['|', '|', '||'])} {group})"


def _mutated(draw: random.Random, text: str) -> str:
    """Return the text with a piece taken out, doubled, swapped, or with something put in."""
    first, second = sorted(draw.randrange(len(text) + 1) for _ in range(2))
    second = min(second, first + draw.choice([1, 2, 5, 20]))
    piece = text[first:second]
    return draw.choice([
        text[:first] + text[second:],
        text[:second] + piece + text[second:],
        text[:first] + piece[::-1] + text[second:],
        text[:first] + draw.choice(NOISE) + text[first:],
        text[:first] + draw.choice(NOISE) + text[second:],
        text[:first] + draw.choice(WRONG).format("x", "z", "f") + text[second:],
    ])  # fmt: skip
