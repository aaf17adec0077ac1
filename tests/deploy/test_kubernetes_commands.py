"""The commands on our pages fit the manifests: what they name exists where they look, in an order that works."""

import functools
import re
from pathlib import Path

import pytest

from tests.deploy.support import commands, dockerfile, kubernetes
from tests.deploy.support.commands import Command
from tests.deploy.support.kubernetes import K8S, overlay
from tests.deploy.support.paths import DEPLOY, ROOT
from tests.deploy.test_secrets import kubernetes_secrets

pytestmark = pytest.mark.timeout(400)

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(DEPLOY.rglob("*.md"))]
COMMANDS = [command for page in PAGES for command in commands.of_page(page)]
KUBECTL = [command for command in COMMANDS if command.words[0] == "kubectl"]
README = K8S / "README.md"
LOCAL, AGAIN, CHOICES, PUSH, PRODUCTION, UPGRADE = range(1, 7)
"""The blocks of deploy/k8s/README.md."""


def block(number: int) -> str:
    """A block of the README of deploy/k8s; the first is its table of contents."""
    text = re.findall(r"```(?:sh)?\n(.*?)```", README.read_text(), re.S)[number]
    return commands.unrolled(str(text))


def names(command: Command) -> str:
    return f"{command.page.relative_to(ROOT)}: {command.text}"


def test_the_pages_have_commands() -> None:
    assert len(KUBECTL) > 20
    assert {command.page.name for command in KUBECTL} == {"README.md", "operations.md"}


def is_about_the_cluster(command: Command) -> bool:
    """Whether a command is about what has no namespace, or about none of the cluster at all."""
    match command.words[1:]:
        case ("version" | "api-versions" | "kustomize", *_):
            return True
        case ("label" | "create", "namespace", *_):
            return True
        case ("apply", *_):
            return [Path(file).name for file in command.option("--filename", "-f")] == ["namespace.yaml"]
    return False


@pytest.mark.parametrize("command", KUBECTL, ids=names)
def test_a_command_names_its_namespace(command: Command) -> None:
    expected = [] if is_about_the_cluster(command) else ["parley"]
    assert command.option("--namespace", "-n") == expected


@pytest.mark.parametrize("command", KUBECTL, ids=names)
def test_a_command_names_files_that_there_are(command: Command) -> None:
    files = command.option("--filename", "-f", "--kustomize", "-k")
    files += [word for word in command.arguments() if word.startswith("deploy/")]
    for file in files:
        if command.page == README and file == "parley.yaml":
            assert "> parley.yaml" in block(UPGRADE), "written by the line before"
        elif file != "-":
            assert (ROOT / file).exists()


@functools.cache
def known_objects() -> set[tuple[str, str]]:
    found = {
        (resource["kind"].lower(), resource["metadata"]["name"])
        for name in ("local", "production")
        for resource in overlay(name)
    }
    # Made by operators and charts from what we give them.
    found |= {("service", "postgres-rw")} | {("secret", name) for name in kubernetes_secrets()}
    return found


@pytest.mark.parametrize("command", KUBECTL, ids=names)
def test_a_command_names_objects_that_there_are(command: Command) -> None:
    words = command.arguments()
    named = [tuple(word.split("/", 1)) for word in words if re.fullmatch(r"[a-z]+/[a-z-]+", word)]
    if words[0] in ("get", "delete", "scale", "annotate") and "/" not in words[1]:
        kind = {"pods": "pod"}.get(words[1], words[1])
        named += [(kind, name) for name in words[2:] if "=" not in name and not name.endswith("-") and name != "{"]
    assert set(named) <= known_objects()


@pytest.mark.parametrize(
    "command", [command for command in KUBECTL if command.words[1] == "port-forward"], ids=lambda c: c.text
)
def test_a_forward_leads_to_a_port_that_there_is(command: Command) -> None:
    target, port = command.arguments()[1:]
    resources = [resource for name in ("local", "production") for resource in overlay(name)]
    ports = {
        (f"service/{resource['metadata']['name']}", str(port["port"]))
        for resource in resources
        if resource["kind"] == "Service"
        for port in resource["spec"]["ports"]
    } | {
        (f"deployment/{resource['metadata']['name']}", str(port["containerPort"]))
        for resource in resources
        if resource["kind"] == "Deployment"
        for container in resource["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports", ())
    }
    assert (target, port) in ports | {("service/postgres-rw", "5432")}


@pytest.mark.parametrize(
    "command", [command for command in KUBECTL if command.option("--selector", "-l")], ids=lambda c: c.text
)
def test_a_selector_selects(command: Command) -> None:
    (selector,) = command.option("--selector", "-l")
    match = re.fullmatch(r"([\w./]+)=([\w-]+)|([\w./]+) in \(([\w,-]+)\)", selector)
    assert match is not None
    key, values = match[1] or match[3], (match[2] or match[4]).split(",")
    labels = [
        resource.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
        | resource["metadata"]["labels"]
        for resource in overlay("production")
        if resource["metadata"].get("labels")
    ]
    assert {each.get(key) for each in labels} >= set(values)


def in_order(text: str, *parts: str) -> None:
    """Fail unless each of ``parts`` (regular expressions) stands in ``text``, one after the other."""
    place = 0
    for part in parts:
        match = re.compile(part, re.M).search(text, place)
        assert match is not None, f"missing after what stands before it: {part}"
        place = match.end()


def test_the_quick_start_on_kind_is_complete() -> None:
    in_order(
        block(LOCAL),
        r"^make setup$",
        r"^kind create cluster --name parley$",
        r"check_cluster\.py local$",
        r"docker build ",
        r"kind load docker-image ",
        r"^kubectl apply --filename \S+/local/namespace\.yaml$",
        r"make_secrets\.py kubernetes \| kubectl apply ",
        r"^kubectl apply --namespace parley --kustomize deploy/k8s/overlays/local$",
        r"^kubectl wait .*job/migrate",
        r"^kubectl wait .*--for=condition=available deployment --all",
        r"^kubectl port-forward .*service/push 8001 &$",
        r"^kubectl port-forward .*service/gateway 8000$",
    )


def images(name: str) -> set[str]:
    """Our images that an overlay runs."""
    found = set()
    for resource in overlay(name):
        if resource["kind"] in ("Deployment", "StatefulSet", "Job"):
            pod = resource["spec"]["template"]["spec"]
            found |= {each["image"] for each in [*pod["containers"], *pod.get("initContainers", [])]}
    return {image for image in found if "parley-" in image}


def test_the_quick_start_builds_and_loads_what_the_overlay_runs() -> None:
    here = [command for command in COMMANDS if command.page == README]
    _, stages = dockerfile.read(ROOT / "Dockerfile")
    builds = [c for c in here if c.words[:2] == ("docker", "build") and c.option("--tag")[0].endswith(":local")]
    assert {command.option("--tag")[0] for command in builds} == images("local")
    for command in builds:
        (target,) = command.option("--target")
        assert target in stages
        assert command.option("--tag") == [f"parley-{target}:local"]
        assert command.words[-1] == "."
    loads = [command for command in here if command.words[:2] == ("kind", "load")]
    assert {command.arguments()[-1] for command in loads} == images("local")
    clusters = {name for command in here if command.words[0] == "kind" for name in command.option("--name")}
    assert clusters == {"parley"}


def test_production_builds_and_pushes_what_the_overlay_runs() -> None:
    chosen = kubernetes.CHOICES
    text = block(PUSH).replace("$IMAGES", chosen["IMAGES"]).replace("$VERSION", chosen["VERSION"])
    assert "\n. deploy/k8s/overlays/production/choices.env\n" in text
    assert set(re.findall(r"--tag (\S+) \.$", text, re.M)) == images("production")
    assert set(re.findall(r"^\s*docker push (\S+)$", text, re.M)) == images("production")


def test_production_is_installed_in_an_order_that_works() -> None:
    in_order(block(CHOICES), r"^cp \S+/choices\.env\.example \S+/choices\.env$", r"check_cluster\.py production$")
    in_order(
        block(PRODUCTION),
        r"^kubectl apply --filename \S+/production/namespace\.yaml$",
        r"make_secrets\.py kubernetes postgres-rw:5432 \| kubectl apply ",
        r"^helm repo add nats https://\S+$",
        r"^helm upgrade --install nats nats/nats --namespace parley --values deploy/k8s/nats/values\.yaml$",
        r"^kubectl apply --namespace parley --kustomize deploy/k8s/overlays/production$",
        r"^kubectl wait .*job/migrate",
    )
    assert (ROOT / "deploy" / "k8s" / "nats" / "values.yaml").exists()
    in_order(
        block(UPGRADE),
        r"make_secrets\.py kubernetes \| kubectl apply ",
        r"rollout restart .*statefulset/nats$",
        r"rollout status .*statefulset/nats ",
        r"delete job migrate",
        r"--selector parley/step=migrate$",
        r"wait .*job/migrate",
        r"apply ",
    )
    in_order(block(AGAIN), r"delete job migrate", r"--kustomize deploy/k8s/overlays/local$", r"rollout restart")


def test_the_repository_of_a_chart_is_added_before_helm_installs_it() -> None:
    for command in COMMANDS:
        if command.words[:2] in (("helm", "install"), ("helm", "upgrade")):
            repository = next(word for word in command.arguments() if "/" in word).split("/")[0]
            before = COMMANDS[: COMMANDS.index(command)]
            assert any(c.words[:4] == ("helm", "repo", "add", repository) and c.page == command.page for c in before)
            assert command.option("--namespace") == ["parley"]


def test_the_page_says_what_was_not_run() -> None:
    assert "None of it has run on a cluster" in " ".join(README.read_text().split())
