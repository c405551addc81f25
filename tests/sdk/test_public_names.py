"""Public names stay what they are, whichever module is imported first."""

from __future__ import annotations

import subprocess
import sys

import pytest

import relumine
from relumine import alert_actions, remedies


def run(code):
    """Run code in a fresh process, in which nothing of Relumine is imported yet."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_check_is_a_function_after_its_module_was_imported():
    run(
        "from relumine._analysis.check import check\n"
        "import relumine, torch\n"
        "model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())\n"
        "assert relumine.check is check\n"
        "relumine.check(model, torch.randn(8, 3))\n"
    )


def test_no_module_can_take_the_place_of_check():
    run(
        "import relumine\n"
        "try:\n"
        "    import relumine.check\n"
        "except ModuleNotFoundError:\n"
        "    pass\n"
        "else:\n"
        "    raise SystemExit('relumine.check is a module')\n"
        "assert callable(relumine.check)\n"
    )


@pytest.mark.parametrize("name", ["RETRY_LATER", "RemedyResult", "Change"])
def test_what_on_alert_may_return_is_public(name):
    assert name in alert_actions.__all__
    assert name in remedies.__all__
    assert getattr(relumine.remedies, name) is getattr(alert_actions, name)
