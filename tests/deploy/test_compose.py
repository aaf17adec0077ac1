"""The rules that docker-compose.yml keeps."""

import json
import re
import subprocess
from typing import Any

import compose_spec
import pytest

from parley.runtime.forwarded import TrustedProxies
from tests.deploy.support import compose, dockerfile, settings
from tests.deploy.support.paths import DEPLOY, ROOT
from tests.deploy.support.settings import CONFIGURABLE, MODELS, SIGN_IN_SECRETS

DOCUMENT = compose.load()
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
OURS = ["gateway", "chat-store", "llm-worker", "push"]
ONE_SHOTS = ["secrets", "migrate", "ollama-pull"]
BUILT = {name: definition for name, definition in SERVICES.items() if "build" in definition}
COMMANDS = [*ONE_SHOTS, "operator"]


def test_it_is_a_valid_compose_file() -> None:
    # The reader knows addresses alone; Docker also knows the name of the machine that it runs on.
    text = json.dumps(DOCUMENT).replace("host-gateway", "192.0.2.1")
    document = {key: value for key, value in json.loads(text).items() if not key.startswith("x-")}
    assert sorted(compose_spec.PyCompose.from_json(json.dumps(document)).service_names()) == sorted(SERVICES)


def test_the_operators_image_is_built_with_the_services_and_started_by_run_alone() -> None:
    # Of an older version, it would make backups without what is new, and restore an older schema.
    assert "profiles" not in SERVICES["operator"]
    assert SERVICES["operator"]["scale"] == 0


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_names_only_what_there_is(service: str) -> None:
    definition = SERVICES[service]
    assert set(definition.get("networks", [])) <= set(DOCUMENT["networks"])
    assert set(definition.get("depends_on", [])) <= set(SERVICES)
    for volume in definition.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in DOCUMENT["volumes"]
    for watch in definition.get("develop", {}).get("watch", []):
        assert (ROOT / watch["path"]).exists()


def test_an_image_of_ours_is_built_once_from_its_stage() -> None:
    _, stages = dockerfile.read(ROOT / "Dockerfile")
    for name, definition in BUILT.items():
        assert definition["build"]["target"] in stages, name
    images = [definition["image"] for definition in BUILT.values()]
    assert len(images) == len(set(images))
    assert {each["image"] for each in SERVICES.values() if each["image"].startswith("parley-")} == set(images)


def test_two_installations_on_one_machine_have_images_of_their_own() -> None:
    other = compose.load({"COMPOSE_PROJECT_NAME": "other"})["services"]
    assert all(other[name]["image"].startswith("other-") for name in BUILT)


def test_no_file_of_ours_is_mounted_where_compose_would_not_see_that_it_changed() -> None:
    assert "configs" not in DOCUMENT
    for name in set(SERVICES) - {"page"}:
        assert not [volume for volume in SERVICES[name].get("volumes", []) if volume.startswith(".")], name


def test_what_is_depended_on_never_changes_or_starts_once() -> None:
    # Compose before 2.27 restarts whatever depends on what it restarts.
    for name in [*OURS, "nats", "postgres", "proxy", "demo-model"]:
        assert set(SERVICES[name].get("depends_on", {})) <= {"secrets", "migrate"}, name
    assert [name for name in SERVICES if "migrate" in SERVICES[name].get("depends_on", {})] == ["chat-store"]
    assert SERVICES["migrate"]["image"] == SERVICES["chat-store"]["image"]
    assert "environment" not in SERVICES["secrets"]


def test_an_image_of_others_is_pinned() -> None:
    for definition in SERVICES.values():
        if not definition["image"].startswith("parley-"):
            assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?|postgres:18-bookworm", definition["image"])


def test_what_runs_with_nothing_set_needs_no_profile() -> None:
    running = {name for name, each in SERVICES.items() if not each.get("profiles") and each.get("scale") != 0}
    assert running == {*OURS, "secrets", "migrate", "nats", "postgres", "proxy", "demo-model"}


@pytest.mark.parametrize("service", sorted(set(SERVICES) - set(COMMANDS) - {"postgres", "ollama", "page"}))
def test_a_service_can_do_little_harm(service: str) -> None:
    definition = SERVICES[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in definition["security_opt"]
    assert definition["restart"] == "unless-stopped"


def test_only_the_proxy_is_reached_from_outside_and_all_else_from_this_machine() -> None:
    for name, definition in SERVICES.items():
        for port in definition.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
    assert compose.load({"PARLEY_ADDRESS": "0.0.0.0"})["services"]["proxy"]["ports"] == ["0.0.0.0:8000:8080"]


def test_the_bus_and_the_database_are_on_a_network_without_a_way_out() -> None:
    assert DOCUMENT["networks"]["back"]["internal"] is True
    assert SERVICES["nats"]["networks"] == ["back"]
    assert SERVICES["postgres"]["networks"] == ["back"]
    assert {name for name, definition in SERVICES.items() if "out" in definition.get("networks", [])} == {
        "llm-worker",
        "demo-model",
        "ollama",
        "ollama-pull",
    }


@pytest.mark.parametrize("service", OURS)
def test_a_service_waits_for_the_migration_and_can_be_scaled(service: str) -> None:
    definition = SERVICES[service]
    assert definition["environment"]["MIGRATION_WAIT"] == "300"
    assert "ports" not in definition
    assert "container_name" not in definition


def test_every_service_has_secrets_of_its_own() -> None:
    for name, definition in SERVICES.items():
        mounted = {volume.split(":")[0] for volume in definition.get("volumes", []) if volume.startswith("secrets")}
        if name == "secrets":
            assert mounted == {volume for volume in DOCUMENT["volumes"] if volume.startswith("secrets")}
        else:
            assert mounted <= {f"secrets-{name}"}, name


def test_no_secret_stands_in_the_file() -> None:
    for name, definition in SERVICES.items():
        for variable, value in compose.environment_of(definition).items():
            if re.search(r"PASSWORD$|SECRET_KEY|API_KEY|NATS_URL|DATABASE_URL", variable):
                assert value == "", f"{name}: {variable}"


@pytest.mark.parametrize("service", [*OURS, "migrate", "demo-model"])
def test_a_process_that_gets_sigterm_while_it_starts_is_not_the_first_of_its_container(service: str) -> None:
    assert SERVICES[service]["init"] is True


def test_a_service_gets_more_time_to_stop_than_it_takes() -> None:
    seconds = {name: _seconds(SERVICES[name]["stop_grace_period"]) for name in [*OURS, "nats"]}
    assert seconds["push"] > float(SERVICES["push"]["environment"]["DRAIN_SECONDS"]) + 5
    assert seconds["llm-worker"] > float(SERVICES["llm-worker"]["environment"]["SHUTDOWN_GRACE"]) + 10
    assert seconds["gateway"] > 10
    assert seconds["chat-store"] > 10
    lame_duck = re.search(r"lame_duck_duration: (\d+)s", (DEPLOY / "nats" / "nats-server.conf").read_text())
    assert lame_duck is not None
    assert seconds["nats"] > int(lame_duck[1])


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    assert match, text
    return 60 * int(match[1] or 0) + int(match[2] or 0)


def choose(service: str, **environment: str) -> dict[str, str]:
    """Run the service's entry point with ``environment`` in compose's; return the program's environment."""
    definition = compose.load(environment)["services"][service]
    shell, *options = definition["entrypoint"]
    output = subprocess.run(
        [shell, *(option.replace("exec python -m", "env; true") for option in options)],
        env=compose.environment_of(definition),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = dict(line.split("=", 1) for line in output.stdout.splitlines())
    names = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "MODEL", "ANY_MODEL", "DEMO", "AUTH_MODES")
    return {name: lines.get(name, "") for name in names}


@pytest.mark.parametrize(
    ("environment", "base_url", "model", "demo"),
    [
        ({}, "http://demo-model:8002/v1", "demo", "true"),
        ({"MODEL": "demo-fast"}, "http://demo-model:8002/v1", "demo-fast", "true"),
        ({"OPENAI_API_KEY": "sk-some"}, "", "", ""),
        ({"OPENAI_BASE_URL": "http://x/v1", "MODEL": "m"}, "http://x/v1", "m", ""),
        ({"COMPOSE_PROFILES": "observability,ollama"}, "http://ollama:11434/v1", "qwen3:0.6b", ""),
        ({"COMPOSE_PROFILES": "ollama", "OLLAMA_MODEL": "some:x"}, "http://ollama:11434/v1", "some:x", ""),
        ({"COMPOSE_PROFILES": "ollama", "OPENAI_API_KEY": "sk-some"}, "", "", ""),
        ({"COMPOSE_PROFILES": "observability"}, "http://demo-model:8002/v1", "demo", "true"),
    ],
)
def test_the_demo_model_answers_until_another_is_set(
    environment: dict[str, str], base_url: str, model: str, demo: str
) -> None:
    for service in ("gateway", "llm-worker"):
        chosen = choose(service, **environment)
        assert (chosen["OPENAI_BASE_URL"], chosen["MODEL"], chosen["DEMO"]) == (base_url, model, demo)
    # As `parley up` has it: the demo model's named behaviours are not listed, and cost nothing.
    assert choose("llm-worker", **environment)["ANY_MODEL"] == demo
    # The key is the worker's alone.
    assert choose("llm-worker", **environment)["OPENAI_API_KEY"] == environment.get("OPENAI_API_KEY", "")
    assert choose("gateway", **environment)["OPENAI_API_KEY"] in ("", "set")


@pytest.mark.parametrize(
    ("environment", "modes"),
    [
        ({}, "guest"),
        ({"PARLEY_ADDRESS": "127.0.0.2"}, "guest"),
        ({"PARLEY_ADDRESS": "[::1]"}, "guest"),
        ({"PARLEY_ADDRESS": "0.0.0.0"}, ""),
        ({"PARLEY_ADDRESS": "192.0.2.7"}, ""),
        ({"PARLEY_ADDRESS": "0.0.0.0", "AUTH_MODES": "guest"}, "guest"),
        ({"AUTH_MODES": "oidc"}, "oidc"),
        # An installation that was closed to guests by the setting's earlier name is not opened by an upgrade.
        ({"GUESTS": "false"}, ""),
    ],
)
def test_guests_are_let_in_by_themselves_where_this_machine_alone_reaches_the_page(
    environment: dict[str, str], modes: str
) -> None:
    assert choose("gateway", **environment)["AUTH_MODES"] == modes


def test_the_example_names_every_variable_and_sets_none() -> None:
    text = (ROOT / ".env.example").read_text()
    named = re.findall(r"^# ([A-Z_]+)=", text, re.M)
    assert sorted(named) == sorted(compose.variables())
    assert not re.findall(r"^[A-Z]", text, re.M)


@pytest.mark.parametrize("service", CONFIGURABLE)
def test_a_setting_of_the_environment_reaches_the_service_that_reads_it(service: str) -> None:
    chosen = CONFIGURABLE[service] | ({"AUTH_MODES": "oidc,jwt,proxy"} if service == "gateway" else {})
    environment = compose.environment_of(compose.load(chosen)["services"][service])
    assert chosen.items() <= settings.read(service, environment).items()


@pytest.mark.parametrize("service", ["gateway", "chat-store"])
def test_the_list_of_models_reaches_both_services_that_read_it(service: str) -> None:
    environment = compose.environment_of(compose.load(MODELS)["services"][service])
    assert MODELS.items() <= settings.read(service, environment).items()


def test_the_secrets_of_sign_in_reach_the_gateway_alone() -> None:
    services = compose.load(SIGN_IN_SECRETS)["services"]
    for name, definition in services.items():
        found = SIGN_IN_SECRETS.items() & compose.environment_of(definition).items()
        assert found == (SIGN_IN_SECRETS.items() if name == "gateway" else set()), name


@pytest.mark.parametrize("service", CONFIGURABLE)
def test_a_setting_that_is_not_set_keeps_its_default(service: str) -> None:
    environment = compose.environment_of(SERVICES[service])
    read = settings.read(service, environment)
    defaults = settings.read(service, {"AUTH_MODES": "guest", "HOST": "0.0.0.0"})
    unchanged = CONFIGURABLE[service].keys() - {"MAX_SOCKETS_PER_ADDRESS"}
    assert {name: read[name] for name in unchanged} == {name: defaults[name] for name in unchanged}


def test_nothing_that_is_shipped_believes_everybody_about_the_clients_address() -> None:
    files = [file for file in DEPLOY.rglob("*") if file.is_file() and "secrets" not in file.parts]
    for file in (*files, ROOT / "docker-compose.yml", ROOT / ".env.example"):
        text = file.read_text(errors="replace")
        assert "FORWARDED_ALLOW_IPS" not in text, file
        for value in re.findall(r"TRUSTED_PROXIES(?:=|: )(?:\$\{TRUSTED_PROXIES:-)?([^\s}]*)", text):
            TrustedProxies(value)
