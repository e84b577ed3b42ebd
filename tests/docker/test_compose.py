"""compose.yaml: valid by the specification's schema, and what it names is there."""

import ipaddress
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hunyuanocr.config import load_settings
from tests.docker.dockerfiles import FILES, ROOT, stage

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
READERS = {"cpu": "cpu", "gpu": "torch", "vllm": "vllm"}  # service → image


def checked(file: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_it_is_what_the_specification_calls_a_compose_file(tmp_path: Path) -> None:
    done = checked(ROOT / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "compose.yaml").write_text("services:\n  cpu:\n    image: x\n    memory_limit: 3g\n")
    assert checked(tmp_path / "compose.yaml").returncode == 1


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_every_service_is_bounded_and_comes_back(service: Any) -> None:
    made = COMPOSE["services"][service]
    assert made["restart"] == "unless-stopped"
    assert made["deploy"]["resources"]["limits"]["memory"]
    assert made["read_only"]
    assert made["cap_drop"] == ["ALL"]
    assert made["profiles"]
    assert made["logging"]["options"]["max-size"]


@pytest.mark.parametrize(("service", "image"), READERS.items())
def test_readers_are_built_by_the_dockerfiles_and_set_by_known_settings(
    service: Any, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = COMPOSE["services"][service]
    assert made["image"] == f"hunyuanocr:{image}"
    name, target = FILES[image]
    assert (made["build"]["dockerfile"], made["build"].get("target", "")) == (f"docker/{name}", target)
    for key, value in (stage(image).environment() | made["environment"]).items():
        if key.startswith("HUNYUANOCR_"):
            monkeypatch.setenv(key, value)
    assert load_settings().server.host == "0.0.0.0"
    assert "data:/data" in made["volumes"], "what is kept outlives the container"
    wants_gpu = "devices" in made["deploy"]["resources"].get("reservations", {})
    assert wants_gpu == (service != "cpu")


def test_nginx_alone_is_believed() -> None:
    shop = COMPOSE["networks"]["shop"]["ipam"]["config"][0]
    nginx = COMPOSE["services"]["nginx"]
    address = nginx["networks"]["shop"]["ipv4_address"]
    believed = json.loads(COMPOSE["services"]["cpu"]["environment"]["HUNYUANOCR_NETWORK__TRUSTED_PROXIES"])
    assert believed == [f"{address}/32"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(shop["subnet"])
    assert ipaddress.ip_address(address) not in ipaddress.ip_network(shop["ip_range"]), "no other container gets it"
    template = next(v for v in nginx["volumes"] if "template" in v).partition(":")[0]
    assert "${OCR_UPSTREAM}" in (ROOT / template).read_text()
    host, _, port = nginx["environment"]["OCR_UPSTREAM"].partition(":")
    assert all(host in COMPOSE["services"][name]["networks"]["shop"]["aliases"] for name in READERS)
    assert port == "7860"


def test_without_a_word_of_the_owner_no_port_is_open_to_the_network() -> None:
    for name in READERS:
        for port in COMPOSE["services"][name]["ports"]:
            assert port.startswith("${OCR_ADDRESS:-127.0.0.1}:")
