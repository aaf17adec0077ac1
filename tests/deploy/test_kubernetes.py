"""Our manifests render, are valid by the strict schemas, and keep our rules."""

import copy
import functools
import re
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from parley.contracts import streams
from tests.deploy.support import dockerfile, kubernetes, settings
from tests.deploy.support.delayed_requests import LARGEST_BODY, LONGEST_ANSWER, delayed_paths
from tests.deploy.support.kubernetes import K8S, Resource, overlay
from tests.deploy.support.paths import ROOT
from tests.deploy.support.settings import CONFIGURABLE, MODELS, SETTINGS
from tests.deploy.test_secrets import kubernetes_secrets

pytestmark = pytest.mark.timeout(400)

SERVICES = ["gateway", "chat-store", "llm-worker", "push"]
OVERLAYS = ["local", "production"]
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())


@pytest.fixture(scope="session")
def everything() -> list[Resource]:
    """The base with all components together, patched as the README of gateway-api says."""
    patches = re.search(
        r"```yaml\n(patches:.*?)```", (K8S / "components" / "gateway-api" / "README.md").read_text(), re.S
    )
    assert patches is not None
    components = "\n".join(f"  - ../../components/{name}" for name in COMPONENTS)
    return kubernetes.rendered_beside(
        "everything", f"namespace: parley\nresources:\n  - ../../base\ncomponents:\n{components}\n{patches[1]}"
    )


def workloads(resources: list[Resource]) -> list[Resource]:
    return [resource for resource in resources if resource["kind"] in ("Deployment", "StatefulSet", "Job")]


def pod_of(workload: Resource) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def _validate_strictly(resources: list[Resource]) -> None:
    for resource in resources:
        if not kubernetes.is_custom(resource):
            kubernetes_validate.validate(resource, kubernetes.VERSION, strict=True)


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_valid_by_the_strict_schemas(name: str) -> None:
    _validate_strictly(overlay(name))


def test_all_components_together_are_valid_by_the_strict_schemas(everything: list[Resource]) -> None:
    _validate_strictly(everything)


def test_the_schemas_are_strict() -> None:
    resource = copy.deepcopy(kubernetes.of_kind(overlay("local"), "Deployment")["push"])
    resource["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        _validate_strictly([resource])


def test_custom_resources_are_valid(everything: list[Resource]) -> None:
    custom = [resource for resource in [*overlay("production"), *everything] if kubernetes.is_custom(resource)]
    assert {resource["kind"] for resource in custom} == {
        "Cluster",
        "HTTPRoute",
        "PodMonitor",
        "PrometheusRule",
        "ScaledObject",
    }
    assert kubernetes.crd_problems(custom) == []
    damaged = copy.deepcopy(kubernetes.of_kind(custom, "ScaledObject")["llm-worker"])
    del damaged["spec"]["scaleTargetRef"]
    assert kubernetes.crd_problems([damaged]) != []


def test_custom_resources_have_no_field_that_their_type_does_not_know(everything: list[Resource]) -> None:
    custom = [resource for resource in [*overlay("production"), *everything] if kubernetes.is_custom(resource)]
    assert kubernetes.unknown_fields(custom) == ""
    damaged = copy.deepcopy(kubernetes.of_kind(custom, "HTTPRoute")["parley"])
    damaged["spec"]["rules"][0]["timeout"] = damaged["spec"]["rules"][0].pop("timeouts")
    assert "timeout" in kubernetes.unknown_fields([damaged])


# --- rules for every pod ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_pod_has_no_rights(name: str) -> None:
    accounts = kubernetes.of_kind(overlay(name), "ServiceAccount")
    for workload in workloads(overlay(name)):
        pod = pod_of(workload)
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_container_asks_for_what_it_needs_and_its_memory_is_bounded(name: str) -> None:
    for workload in workloads(overlay(name)):
        for container in pod_of(workload)["containers"]:
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            # A CPU limit would delay tokens and heartbeats.
            assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_serves_has_three_probes(name: str) -> None:
    for workload in workloads(overlay(name)):
        if workload["kind"] != "Job":
            for container in pod_of(workload)["containers"]:
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


def test_liveness_looks_at_the_process_only() -> None:
    deployments = kubernetes.of_kind(overlay("production"), "Deployment")
    for service in SERVICES:
        container = pod_of(deployments[service])["containers"][0]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["startupProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_service_has_its_own_everything(name: str) -> None:
    resources = overlay(name)
    for service in SERVICES:
        for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"):
            assert service in kubernetes.of_kind(resources, kind), (service, kind)
        template = kubernetes.of_kind(resources, "Deployment")[service]["spec"]["template"]
        for selector in (
            kubernetes.of_kind(resources, "Service")[service]["spec"]["selector"],
            kubernetes.of_kind(resources, "PodDisruptionBudget")[service]["spec"]["selector"]["matchLabels"],
        ):
            assert selector.items() <= template["metadata"]["labels"].items()


def test_a_service_is_spread_over_hosts_and_zones() -> None:
    for service in SERVICES:
        constraints = pod_of(kubernetes.of_kind(overlay("production"), "Deployment")[service])[
            "topologySpreadConstraints"
        ]
        assert [each["topologyKey"] for each in constraints] == [
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        ]


def settings_of(resources: list[Resource], workload: Resource) -> dict[str, str]:
    """What a container's ConfigMaps and environment set."""
    maps = kubernetes.of_kind(resources, "ConfigMap")
    container = pod_of(workload)["containers"][0]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]["data"]
    return found | {each["name"]: each["value"] for each in container.get("env", [])}


def image_environment(workload: Resource) -> dict[str, str]:
    """What the image of a workload sets, with its base's."""
    _, stages = dockerfile.read(ROOT / "Dockerfile")
    image = pod_of(workload)["containers"][0]["image"].split("/")[-1].split(":")[0]
    return dockerfile.environment(stages, image.removeprefix("parley-"))


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_pod_gets_more_time_to_stop_than_it_takes(name: str) -> None:
    resources = overlay(name)
    deployments = kubernetes.of_kind(resources, "Deployment")
    variables = {
        "gateway": "SHUTDOWN_SECONDS",
        "chat-store": "SHUTDOWN_GRACE",
        "llm-worker": "SHUTDOWN_GRACE",
        "push": "DRAIN_SECONDS",
    }
    for service, variable in variables.items():
        pod = pod_of(deployments[service])
        before = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        own = float(settings_of(resources, deployments[service])[variable])
        assert pod["terminationGracePeriodSeconds"] >= before + own + 10, service
        if service in ("gateway", "push"):
            assert before > 0, "an endpoint is removed some time after the pod gets SIGTERM"


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_setting_is_one_that_the_service_knows(name: str) -> None:
    resources = overlay(name)
    for workload in [
        *kubernetes.of_kind(resources, "Deployment").values(),
        kubernetes.of_kind(resources, "Job")["migrate"],
    ]:
        service = workload["metadata"]["name"]
        if service in SETTINGS:
            known = {field.upper() for field in SETTINGS[service].model_fields}
            unknown = settings_of(resources, workload).keys() - known
            assert unknown == {"SECRETS_DIR", "OTEL_EXPORTER_OTLP_ENDPOINT"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_secrets_are_apart_and_each_is_one_that_is_made(name: str) -> None:
    made = kubernetes_secrets()
    resources = overlay(name)
    assert not kubernetes.of_kind(resources, "Secret")
    for workload in workloads(resources):
        secrets = {volume["secret"]["secretName"] for volume in pod_of(workload)["volumes"] if "secret" in volume}
        own = workload["metadata"]["name"]
        assert secrets <= {f"parley-{own}"}
        assert secrets <= made.keys()
    for cluster in kubernetes.of_kind(resources, "Cluster").values():
        bootstrap = cluster["spec"]["bootstrap"]["initdb"]
        assert made[bootstrap["secret"]["name"]]["stringData"]["username"] == bootstrap["owner"]
        for role in cluster["spec"]["managed"]["roles"]:
            assert made[role["passwordSecret"]["name"]]["stringData"]["username"] == role["name"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_image_of_ours_is_built(name: str) -> None:
    _, stages = dockerfile.read(ROOT / "Dockerfile")
    for workload in workloads(overlay(name)):
        image = pod_of(workload)["containers"][0]["image"].split("/")[-1].split(":")[0]
        if image.startswith("parley-"):
            assert image.removeprefix("parley-") in stages


def test_production_names_a_version_of_each_image() -> None:
    for workload in workloads(overlay("production")):
        image = pod_of(workload)["containers"][0]["image"]
        assert re.fullmatch(rf"{kubernetes.CHOICES['IMAGES']}/parley-[a-z-]+:{kubernetes.CHOICES['VERSION']}", image)


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_node_pulls_no_image_that_it_has(name: str) -> None:
    for workload in workloads(overlay(name)):
        pod = pod_of(workload)
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert re.search(r":[\w.-]+$", container["image"]), "without a tag it would be pulled each time"
            assert not container["image"].endswith(":latest")
            assert container.get("imagePullPolicy", "IfNotPresent") == "IfNotPresent"
            if "parley-" in container["image"]:
                assert container["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize("missing", kubernetes.CHOICES)
def test_production_is_not_rendered_without_a_choice(missing: str) -> None:
    left = {name: value for name, value in kubernetes.CHOICES.items() if name != missing}
    assert f"`data.{missing}` is missing" in kubernetes.refused("production", left)


def test_production_is_not_rendered_without_its_choices() -> None:
    assert "choices.env: no such file" in kubernetes.refused("production", None)
    example = kubernetes.K8S / "overlays" / "production" / "choices.env.example"
    assert re.findall(r"^#([A-Z_]+)=$", example.read_text(), re.M) == list(kubernetes.CHOICES)
    assert not re.search(r"^[^#]", example.read_text(), re.M), "as it is, it chooses nothing"


def test_production_is_what_was_chosen() -> None:
    resources = overlay("production")
    route = kubernetes.of_kind(resources, "HTTPRoute")["parley"]["spec"]
    assert route["hostnames"] == [kubernetes.CHOICES["HOST"]]
    parent = {"name": kubernetes.CHOICES["GATEWAY"], "namespace": kubernetes.CHOICES["GATEWAY_NAMESPACE"]}
    assert route["parentRefs"] == [parent]
    deployments = kubernetes.of_kind(resources, "Deployment")
    worker = settings_of(resources, deployments["llm-worker"])
    assert worker["OPENAI_BASE_URL"] == kubernetes.CHOICES["OPENAI_BASE_URL"]
    assert worker["MODEL"] == settings_of(resources, deployments["gateway"])["MODEL"] == kubernetes.CHOICES["MODEL"]
    assert "parley-choices" not in kubernetes.of_kind(resources, "ConfigMap")


@functools.cache
def configured() -> list[Resource]:
    """The overlay `production` of an operator who has set every line of every file."""
    files = dict(CONFIGURABLE) | {"models": MODELS}
    return kubernetes.production_with(files, AUTH_MODES="oidc,jwt,proxy")


@pytest.mark.parametrize("service", CONFIGURABLE)
def test_a_line_of_a_settings_file_reaches_the_service_that_reads_it(service: str) -> None:
    deployment = kubernetes.of_kind(configured(), "Deployment")[service]
    # JWT_KEY would be one of the secrets; here the issuer publishes its keys.
    read = settings.read(service, image_environment(deployment) | settings_of(configured(), deployment))
    assert CONFIGURABLE[service].items() <= read.items()
    if service != "push":
        assert MODELS.items() <= read.items()
    if service == "gateway":
        assert read["AUTH_MODES"] == "oidc,jwt,proxy"


def test_a_line_of_a_settings_file_reaches_nothing_else() -> None:
    resources = configured()
    for workload in workloads(resources):
        own = CONFIGURABLE.get(workload["metadata"]["name"], {})
        others = {name for names in CONFIGURABLE.values() for name in names} - own.keys()
        assert not others & settings_of(resources, workload).keys()


@pytest.mark.parametrize("service", CONFIGURABLE)
def test_without_a_line_a_setting_has_its_default(service: str) -> None:
    resources = overlay("production")
    set_here = settings_of(resources, kubernetes.of_kind(resources, "Deployment")[service])
    assert not (CONFIGURABLE[service] | MODELS).keys() & set_here.keys()


def test_a_change_of_a_settings_file_rolls_out_the_services_that_read_it() -> None:
    def maps(resources: list[Resource]) -> dict[str, set[str]]:
        return {
            name: {source["configMapRef"]["name"] for source in pod_of(deployment)["containers"][0]["envFrom"]}
            for name, deployment in kubernetes.of_kind(resources, "Deployment").items()
        }

    before, after = maps(overlay("production")), maps(configured())
    assert {name for name in before if before[name] != after[name]} == {"gateway", "chat-store", "push"}


@pytest.mark.parametrize("file", kubernetes.SETTINGS_FILES)
def test_production_is_not_rendered_without_a_settings_file(file: str) -> None:
    assert f"{file}.env: no such file" in kubernetes.refused("production", kubernetes.CHOICES, without=file)
    text = (kubernetes.K8S / "overlays" / "production" / "settings" / f"{file}.env.example").read_text()
    assert re.findall(r"^#([A-Z_]+)=$", text, re.M) == list((CONFIGURABLE | {"models": MODELS})[file])
    assert not re.search(r"^[^#]", text, re.M), "as it is, it sets nothing"


def test_a_route_whose_host_nobody_chose_is_refused() -> None:
    unpatched = kubernetes.rendered_beside(
        "unpatched", "namespace: parley\nresources:\n  - ../../base\ncomponents:\n  - ../../components/gateway-api\n"
    )
    problems = kubernetes.crd_problems([kubernetes.of_kind(unpatched, "HTTPRoute")["parley"]])
    assert any("hostnames" in problem for problem in problems)


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_service_listens_where_its_probes_and_services_look(name: str) -> None:
    resources = overlay(name)
    for service in SERVICES:
        deployment = kubernetes.of_kind(resources, "Deployment")[service]
        environment = image_environment(deployment) | settings_of(resources, deployment)
        ports = {port["name"]: str(port["containerPort"]) for port in pod_of(deployment)["containers"][0]["ports"]}
        own = {"http", "ws"} & ports.keys()
        assert {environment["PORT"]} == {ports[port] for port in own} if own else "PORT" not in environment
        assert environment["HEALTH_PORT"] != environment.get("PORT"), "one would take the port of the other"
        assert ports.get("health", environment["HEALTH_PORT"]) == environment["HEALTH_PORT"]
        assert environment["HOST"] == environment["HEALTH_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_service_waits_for_the_migration_longer_than_that_waits_for_its_servers(name: str) -> None:
    resources = overlay(name)
    migrate = float(settings_of(resources, kubernetes.of_kind(resources, "Job")["migrate"])["MIGRATE_TIMEOUT"])
    for service in ("gateway", "chat-store", "llm-worker"):
        deployment = kubernetes.of_kind(resources, "Deployment")[service]
        assert float(settings_of(resources, deployment)["MIGRATION_WAIT"]) >= migrate >= 300


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_process_that_gets_sigterm_while_it_starts_is_not_the_first_of_its_pod(name: str) -> None:
    ours = [each for each in workloads(overlay(name)) if each["metadata"]["name"] in (*SERVICES, "migrate")]
    assert len(ours) == len(SERVICES) + 1
    assert all(pod_of(each)["shareProcessNamespace"] for each in ours)


def test_the_demo_model_of_the_local_overlay_is_asked_as_by_parley_up() -> None:
    resources = overlay("local")
    of = {name: settings_of(resources, each) for name, each in kubernetes.of_kind(resources, "Deployment").items()}
    assert (of["gateway"]["DEMO"], of["gateway"]["MODEL"]) == ("true", "demo")
    assert (of["llm-worker"]["MODEL"], of["llm-worker"]["ANY_MODEL"]) == ("demo", "true")


def test_the_page_of_the_local_overlay_finds_its_socket_through_a_forward() -> None:
    gateway = kubernetes.of_kind(overlay("local"), "Deployment")["gateway"]
    settings = settings_of(overlay("local"), gateway)
    assert settings["PUBLIC_PUSH_URL"] == "", "the page's own host, at the port of PUSH_URL"
    assert settings["PUSH_URL"] == "ws://push:8001/ws"


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_valid_for_the_oldest_version_that_the_readme_names(name: str) -> None:
    named = re.search(r"Needs Kubernetes (1\.\d+) or newer", (K8S / "README.md").read_text())
    assert named is not None
    for resource in overlay(name):
        if not kubernetes.is_custom(resource):
            kubernetes_validate.validate(resource, f"{named[1]}.0", strict=True)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_migration_can_be_applied_alone(name: str) -> None:
    resources = [each for each in overlay(name) if each["metadata"].get("labels", {}).get("parley/step") == "migrate"]
    job = kubernetes.of_kind(resources, "Job")["migrate"]
    assert settings_of(resources, job)["STREAM_REPLICAS"] in ("1", "3")
    assert pod_of(job)["serviceAccountName"] in kubernetes.of_kind(resources, "ServiceAccount")
    assert not kubernetes.of_kind(resources, "Deployment")


# --- components -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_says_what_it_is_for(component: str) -> None:
    folder = K8S / "components" / component
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert kustomization["kind"] == "Component"
    assert len((folder / "README.md").read_text()) > 200


def test_who_scales_decides_how_many(everything: list[Resource]) -> None:
    for service in SERVICES:
        assert "replicas" not in kubernetes.of_kind(everything, "Deployment")[service]["spec"]
    scaled = [each["spec"]["scaleTargetRef"]["name"] for each in everything if "scaleTargetRef" in each.get("spec", {})]
    assert sorted(scaled) == sorted(SERVICES)


def test_the_worker_is_scaled_by_a_consumer_that_exists(everything: list[Resource]) -> None:
    (trigger,) = kubernetes.of_kind(everything, "ScaledObject")["llm-worker"]["spec"]["triggers"]
    assert trigger["metadata"]["stream"] == streams.LLM_WORKER_REQUESTS.stream
    assert trigger["metadata"]["consumer"] == streams.LLM_WORKER_REQUESTS.name
    fullest = int(
        settings_of(everything, kubernetes.of_kind(everything, "Deployment")["llm-worker"])["MAX_GENERATIONS"]
    )
    assert int(trigger["metadata"]["lagThreshold"]) < fullest


def test_everything_is_denied_that_is_not_allowed(everything: list[Resource]) -> None:
    policies = kubernetes.of_kind(everything, "NetworkPolicy")
    deny = policies["default-deny"]["spec"]
    assert deny["podSelector"] == {}
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny


@pytest.mark.parametrize(
    "destination",
    [
        pytest.param(("kube-system", {"k8s-app": "kube-dns"}, "10.1.2.3", 53), id="kube-dns"),
        pytest.param(("kube-system", {"app.kubernetes.io/name": "coredns"}, "10.1.2.3", 53), id="coredns"),
        pytest.param(("kube-system", {"k8s-app": "rke2-coredns"}, "10.1.2.3", 53), id="RKE2"),
        pytest.param((None, {}, "169.254.20.10", 53), id="NodeLocal DNSCache"),
        pytest.param(
            ("openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"}, "10.1.2.3", 5353), id="OpenShift"
        ),
        pytest.param((None, {}, "169.254.169.254", 53), id="a cloud's"),
    ],
)
@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_a_name_is_looked_up_wherever_a_cluster_has_its_dns(
    everything: list[Resource], destination: tuple[str | None, dict[str, str], str, int], protocol: str
) -> None:
    deny = kubernetes.of_kind(everything, "NetworkPolicy")["default-deny"]["spec"]
    namespace, labels, address, port = destination
    assert any(kubernetes.lets_out(rule, namespace, labels, address, protocol, port) for rule in deny["egress"])
    assert not any(kubernetes.lets_out(rule, namespace, labels, address, protocol, 80) for rule in deny["egress"])


def test_every_service_and_the_operators_are_allowed_something(everything: list[Resource]) -> None:
    policies = kubernetes.of_kind(everything, "NetworkPolicy")
    assert {*SERVICES, "migrate", "nats", "postgres"} <= policies.keys()


@pytest.mark.parametrize("service", SERVICES)
def test_only_who_asks_a_provider_reaches_the_internet(everything: list[Resource], service: str) -> None:
    rules = kubernetes.of_kind(everything, "NetworkPolicy")[service]["spec"]["egress"]

    def reached(address: str, port: int) -> bool:
        return any(kubernetes.lets_out(rule, None, {}, address, "TCP", port) for rule in rules)

    # llm-worker the model's, the gateway the identity provider.
    assert reached("203.0.113.5", 443) == (service in ("gateway", "llm-worker"))
    assert not reached("203.0.113.5", 80)
    assert not reached("10.1.2.3", 443)
    assert not reached("169.254.169.254", 443), "a cloud's credentials"


def test_only_its_clients_reach_the_database(everything: list[Resource]) -> None:
    policy = kubernetes.of_kind(everything, "NetworkPolicy")["postgres"]["spec"]
    pods = [
        peer["podSelector"]["matchLabels"]
        for rule in policy["ingress"]
        for peer in rule["from"]
        if {"protocol": "TCP", "port": 5432} in rule["ports"] and "podSelector" in peer
    ]
    assert pods == [
        {"app.kubernetes.io/name": "chat-store"},
        {"app.kubernetes.io/name": "migrate"},
        {"cnpg.io/cluster": "postgres"},
    ]


def test_a_policy_names_ports_that_there_are(everything: list[Resource]) -> None:
    deployments = kubernetes.of_kind(everything, "Deployment")
    for service in SERVICES:
        ports = {port["containerPort"] for port in pod_of(deployments[service])["containers"][0]["ports"]}
        policy = kubernetes.of_kind(everything, "NetworkPolicy")[service]["spec"]
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == ports


@pytest.mark.parametrize("kind", ["HTTPRoute", "Ingress"])
def test_the_outside_reaches_the_socket_the_interface_and_the_page(everything: list[Resource], kind: str) -> None:
    services = kubernetes.of_kind(everything, "Service")
    backends: dict[str, str] = {}
    for resource in kubernetes.of_kind(everything, kind).values():
        for rule in resource["spec"]["rules"]:
            if kind == "HTTPRoute":
                for match in rule["matches"]:
                    for backend in rule.get("backendRefs", []):
                        assert backend["port"] in {port["port"] for port in services[backend["name"]]["spec"]["ports"]}
                        backends[match["path"]["value"]] = backend["name"]
            else:
                for path in rule["http"]["paths"]:
                    backend = path["backend"]["service"]
                    assert backend["port"]["name"] in {p["name"] for p in services[backend["name"]]["spec"]["ports"]}
                    backends[path["path"]] = backend["name"]
    assert backends["/ws"] == "push"
    assert backends["/"] == "gateway"


@pytest.mark.parametrize("path", delayed_paths())
def test_what_is_sent_when_an_answer_is_complete_is_waited_for(everything: list[Resource], path: str) -> None:
    (route,) = kubernetes.of_kind(everything, "HTTPRoute").values()
    matched = [
        (len(match["path"]["value"]), rule)
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
        if match["path"]["type"] == "PathPrefix" and path.startswith(match["path"]["value"])
    ]
    longest = max(matched, key=lambda each: each[0])[1]
    assert longest["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert longest["backendRefs"] == [{"name": "gateway", "port": 8000}]

    ingresses = [
        (len(each["path"]), ingress["metadata"]["annotations"])
        for ingress in kubernetes.of_kind(everything, "Ingress").values()
        for rule in ingress["spec"]["rules"]
        for each in rule["http"]["paths"]
        if each["pathType"] == "Prefix" and path.startswith(each["path"])
    ]
    annotations = max(ingresses, key=lambda each: each[0])[1]
    prefix = "nginx.ingress.kubernetes.io"
    assert annotations[f"{prefix}/proxy-buffering"] == "off"
    assert int(annotations[f"{prefix}/proxy-read-timeout"]) >= LONGEST_ANSWER
    assert int(annotations[f"{prefix}/proxy-body-size"].removesuffix("m")) * 1024**2 > LARGEST_BODY


# --- the chart of NATS ------------------------------------------------------------------------------------------------


def test_the_database_knows_capital_letters_of_all_scripts() -> None:
    initdb = kubernetes.of_kind(overlay("production"), "Cluster")["postgres"]["spec"]["bootstrap"]["initdb"]
    assert initdb["localeCType"] == "C.UTF-8"


def test_the_values_of_nats_keep_what_the_design_promises() -> None:
    values = yaml.safe_load((K8S / "nats" / "values.yaml").read_text())
    assert values["config"]["cluster"] == {"enabled": True, "replicas": 3, "noAdvertise": True}
    assert values["config"]["jetstream"]["merge"]["sync_interval"] == "always"
    migrate = kubernetes.of_kind(overlay("production"), "Job")["migrate"]
    assert settings_of(overlay("production"), migrate)["STREAM_REPLICAS"] == "3"
    (volume,) = [patch["value"] for patch in values["podTemplate"]["patch"]]
    assert volume["secret"]["secretName"] == "parley-nats"


def test_no_manifest_names_a_registry() -> None:
    for path in Path(K8S).rglob("*.yaml"):
        for image in re.findall(r"image: (\S+)", path.read_text()):
            assert "." not in image.split("/")[0].split(":")[0], f"{path}: {image}"
