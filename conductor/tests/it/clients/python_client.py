"""The Python client of Kubernetes: objects, watches, patches, server-side apply through the dynamic client, exec, logs."""

import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.stream import portforward, stream

from table import finish, row, until

config.load_kube_config()
core, custom, rights = client.CoreV1Api(), client.CustomObjectsApi(), client.RbacAuthorizationV1Api()
PARTS = {"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": "shop"}}


@row("version and discovery")
def _():
    assert client.VersionApi().get_code().major == "1"
    assert "conductor.dev" in [group.name for group in client.ApisApi().get_api_versions().groups]


@row("create, read, replace, patch, delete a ConfigMap")
def _():
    made = core.create_namespaced_config_map("default", client.V1ConfigMap(metadata={"name": "a"}, data={"k": "1"}))
    made.data["k"] = "2"
    assert core.replace_namespaced_config_map("a", "default", made).data == {"k": "2"}
    assert core.patch_namespaced_config_map("a", "default", {"data": {"l": "3"}}).data == {"k": "2", "l": "3"}
    try:
        core.replace_namespaced_config_map("a", "default", made)
        raise AssertionError("an old version was taken")
    except client.ApiException as error:
        assert error.status == 409, error
    core.delete_namespaced_config_map("a", "default")
    try:
        core.read_namespaced_config_map("a", "default")
        raise AssertionError("it is still there")
    except client.ApiException as error:
        assert error.status == 404, error


@row("list in pieces")
def _():
    for at in range(7):
        core.create_namespaced_config_map("default", client.V1ConfigMap(metadata={"name": f"piece-{at}", "labels": {"set": "pieces"}}))
    found, token = [], None
    while token is None or token:
        page = core.list_namespaced_config_map("default", label_selector="set=pieces", limit=3, _continue=token)
        found += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert found == [f"piece-{at}" for at in range(7)], found
    core.delete_collection_namespaced_config_map("default", label_selector="set=pieces")
    assert not core.list_namespaced_config_map("default", label_selector="set=pieces").items


@row("watch")
def _():
    begin = core.list_namespaced_secret("default").metadata.resource_version
    seen = []

    def listen():
        for event in watch.Watch().stream(core.list_namespaced_secret, "default", resource_version=begin, timeout_seconds=20):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                return

    listener = threading.Thread(target=listen)
    listener.start()
    core.create_namespaced_secret("default", client.V1Secret(metadata={"name": "s"}, string_data={"k": "v"}))
    core.patch_namespaced_secret("s", "default", {"stringData": {"k": "w"}})
    core.delete_namespaced_secret("s", "default")
    listener.join(30)
    assert seen == [("ADDED", "s"), ("MODIFIED", "s"), ("DELETED", "s")], seen


@row("the dynamic client applies")
def _():
    api = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": "1"}}
    api.server_side_apply(body=body, name="applied", namespace="default", field_manager="one")
    body["data"] = {"k": "2"}
    try:
        api.server_side_apply(body=body, name="applied", namespace="default", field_manager="two")
        raise AssertionError("no conflict")
    except client.ApiException as error:
        assert error.status == 409, error
    api.server_side_apply(body=body, name="applied", namespace="default", field_manager="two", force_conflicts=True)
    assert api.get(name="applied", namespace="default").data["k"] == "2"


@row("roles")
def _():
    rule = client.V1PolicyRule(verbs=["get"], api_groups=[""], resources=["configmaps"])
    rights.create_namespaced_role("default", client.V1Role(metadata={"name": "reader"}, rules=[rule]))
    assert rights.read_namespaced_role("reader", "default").rules[0].verbs == ["get"]
    review = client.V1SelfSubjectAccessReview(spec={"resourceAttributes": {"verb": "create", "resource": "pods"}})
    assert client.AuthorizationV1Api().create_self_subject_access_review(review).status.allowed


@row("a Service, its logs, a program in it, its port")
def _():
    import os

    pod = {"spec": {"containers": [{"name": "web", "command": [os.environ["HELLO"]], "ports": [{"name": "http", "containerPort": 80}]}]}}
    spec = {"application": "shop", "config": {"VERSION": "1"}, "parts": [{"name": "web", "replicas": 1, "pod": pod}]}
    custom.create_namespaced_custom_object("conductor.dev", "v1", "default", "services", {**PARTS, "spec": spec})
    until("a pod runs", lambda: [pod for pod in core.list_namespaced_pod("default").items if pod.status.phase == "Running"])
    name = core.list_namespaced_pod("default").items[0].metadata.name
    until("it has said something", lambda: "listens" in core.read_namespaced_pod_log(name, "default"))
    words = ["sh", "-c", "echo said; echo complained >&2"]
    said = stream(core.connect_get_namespaced_pod_exec, name, "default", command=words, stdout=True, stderr=True, stdin=False, tty=False)
    assert "said" in said and "complained" in said, said
    forward = portforward(core.connect_get_namespaced_pod_portforward, name, "default", ports="80")
    connection = forward.socket(80)
    connection.setblocking(True)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b""
    while piece := connection.recv(4096):
        answer += piece
    assert b"version 1" in answer, answer
    custom.delete_namespaced_custom_object("conductor.dev", "v1", "default", "services", "shop")
    until("the pod is gone", lambda: not core.list_namespaced_pod("default").items)


finish()
