"""Renders the Helm chart with Helm itself, and lints it: ``python -m tests.deploy.render_chart``.

Needs ``pip install helm-python-sdk`` (the library of Helm 4, 80 MB), which the other tests do not. The manifests are
kept in tests/deploy/rendered, with a digest of the chart that they were rendered from.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/relumine"
RENDERED = Path(__file__).with_name("rendered")

CASES = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example.org/relumine-server", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
        "publicUrl": "https://relumine.example.org",
        "trustedProxies": "10.0.0.0/8",
        "bootstrapKey": False,
        "ingress": {"enabled": True, "className": "nginx", "annotations": {"example.org/a": "b"}},
        "settings": {"RELUMINE_GROUP_WAIT_S": "10"},
    },
    "without-worker": {"worker": {"enabled": False}, "server": {"replicas": 1}},
}
"""Values to render the chart with, by the name of the file."""


def chart_digest() -> str:
    """Return the digest of all files of the chart, and of the cases."""
    digest = hashlib.sha256(json.dumps(CASES, sort_keys=True).encode())
    for path in sorted(path for path in CHART.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(CHART)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def render(values: dict[str, object]) -> str:
    """Return the manifests of a release in one YAML document stream, in the order of their files."""
    from helm_python import Chart

    with Chart.load(CHART) as chart:
        manifests = chart.render(values=values, name="relumine", namespace="ml")
    texts = [manifests[name].strip() for name in sorted(manifests) if name.endswith(".yaml")]
    return "\n---\n".join(text for text in texts if text) + "\n"


def main() -> int:
    """Lint the chart and write the manifests."""
    from helm_python import lint

    report = lint(CHART)
    print(report)
    RENDERED.mkdir(exist_ok=True)
    for name, values in CASES.items():
        (RENDERED / f"{name}.yaml").write_text(f"# {chart_digest()}\n{render(values)}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
