"""Nothing in the packages can run what a file or a packet says: no pickle, no eval, no shell; and the parts are known.

It looks at the syntax of every module, so that an alias does not hide an import.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PACKAGES = ("monitor", "models", "export", "benchmarks")
HARMLESS = frozenset({"UnpicklingError", "PicklingError", "PickleError"})
"""What may be taken of pickle: names for what others raise."""
MODULES = frozenset({"cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"})
CALLS = frozenset({"eval", "exec", "compile", "__import__", "os.system", "os.popen", "commands.getoutput"})
LOADERS = frozenset({"torch.load", "pandas.read_pickle", "pd.read_pickle", "yaml.load", "yaml.unsafe_load"})


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a call's function; empty where it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def constant(call: ast.Call, name: str) -> object:
    """Value of a keyword that is written out; None where it is left out or not written out."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else None
    return None


def findings(text: str, where: str) -> Iterator[str]:
    """What must not be there, one line each."""
    aliases: dict[str, str] = {}
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                aliases[item.asname or item.name.partition(".")[0]] = (
                    item.name if item.asname else item.name.partition(".")[0]
                )
                if item.name.partition(".")[0] in MODULES:
                    yield f"{where}:{node.lineno}: imports {item.name}"
        elif isinstance(node, ast.ImportFrom):
            for item in node.names:
                aliases[item.asname or item.name] = f"{node.module}.{item.name}"
            taken = {item.name for item in node.names}
            if (node.module or "").partition(".")[0] in MODULES or (node.module == "pickle" and taken - HARMLESS):
                yield f"{where}:{node.lineno}: imports {node.module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            module = aliases.get(dotted(node.value))
            if module == "pickle" and node.attr not in HARMLESS:
                yield f"{where}:{node.lineno}: uses pickle.{node.attr}"
        if not isinstance(node, ast.Call):
            continue
        first, dot, rest = dotted(node.func).partition(".")
        name = aliases.get(first, first) + dot + rest
        allow_pickle = constant(node, "allow_pickle")
        given = {keyword.arg for keyword in node.keywords}
        if name in CALLS:
            yield f"{where}:{node.lineno}: calls {name}"
        elif name in LOADERS and constant(node, "weights_only") is not True:
            yield f"{where}:{node.lineno}: {name} without weights_only=True"
        elif "allow_pickle" in given and allow_pickle is not False:
            yield f"{where}:{node.lineno}: {name} with allow_pickle"
        elif "shell" in given and constant(node, "shell") is not False:
            yield f"{where}:{node.lineno}: {name} with a shell"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_can_be_made_to_run_data(repository: Path, package: str) -> None:
    files = sorted((repository / package).rglob("*.py"))
    assert files
    found = [line for path in files for line in findings(path.read_text(encoding="utf-8"), str(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(x)",
        "import pickle as p\nload = p.load",
        "from pickle import Unpickler",
        "from cloudpickle import loads",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=flag)",
        "import torch as t\nt.load('x')",
        "from torch import load as get\nget('x', weights_only=False)",
        "eval('1')",
        "import yaml\nyaml.load(x)",
        "import subprocess as s\ns.run('x', shell=True)",
        "from os import system\nsystem('x')",
    ],
)
def test_the_search_finds_what_it_looks_for(text: str) -> None:
    assert list(findings(text, "x"))


def test_the_search_lets_pass_what_is_safe() -> None:
    text = "import torch, re, numpy as np\ntorch.load(p, weights_only=True)\nre.compile('x')\n"
    text += "import pickle\ntry: pass\nexcept pickle.UnpicklingError: pass\nnp.load(p, allow_pickle=False)"
    assert not list(findings(text, "x"))


# -- the parts we are made of -----------------------------------------------------------------------------------------


def project(repository: Path) -> list[Requirement]:
    """What pyproject names for running the monitor, sound and WFDB included."""
    content = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = content["optional-dependencies"]
    return [Requirement(text) for text in [*content["dependencies"], *extras["sound"], *extras["wfdb"]]]


def installed(requirement: Requirement) -> metadata.Distribution | None:
    try:
        return metadata.distribution(requirement.name)
    except metadata.PackageNotFoundError:
        return None


def test_what_is_installed_is_what_pyproject_allows(repository: Path) -> None:
    """Every runtime dependency, and whatever these pull in, lies inside the ranges that are asked for."""
    wrong: list[str] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [("pain-monitor", requirement) for requirement in project(repository)]
    while waiting:
        by, requirement = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = installed(requirement)
        if found is None:
            wrong.append(f"{requirement} of {by} is not installed")
            continue
        if not requirement.specifier.contains(found.version, prereleases=True):
            wrong.append(f"{requirement} of {by}, but {found.version} is installed")
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            waiting += [(requirement.name, Requirement(text)) for text in found.requires or ()]
    assert len(seen) > 20
    assert not wrong, "\n".join(wrong)


def test_no_version_is_installed_that_is_known_to_be_bad(repository: Path) -> None:
    """The list stands in docs/security.md, for people; this keeps to it."""
    text = (repository / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \|$", text, re.MULTILINE)
    bad = [Requirement(row) for row in rows]
    assert {"pyside6-essentials", "asyncio-mqtt", "torch"} <= {canonicalize_name(item.name) for item in bad}
    for requirement in bad:
        found = installed(requirement)
        if found is not None:
            assert Version(found.version) not in requirement.specifier, f"{requirement} is installed"
