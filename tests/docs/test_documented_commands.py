"""Every command that the docs name exists, takes the options they name, and runs."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import typer

from relumine import cli as sdk_cli
from relumine_server.cli.main import cli as server_cli
from tests.helpers.distributed import environment
from tests.helpers.forked_python import Forker

pytestmark = pytest.mark.xdist_group("documented commands")  # one runner, one corpus

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("docs/**/*.md"),
        *(ROOT / name for name in ("README.md", "AGENTS.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(ROOT / folder / "README.md" for folder in ("examples", "research")),
    ]
)
CODE = re.compile(r"^```[a-z]*\n(.*?)^```|`([^`]+)`", re.MULTILINE | re.DOTALL)
PREFIX = re.compile(r"^(?:\$ )?(?:docker compose exec (?:-T )?server )?(?:[A-Z_]+=\S+ )*")
COMMAND = re.compile(
    r"python -m (?:benchmarks|research|tests\.chaos)\b|python examples/|relumine(?:-server)? [a-z]+(?: |$)"
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
PATH = re.compile(r"(?<![\w/.-])(?:benchmarks|research|tests|examples)/[\w./-]+")
PLACEHOLDER = "placeholder"
PROGRAMS = Forker(
    "torch",
    "torch._dynamo",  # imported by the first step of an optimizer
    "sklearn.linear_model",
    "scipy.special",
    "relumine",
    "relumine_server.app",
)
COLLECTED = {"tune": "mlp rmsprop tiny", "kinds": "push: mlp adam at once"}
"""The recipes that are really trained, by their split: they have the fewest steps."""
CORPUS = "{corpus}"
TRAINED = "{trained}"
OUTPUT = "{output}"

# A command for every module with a command line in benchmarks and research, as small as it can be. {corpus} is a folder
# of simulated runs, {trained} one of trained runs, {output} an empty one.
TINY: Mapping[str, Sequence[str]] = {
    "benchmarks.dashboard.memory_over_time": ["--minutes 0.05 --warm-up 0 --every 1 --layers 2 --only run"],
    "benchmarks.dashboard.page_times": ["--layers 2 --records 200 --runs 3 --updates 1 --rounds 1"],
    "benchmarks.dashboard.screenshots": ["--to {output} --only run-died --steps 60"],
    "benchmarks.dashboard.tasks": ["--steps 300"],
    "benchmarks.frameworks.compare": ["--list", "--only accelerate"],
    "benchmarks.ingest.comparison": ["--without-others --without-big --rounds 1 --seconds 0.1 --warm-up 1"],
    "benchmarks.ingest.decoding": ["--rounds 1 --window-ms 1"],
    "benchmarks.ingest.detector_state": ["--rounds 1 --uploads 2 --databases sqlite"],
    "benchmarks.ingest.soak": ["--streams 1 --seconds 1 --every 1"],
    "benchmarks.ingest.storage_size": ["--uploads 4 --databases sqlite --sizes small"],
    "benchmarks.ingest.throughput": [
        "--rounds 1 --seconds 0.1 --sizes small --databases sqlite --clients 2",
        "--rounds 1 --seconds 0.1 --sizes small --databases postgres --clients",
    ],
    "benchmarks.ingest.upload_cost": ["--rounds 1 --seconds 0.1 --shapes tiny"],
    "benchmarks.ingest.upload_profile": ["--shape tiny --seconds 0.1 --top 2"],
    "benchmarks.ingest.upload_rate": ["--seconds 90"],
    "benchmarks.overhead.compiled": ["--rounds 2 --workloads W1 --backend eager"],
    "benchmarks.overhead.long_runs": ["--runs 1 --steps 300"],
    "benchmarks.overhead.memory": ["--steps 20 --wide-steps 0"],
    "benchmarks.overhead.step_hooks": ["--steps 70"],
    "benchmarks.overhead.step_time": ["--rounds 2 --steps 2 --workloads W1"],
    "benchmarks.overhead.unsampled_step": ["--rounds 3 --steps 20"],
    "benchmarks.read.overview": ["--layers 50 --steps 2 --rounds 1 --databases sqlite"],
    "benchmarks.read.read_latency": ["--records 20000 --rounds 1 --databases sqlite"],
    "benchmarks.startup.processor_time": ["--rounds 1"],
    "benchmarks.webhooks.fan_out": ["--rounds 1 --alerts 1 --databases sqlite"],
    "benchmarks.webhooks.isolation": ["--rounds 1 --others 2 --failures failing"],
    "benchmarks.webhooks.volume": ["--layers 2"],
    "research.corpus.collect": ["--list"],
    "research.figures.draw": ["--from {corpus} --to {output}"],
    "research.fitting.forecast": ["--from {corpus} --folds 2"],
    "research.fitting.risk": ["--from {corpus} --folds 2"],
    "research.remedies.asymmetric_init": ["--nets 2 --steps 2 --tasks 1"],
    "research.remedies.compare": ["--only tiny --draws 1 --from {trained} --keep {output}"],
    "research.scoring.ablation": ["--from {corpus} --only risk --only active"],
    "research.scoring.born_dead": ["--nets 20 --curves 20"],
    "research.scoring.check_recipes": ["--only 'mlp rmsprop tiny'"],
    "research.scoring.cost": ["--rounds 1 --layers 1 --units 64 512"],
    "research.scoring.end_to_end": [
        "--only 'mlp rmsprop tiny' --seeds 1 --every 100 --keep {output} --compare {trained}"
    ],
    "research.scoring.false_alarm_rate": ["--runs 1 --settings 1 --steps 20"],
    "research.scoring.forecasts": ["--from {corpus}"],
    "research.scoring.kinds": ["--from {trained} --runs --split kinds"],
    "research.scoring.lead_time": ["--from {corpus}"],
    "research.scoring.messages": ["--from {corpus}", "--from {corpus} --examples"],
    "research.scoring.sampling": ["--from {trained} --keep {output} --only 'every 50'"],
    "research.scoring.score": ["--from {corpus} --runs"],
}
RUNS = [(module, arguments) for module, lines in TINY.items() for arguments in lines]


def documented_commands() -> Iterator[tuple[str, str]]:
    """Yield document and command, without prompt, comment and what is piped to another program."""
    for document in DOCUMENTS:
        for block, span in CODE.findall(document.read_text(encoding="utf-8")):
            for line in block.splitlines() if block else [" ".join(span.split())]:
                for part in re.split(r"&&|\||;| > ", re.sub(r"(^|\s)#.*", "", line)):
                    command = PREFIX.sub("", part.strip())
                    if COMMAND.match(command):
                        yield str(document.relative_to(ROOT)), command


COMMANDS = sorted(set(documented_commands()))


def command_modules(*packages: str) -> list[str]:
    """Return the modules with a command line."""
    modules = []
    for package in packages:
        for file in sorted((ROOT / package).rglob("*.py")):
            if "\ndef main(arguments" in file.read_text(encoding="utf-8"):
                modules.append(".".join(file.relative_to(ROOT).with_suffix("").parts))
    return modules


MODULES = command_modules("benchmarks", "research", "tests/chaos")


def words_of(command: str) -> list[str]:
    """Return the words of a command; an ellipsis is a placeholder, brackets of optional parts are dropped."""
    text = command.replace('"…"', PLACEHOLDER).replace("…", PLACEHOLDER)
    return shlex.split(re.sub(r"[\[\]]", " ", text))


def parser_of(module: str) -> argparse.ArgumentParser:
    parser = importlib.import_module(module).parser()
    parser.exit_on_error = False
    return parser


def check_arguments(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Fail where a parser does not take the arguments; placeholders (N, DIR, TEXT) stand for valid values."""
    values = [re.sub(r"^(N|DIR|TEXT|RUN)$", "1", argument) for argument in arguments]
    try:
        parser.parse_args(values)
    except (SystemExit, argparse.ArgumentError) as error:
        pytest.fail(f"{' '.join(arguments)}: {error}")


@pytest.mark.parametrize(("document", "command"), COMMANDS)
def test_a_documented_command_and_its_options_exist(document, command):
    program, *arguments = words_of(command)
    if program == "python" and arguments[0] == "-m":
        module = arguments[1]
        if module == "research":
            assert len(arguments) == 2, "name the command's own module"
            return
        assert module in MODULES, f"{document}: there is no command {module}"
        check_arguments(parser_of(module), arguments[2:])
    elif program == "python":
        assert (ROOT / arguments[0]).is_file(), document
        source = (ROOT / arguments[0]).read_text(encoding="utf-8")
        assert all(option in source for option in OPTION.findall(command)), document
    elif program == "relumine":
        check_sdk_command(arguments)
    else:
        check_server_command(arguments)


def check_sdk_command(arguments: Sequence[str]) -> None:
    parser = sdk_cli._parser()
    (subparsers,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    assert arguments[0] in subparsers.choices, f"relumine has no command {arguments[0]}"
    options = set(subparsers.choices[arguments[0]]._option_string_actions)
    assert set(OPTION.findall(" ".join(arguments))) <= options


def check_server_command(arguments: Sequence[str]) -> None:
    command = typer.main.get_command(server_cli)
    rest = list(arguments)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"relumine-server has no command {name}"
        command = command.commands[name]
        if not rest:
            return
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert set(OPTION.findall(" ".join(rest))) <= options


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_documented_path_exists(document):
    text = re.sub(r"^```text\n.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    missing = [path for path in PATH.findall(text) if not (ROOT / path.rstrip(".")).exists()]  # output names runs
    assert not missing


@pytest.mark.parametrize("module", MODULES)
def test_a_docstring_names_its_own_command_and_its_own_options(module):
    lines = [line for line in importlib.import_module(module).__doc__.splitlines() if line.startswith("    ")]
    usage = "\n".join(lines)
    if module != "tests.chaos.training_script":  # started by other rigs only
        assert f"python -m {module}" in usage
    named = set(re.findall(r"python -m (\S+)", usage))
    assert named <= {module}
    assert set(OPTION.findall(usage)) <= set(parser_of(module)._option_string_actions)


def test_every_command_of_benchmarks_and_research_is_run_here():
    assert [*TINY] == command_modules("benchmarks", "research")


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run ``python -m module arguments`` from the root of the repository."""
    with tempfile.TemporaryDirectory(prefix="relumine-commands-") as folder:
        Path(folder).chmod(0o755)  # Postgres runs as another user
        variables = environment(TMPDIR=folder, RELUMINE_DIR=f"{folder}/spool", OMP_NUM_THREADS="1")
        yield lambda module, *arguments: PROGRAMS.run(["-m", module, *arguments], cwd=ROOT, env=variables)


@pytest.fixture(scope="module")
def simulated_corpus(tmp_path_factory) -> Path:
    from tests.helpers.synthetic_corpus import store_corpus  # imports scipy, which only this worker needs

    folder = tmp_path_factory.mktemp("simulated")
    store_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def trained_corpus(tmp_path_factory, run) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    for split, name in COLLECTED.items():
        result = run("research.corpus.collect", "--split", split, "--only", name, "--seeds", "1", "--keep", folder)
        assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.parametrize(("module", "arguments"), RUNS, ids=[f"{module} {arguments}" for module, arguments in RUNS])
def test_a_command_runs(module, arguments, run, request, tmp_path):
    if CORPUS in arguments:
        arguments = arguments.replace(CORPUS, str(request.getfixturevalue("simulated_corpus")))
    if TRAINED in arguments:
        arguments = arguments.replace(TRAINED, str(request.getfixturevalue("trained_corpus")))
    result = run(module, *shlex.split(arguments.replace(OUTPUT, str(tmp_path))))
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert output.strip()
    assert "Traceback" not in output


def test_the_list_of_research_commands_is_complete(run):
    listed = run("research").stdout
    assert all(module.removeprefix("research.") in listed for module in command_modules("research"))
