"""Install one project of the workspace, with what it needs and nothing else, into a folder that an image can copy.

    python install.py packages TARGET NAME...         packages of other people, and what they need
    python install.py dependencies PROJECT TARGET     what the project and `shared` need, from the pyproject files
    python install.py project PROJECT TARGET TOOLS    the project and `shared` themselves

Run from the workspace's root; standard library and pip only. What is needed is resolved by pip within the versions of
``requirements.lock``, and each file that was installed must have one of the lock's hashes. (pip checks hashes by itself
only for a complete list, and the lock lists what all services need together.) Own code goes in as wheels, so that an
image holds no source tree. All bytecode is compiled: a container's root file system is read-only. The steps are apart
so that a change of code does not install the dependencies anew.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OWN = "parley-"


def main() -> None:
    match sys.argv[1:]:
        case ["packages", target, *names] if names:
            install(Path(target), names)
        case ["dependencies", project, target]:
            folders = closure(ROOT / project)
            install(Path(target), sorted({need for folder in folders for need in third_party(folder)}))
        case ["project", project, target, tools]:
            install_own(closure(ROOT / project), Path(target), Path(tools))
        case _:
            sys.exit(__doc__)


def install(target: Path, needs: list[str]) -> None:
    """Make a virtual environment of ``needs`` and all that they need; pip itself stays outside."""
    entries = read_lock((ROOT / "requirements.lock").read_text())
    venv.create(target, with_pip=False, symlinks=True)
    with tempfile.TemporaryDirectory() as folder:
        constraints, report = Path(folder) / "constraints.txt", Path(folder) / "report.json"
        constraints.write_text("\n".join(entry.partition(" \\")[0] for entry in entries.values()))
        pip(
            target,
            *("install", "--only-binary", ":all:", "--no-compile"),
            *("--constraint", str(constraints), "--report", str(report), *needs),
        )
        check(json.loads(report.read_text())["install"], entries)
    compile_all(target)


def check(installed: list[dict[str, Any]], entries: dict[str, str]) -> None:
    """End the build unless each file that was installed is one that the lock names. Wheels run no code until then."""
    for item in installed:
        name = item["metadata"]["name"]
        sha256 = item["download_info"]["archive_info"]["hashes"]["sha256"]
        if f"--hash=sha256:{sha256}" not in entries.get(normalised(name), ""):
            sys.exit(
                f"{name}: the file installed is not one of requirements.lock. Run `make lock` if that is intended."
            )


def install_own(folders: list[Path], target: Path, tools: Path) -> None:
    """Build the projects into wheels and install them; their dependencies are there already."""
    build = "import sys, hatchling.build as backend; backend.build_wheel(sys.argv[1])"
    with tempfile.TemporaryDirectory() as wheels:
        for folder in folders:
            subprocess.run([str(tools / "bin" / "python"), "-c", build, wheels], cwd=folder, check=True)
        built = map(str, sorted(Path(wheels).glob("*.whl")))
        pip(target, "install", "--no-deps", "--no-index", "--no-compile", "--force-reinstall", *built)
    compile_all(target)


def read_lock(text: str) -> dict[str, str]:
    """Return the entries of a requirements file by normalised name, hashes included."""
    entries = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        match = re.match(r"([A-Za-z0-9._-]+)==", entry)
        if match:
            entries[normalised(match[1])] = entry
    return entries


def closure(project: Path) -> list[Path]:
    """Return the project and the projects of the workspace that it needs."""
    found: list[Path] = []
    todo = [project]
    while todo:
        folder = todo.pop()
        if folder not in found:
            found.append(folder)
            own = [name for need in dependencies(folder) if (name := name_of(need)).startswith(OWN)]
            todo += [folder_of(name.removeprefix(OWN)) for name in own]
    return found


def folder_of(name: str) -> Path:
    places = {"shared": "shared", "cli": "cli", "client": "clients/python"}
    return ROOT / places.get(name, f"services/{name}")


def third_party(folder: Path) -> list[str]:
    return [need for need in dependencies(folder) if not name_of(need).startswith(OWN)]


def dependencies(folder: Path) -> list[str]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return [str(need) for need in project["dependencies"]]


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return normalised(match[0])


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pip(prefix: Path, *arguments: str) -> None:
    """Run this interpreter's pip on the environment at ``prefix``."""
    python = prefix / "bin" / "python"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *arguments, *quiet], check=True)


def compile_all(target: Path) -> None:
    # With a hash that nobody checks: no look at the source's time stamp at each import.
    options = ["-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([str(target / "bin" / "python"), "-m", "compileall", *options, str(target / "lib")], check=True)


if __name__ == "__main__":
    main()
