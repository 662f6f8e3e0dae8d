"""constraints.txt, environment.yml and pyproject.toml say the same, and so does what is installed."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [Requirement(line) for line in (*PROJECT["dependencies"], *(r for rs in EXTRAS.values() for r in rs))]


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in found)
    by_name = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in found}
    assert len(by_name) == len(found) > 100
    return by_name


def test_every_direct_dependency_is_pinned_within_its_range():
    pinned = pins()
    assert len(DIRECT) > 20
    for need in DIRECT:
        assert pinned[canonicalize_name(need.name)] in need.specifier, need


def test_every_indirect_dependency_is_pinned():
    pinned, seen, ahead = pins(), set(), list(DIRECT)
    while ahead:
        need = ahead.pop()
        name = canonicalize_name(need.name)
        if (name, *sorted(need.extras)) in seen or name.startswith(("nvidia-", "cuda-")) or name == "triton":
            continue  # torch pins the libraries of its CUDA build itself
        seen.add((name, *sorted(need.extras)))
        assert name in pinned, f"{need} is not pinned"
        assert pinned[name] in need.specifier, need
        try:
            inner = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        for line in map(Requirement, inner):
            wanted = [{"extra": extra} for extra in ("", *need.extras)]
            if line.marker is None or any(line.marker.evaluate(case) for case in wanted):
                ahead.append(line)
    assert len(seen) > 100


def test_what_is_installed_is_what_is_pinned():
    pinned = pins()
    present = {canonicalize_name(d.name): d.version for d in importlib.metadata.distributions()}
    compared = {name for name in pinned if name in present}
    different = {n: present[n] for n in compared if Version(present[n]).public != pinned[n]}
    assert different == {} and len(compared) > 100


def test_torch_is_pinned_without_a_build_tag():
    assert "torch==2.13.0" in PROJECT["dependencies"] and pins()["torch"] == "2.13.0"


def test_the_stop_button_gets_the_kernel_it_needs():
    [kernel] = [need for need in DIRECT if need.name == "ipykernel"]
    assert "7.4.0" in kernel.specifier and "7.3.9" not in kernel.specifier


def test_conda_users_get_the_same_set():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    *conda, last = environment["dependencies"]
    python = next(line for line in conda if line.startswith("python="))
    assert python.removeprefix("python=") in SpecifierSet(PROJECT["requires-python"])
    # conda itself brings only Python and pip, so no second list of names and versions can go astray
    assert conda == [python, "pip"]
    constraint, package = last["pip"]
    assert constraint == "-c constraints.txt" and (ROOT / constraint.split()[1]).is_file()
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", package)[1].split(",")
    assert {"test", "quantizers", "cluster"} <= set(extras) <= EXTRAS.keys()


def test_licence_and_citation_agree_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == PROJECT["license"] == "MIT" and citation["version"] == PROJECT["version"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    assert f"## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Huang", "Wang", "Xia"]


def test_shell_scripts_parse_and_are_executable():
    for name in ("lab", ".ci/run"):
        script = ROOT / name
        assert script.stat().st_mode & 0o111 and script.read_text().startswith("#!/usr/bin/env bash\n")
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_only_code_is_formatted():
    command = [str(Path(sys.executable).with_name("ruff")), "format", "--check", "--force-exclude", "--no-cache"]
    done = subprocess.run([*command, "README.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "README.md" not in done.stdout, done.stdout


def test_no_index_is_named_but_pytorchs_own():
    names = ["constraints.txt", "environment.yml", "pyproject.toml", "lab", ".ci/run", ".github/workflows/checks.yml"]
    text = "\n".join((ROOT / name).read_text() for name in names)
    urls = re.findall(r"https?://[^\s\"']+|--find-links|--extra-index-url", text)
    assert urls == ["https://download.pytorch.org/whl/cpu"]
