"""Helm 4: a chart with a definition, objects of its kind, a ConfigMap, a Secret and a Service is installed, upgraded, rolled back
and uninstalled."""

import base64
import os
import pathlib
import sys

import helm_python as helm
from kubernetes import client, config

from table import finish, row, until

HELLO = os.environ["HELLO"]
FILES = {
    "Chart.yaml": "apiVersion: v2\nname: gears\nversion: 0.1.0\n",
    "values.yaml": "teeth: 12\nword: hidden\nhook: false\n",
    "crds/gears.yaml": """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.helm.example.dev}
spec:
  group: helm.example.dev
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {teeth: {type: integer}}}}}}
""",
    "templates/all.yaml": """
apiVersion: helm.example.dev/v1
kind: Gear
metadata: {name: "{{ .Release.Name }}"}
spec: {teeth: {{ .Values.teeth }}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data: {teeth: "{{ .Values.teeth }}", kubernetes: "{{ .Capabilities.KubeVersion.Major }}"}
---
apiVersion: v1
kind: Secret
metadata: {name: "{{ .Release.Name }}"}
stringData: {word: "{{ .Values.word }}"}
---
apiVersion: conductor.dev/v1
kind: Service
metadata: {name: "{{ .Release.Name }}"}
spec:
  application: "{{ .Release.Name }}"
  config: {VERSION: "{{ .Values.teeth }}"}
  parts: [{name: web, replicas: 1, pod: {spec: {containers: [{name: web, command: ["HELLO"], ports: [{name: http, containerPort: 80}]}]}}}]
""".replace("HELLO", HELLO),
}

config.load_kube_config()
core, custom = client.CoreV1Api(), client.CustomObjectsApi()
chart = pathlib.Path(sys.argv[1]) / "gears"
for name, text in FILES.items():
    file = chart / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
releases = helm.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace="default")


def gear():
    return custom.get_namespaced_custom_object("helm.example.dev", "v1", "default", "gears", "demo")["spec"]["teeth"]


@row("reach the server")
def _():
    releases.check_reachable()


@row("install, and wait for it")
def _():
    release = releases.install(str(chart), "demo", {}, wait="watcher", timeout=60)
    assert release["revision"] == 1, release
    assert gear() == 12
    secret = core.read_namespaced_secret("demo", "default")
    assert base64.b64decode(secret.data["word"]) == b"hidden", secret
    assert core.read_namespaced_config_map("demo", "default").data["kubernetes"] == "1"


@row("install it again is refused")
def _():
    try:
        releases.install(str(chart), "demo", {})
    except helm.HelmError as error:
        assert "reuse" in str(error), error
    else:
        raise AssertionError("it was not refused")


@row("upgrade")
def _():
    release = releases.upgrade(str(chart), "demo", {"teeth": 13}, wait="watcher", timeout=60)
    assert release["revision"] == 2 and gear() == 13, release
    assert core.read_namespaced_config_map("demo", "default").data["teeth"] == "13"


@row("status, values, history, list")
def _():
    assert releases.status("demo")["revision"] == 2
    assert releases.get_values("demo")["teeth"] == 13
    assert len(releases.history("demo")) == 2
    assert [release["name"] for release in releases.list()] == ["demo"]


@row("rollback")
def _():
    releases.rollback("demo", version=1)
    until("rolled back", lambda: gear() == 12)
    assert len(releases.history("demo")) == 3


@row("uninstall")
def _():
    releases.uninstall("demo", wait="watcher", timeout=60)
    until("the objects are gone", lambda: not custom.list_namespaced_custom_object("helm.example.dev", "v1", "default", "gears")["items"])
    assert not [item for item in core.list_namespaced_config_map("default").items if item.metadata.name == "demo"]
    assert not list(releases.list())


finish()
