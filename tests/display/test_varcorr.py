"""The printed covariances."""

from __future__ import annotations

import numpy as np
import pytest

from display.cases import CASES, many_effects
from fixed_theta import reference_state
from mixedmodels.display.varcorr import VarCorr, correlation_tables


@pytest.mark.parametrize("name", ["sleepstudy_slope", "machines_noint", "penicillin_crossed"])
def test_mapping_and_frame_hold_rs_numbers(name: str) -> None:
    state, theirs = reference_state(name)
    varcorr = VarCorr.from_state(state)
    assert list(varcorr) == [block["group"] for block in theirs["varcorr"]]
    assert len(varcorr) == len(theirs["varcorr"])
    for block in theirs["varcorr"]:
        np.testing.assert_allclose(varcorr[block["group"]], block["cov"], rtol=1e-7)
    assert varcorr.to_frame()["sd_or_corr"].iloc[-1] == pytest.approx(theirs["sigma"])


def test_prints_what_the_summary_prints() -> None:
    for make, _ in CASES.values():
        varcorr = VarCorr.from_state(make())
        assert str(varcorr) == repr(varcorr) == "\n\n".join(map(str, varcorr.tables()))
        assert varcorr._repr_html_().count("<table ") == len(varcorr.tables())


def test_unknown_factors_get_the_nearest_known_one() -> None:
    varcorr = VarCorr.from_state(many_effects())
    with pytest.raises(KeyError, match=r"no grouping factor 'items'; there are .* Did you mean 'item'\?"):
        _ = varcorr["items"]
    assert "items" not in varcorr


def test_wide_correlations_are_cut() -> None:
    p = 12
    tables = correlation_tables("Correlations", [f"x{i}" for i in range(p)], np.full((p, p), 0.25), 62)
    assert [table.title for table in tables] == ["Correlations", "Correlations (continued)"]
    assert [table.header[1:] for table in tables] == [tuple("12345678"), ("9", "10", "11")]
    shown = [cell for table in tables for row in table.rows for cell in row[1:] if cell]
    assert shown == ["0.25"] * (p * (p - 1) // 2)
