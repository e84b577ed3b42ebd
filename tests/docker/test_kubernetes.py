"""The Kubernetes manifests: valid by the API's schemas, and consistent with each other, the images and the settings."""

import copy
from typing import Any

import kubernetes_validate
import pytest
import yaml

from hunyuanocr.config import load_settings
from tests.docker.dockerfiles import FILES, ROOT

FOLDER = ROOT / "docker" / "kubernetes"
OBJECTS = {
    (file.stem, found["kind"], found["metadata"]["name"]): found
    for file in sorted(FOLDER.glob("*.yaml"))
    for found in yaml.safe_load_all(file.read_text())
}
DEPLOYMENTS = [found for (_, kind, _), found in OBJECTS.items() if kind == "Deployment"]
VERSION = "1.37"


@pytest.mark.parametrize("name", OBJECTS, ids="-".join)
def test_every_object_fits_the_schema(name: Any) -> None:
    kubernetes_validate.validate(OBJECTS[name], VERSION, strict=True)


def test_a_wrong_object_does_not() -> None:
    wrong = copy.deepcopy(DEPLOYMENTS[0])
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def by_kind(kind: str) -> list[dict]:
    return [found for (_, k, _), found in OBJECTS.items() if k == kind]


def test_names_lead_to_each_other() -> None:
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in DEPLOYMENTS]
    (service,), (policy,), (ingress,), (scaler,), (budget,) = map(
        by_kind, ("Service", "NetworkPolicy", "Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget")
    )
    selectors = [
        service["spec"]["selector"],
        policy["spec"]["podSelector"]["matchLabels"],
        budget["spec"]["selector"]["matchLabels"],
    ]
    selectors += [d["spec"]["selector"]["matchLabels"] for d in DEPLOYMENTS]
    assert all(selector == label for selector in selectors for label in labels)
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert scaler["spec"]["scaleTargetRef"]["name"] == DEPLOYMENTS[0]["metadata"]["name"]
    claims = {claim["metadata"]["name"] for claim in by_kind("PersistentVolumeClaim")}
    volumes = [v for d in DEPLOYMENTS for v in d["spec"]["template"]["spec"]["volumes"]]
    assert {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v} == claims
    assert {found["metadata"]["namespace"] for found in OBJECTS.values()} == {"hunyuanocr"}
    ports = {port["targetPort"] for port in service["spec"]["ports"]}
    assert all(ports == {p["name"] for p in d["spec"]["template"]["spec"]["containers"][0]["ports"]} for d in DEPLOYMENTS)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["spec"]["template"]["spec"]["containers"][0]["image"])
def test_pods_are_bounded_watched_and_without_rights(deployment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"].partition(":")[2] in FILES
    assert pod["securityContext"]["runAsUser"] == 10001
    assert not pod["automountServiceAccountToken"]
    assert pod["enableServiceLinks"] is False, "variables of the Service have the prefix of the settings"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert set(container["resources"]["limits"]) >= {"cpu", "memory"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 7860, "api": 8000}
    paths = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [get["path"] for get in paths.values()] == ["/health", "/health", "/ready"]
    assert {get["port"] for get in paths.values()} <= set(ports)
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]}
    assert {"/data", "/tmp"} <= set(mounted.values()), "the rest of the file system cannot be written"
    for entry in container["env"]:
        monkeypatch.setenv(entry["name"], entry.get("value", "postgresql://user:password@host/name"))
    load_settings()


def test_copies_share_a_database_and_one_copy_keeps_its_own() -> None:
    scaled = {scaler["spec"]["scaleTargetRef"]["name"] for scaler in by_kind("HorizontalPodAutoscaler")}
    many = OBJECTS["cpu", "Deployment", "hunyuanocr"]
    assert many["metadata"]["name"] in scaled
    assert "replicas" not in many["spec"], "it would fight with what scales it"
    environment = {entry["name"]: entry for entry in many["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "secretKeyRef" in environment["HUNYUANOCR_STORE__URL"]["valueFrom"]
    one = OBJECTS["gpu", "Deployment", "hunyuanocr"]["spec"]
    assert (one["replicas"], one["strategy"]["type"]) == (1, "Recreate")
