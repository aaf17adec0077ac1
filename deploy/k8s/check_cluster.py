"""Check whether kubectl's cluster has what an overlay needs, before anything is applied.

    python3 check_cluster.py local|production

It renders the overlay, so a missing choice is reported, too. Nothing is changed.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

MINIMUM = (1, 30)
"""`preStop.sleep` of gateway and push: older servers do not know the field, or drop it."""

OVERLAYS = Path(__file__).parent / "overlays"


class CheckFailed(Exception):
    """kubectl failed; the message is its error output."""


def main() -> None:
    """Exit with 1 after naming each thing that is missing."""
    names = sorted(folder.name for folder in OVERLAYS.iterdir())
    if len(sys.argv) != 2 or sys.argv[1] not in names:
        sys.exit(__doc__)
    try:
        found = problems(OVERLAYS / sys.argv[1])
    except (CheckFailed, FileNotFoundError) as error:
        sys.exit(f"check_cluster: {error}")
    if found:
        sys.exit("\n".join(f"check_cluster: {problem}" for problem in found))
    print(f"The cluster has what the overlay {sys.argv[1]} needs.")  # noqa: T201


def problems(overlay: Path) -> list[str]:
    """Return a message for each problem that prevents the overlay from running."""
    return [*_version_problems(), *_choice_problems(overlay / "choices.env"), *_type_problems(overlay)]


def _version_problems() -> list[str]:
    server = json.loads(_kubectl("version", "--output", "json"))["serverVersion"]
    # Providers write such as "30+".
    version = int(server["major"]), int(server["minor"].rstrip("+"))
    if version < MINIMUM:
        needed = "{}.{}".format(*MINIMUM)
        return [f"Kubernetes is {server['gitVersion']}; {needed} or newer is needed, for preStop.sleep."]
    return []


def _choice_problems(choices: Path) -> list[str]:
    text = choices.read_text() if choices.exists() else ""
    return [f"{choices.name}: {name} is empty." for name in re.findall(r"^([A-Z_]+)=\s*$", text, re.M)]


def _type_problems(overlay: Path) -> list[str]:
    needed = set(re.findall(r"^apiVersion: (\S+)$", _kubectl("kustomize", str(overlay)), re.M))
    missing = sorted(needed - set(_kubectl("api-versions").split()))
    return [
        f"The cluster does not know {version}: install what defines it, or leave its component out."
        for version in missing
    ]


def _kubectl(*arguments: str) -> str:
    result = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CheckFailed(result.stderr.strip())
    return result.stdout


if __name__ == "__main__":
    main()
