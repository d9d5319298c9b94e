"""kopf: an operator with a kind of its own, whose handlers make a ConfigMap for each object, follow its changes, and clean up."""

import asyncio
import threading

import kopf
from kubernetes import client, config

from table import finish, row, until

config.load_kube_config()
core, custom = client.CoreV1Api(), client.CustomObjectsApi()
GROUP, VERSION, PLURAL = "kopf.example.dev", "v1", "gears"
SCHEMA = {"type": "object", "properties": {
    "spec": {"type": "object", "properties": {"teeth": {"type": "integer"}}},
    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {"group": GROUP, "scope": "Namespaced", "names": {"plural": PLURAL, "singular": "gear", "kind": "Gear"},
             "versions": [{"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}, "subresources": {"status": {}}}]}}
deleted, ticks = [], []


@kopf.on.startup()
def settings(settings, **_):
    settings.posting.enabled = True
    settings.peering.standalone = True


@kopf.on.create(GROUP, VERSION, PLURAL)
def created(spec, name, namespace, body, **_):
    made = {"metadata": {"name": name}, "data": {"teeth": str(spec["teeth"])}}
    kopf.adopt(made, owner=body)
    kopf.info(body, reason="Made", message="a ConfigMap was made")
    core.create_namespaced_config_map(namespace, made)
    return {"made": name}


@kopf.on.update(GROUP, VERSION, PLURAL, field="spec.teeth")
def changed(new, name, namespace, **_):
    core.patch_namespaced_config_map(name, namespace, {"data": {"teeth": str(new)}})


@kopf.on.delete(GROUP, VERSION, PLURAL)
def gone(name, **_):
    deleted.append(name)


@kopf.timer(GROUP, VERSION, PLURAL, interval=0.5)
def tick(**_):
    ticks.append(1)


api = client.ApiextensionsV1Api()
api.create_custom_resource_definition(DEFINITION)
ready, stop = threading.Event(), threading.Event()
running = threading.Thread(target=lambda: asyncio.run(kopf.operator(namespaces=["default"], ready_flag=ready, stop_flag=stop)))
running.start()


def teeth():
    return core.read_namespaced_config_map("g", "default").data["teeth"]


@row("it starts")
def _():
    assert ready.wait(30)


@row("an object is handled, and says so in its status")
def _():
    custom.create_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, {
        "apiVersion": f"{GROUP}/{VERSION}", "kind": "Gear", "metadata": {"name": "g"}, "spec": {"teeth": 12}})
    get = lambda: custom.get_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, "g")
    until("the status is there", lambda: get().get("status", {}).get("created", {}).get("made") == "g")
    assert teeth() == "12"
    assert get()["metadata"]["finalizers"], get()


@row("a change is followed")
def _():
    custom.patch_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, "g", {"spec": {"teeth": 13}})
    until("the change is followed", lambda: teeth() == "13")


@row("its timer ticks, and its events are kept")
def _():
    until("it ticks", lambda: len(ticks) >= 2)
    until("events", lambda: [event for event in core.list_namespaced_event("default").items if event.reason == "Made"])


@row("its handler runs before the object goes, and what it owns goes too")
def _():
    custom.delete_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, "g")
    until("the handler ran", lambda: deleted == ["g"])
    until("all is gone", lambda: not [found for found in core.list_namespaced_config_map("default").items if found.metadata.name == "g"])
    assert not custom.list_namespaced_custom_object(GROUP, VERSION, "default", PLURAL)["items"]


@row("it stops")
def _():
    stop.set()
    running.join(30)
    assert not running.is_alive()


finish()
