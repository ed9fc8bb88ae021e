"""The package itself: light to import, its functions never hidden by modules of the same name."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import mixedmodels as mm


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_loads_nothing_large() -> None:
    large = ["numpy", "pandas", "scipy", "formulaic", "narwhals", "matplotlib", "statsmodels", "mixedmodels._engine"]
    assert run(f"import sys, mixedmodels; print([m for m in {large} if m in sys.modules])") == "[]"


@pytest.mark.parametrize(
    "first", ["import mixedmodels.lmer", "from mixedmodels.lmer import lmer", "import mixedmodels.cli", "mm.lmer"]
)
def test_modules_do_not_hide_functions(first: str) -> None:
    code = f"import mixedmodels as mm; {first}; print(callable(mm.lmer), callable(mm.lmer), mm.lmer.__module__)"
    assert run(code) == "True True mixedmodels.lmer"


def test_every_name_is_there() -> None:
    assert all(getattr(mm, name) is not None for name in mm.__all__)
    assert dir(mm) == sorted(mm.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match=r"mixedmodels has no 'lmmer'\. Did you mean 'lmer'"):
        _ = mm.lmmer


@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_arrive_from_other_processes_as_they_were(copied: Callable[[Exception], Exception]) -> None:
    with pytest.raises(mm.FormulaError) as caught:
        mm.lmer("y ~ x + (x | g", {"y": [1.0]})
    error = caught.value
    assert "\n" in str(error)
    same = copied(error)
    assert (type(same), str(same), same.args, vars(same)) == (type(error), str(error), error.args, vars(error))


SENT = """
import mixedmodels as mm

def deviance(data):
    return mm.lmer("Reaction ~ Days + (Days | Subject)", data).deviance
"""
REML_CRITERION = "1743.6283"  # lme4's


def test_the_module_is_sent_by_name() -> None:
    assert pickle.loads(pickle.dumps(mm)) is mm
    assert copy.deepcopy(mm) is mm


def test_cloudpickle_sends_functions_that_use_the_package() -> None:
    sent = run(f"import sys, cloudpickle{SENT}\nprint(cloudpickle.dumps(deviance).hex())")
    load = f"import pickle, mixedmodels; f = pickle.loads(bytes.fromhex({sent!r}))"
    assert run(f"{load}; print(round(f(mixedmodels.load_dataset('sleepstudy')), 4))") == REML_CRITERION


@pytest.mark.parametrize(
    "calls",
    [
        "joblib.Parallel(n_jobs=2)(joblib.delayed(deviance)(data) for _ in range(2))",
        "joblib.Parallel(n_jobs=2)(joblib.delayed(mm.lmer)(formula, data) for _ in range(2))",
        "multiprocessing.get_context('spawn').Pool(2).map(deviance, [data, data])",
    ],
)
def test_workers_fit(calls: str, tmp_path: Path) -> None:
    main = f"""{SENT}
if __name__ == "__main__":
    import joblib, multiprocessing
    data, formula = mm.load_dataset("sleepstudy"), "Reaction ~ Days + (Days | Subject)"
    print([f"{{getattr(found, 'deviance', found):.4f}}" for found in {calls}])
"""
    script = tmp_path / "script.py"
    script.write_text(main)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([REML_CRITERION] * 2)


def test_what_is_asked_for_beside_marginaleffects_is_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    fit = mm.lmer("Yield ~ 1 + (1 | Batch)", mm.load_dataset("Dyestuff"))
    monkeypatch.setitem(sys.modules, "marginaleffects", None)
    with pytest.raises(mm.MixedModelsError) as told:
        fit.to_marginaleffects()
    assert str(told.value).endswith(" -m pip install " + " ".join(f'"{package}"' for package in extras["interop"]))
