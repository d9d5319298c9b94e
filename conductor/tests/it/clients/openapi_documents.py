"""schemathesis: sends what each of our OpenAPI documents allows, and what it does not, and looks at the answers: none may be a fault
of the server, and each must be of the form that the document tells."""

import base64
import json
import os
import pathlib
import ssl
import subprocess
import sys
import urllib.request

import yaml

from table import finish, row

HOOKS = """
import schemathesis

@schemathesis.hook
def filter_query(context, query):
    # A watch goes on for as long as its client listens.
    return not query or ("watch" not in query and "timeoutSeconds" not in query)
"""
# Paths whose answers are no JSON, or go on.
LEFT_OUT = "/(watch|exec|attach|portforward|log|proxy)(/|$)"

here = pathlib.Path(sys.argv[1])
settings = yaml.safe_load(pathlib.Path(os.environ["KUBECONFIG"]).read_text())
server = settings["clusters"][0]["cluster"]["server"]
token = settings["users"][0]["user"]["token"]
authority = here / "ca.pem"
authority.write_bytes(base64.b64decode(settings["clusters"][0]["cluster"]["certificate-authority-data"]))
(here / "hooks.py").write_text(HOOKS)


def get(path):
    request = urllib.request.Request(server + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=authority), timeout=20) as answer:
        return json.load(answer)


def with_empty_times(document):
    """Kubernetes writes a time that is not set as null where the field is always there, and its documents do not say so."""
    for name, schema in document["components"]["schemas"].items():
        if name.endswith(("meta.v1.Time", "meta.v1.MicroTime")):
            schema["nullable"] = True
    return document


def check(path):
    @row(path)
    def _():
        document = here / "document.json"
        document.write_text(json.dumps(with_empty_times(get(f"/openapi/v3/{path}"))))
        program = pathlib.Path(sys.executable).parent / "schemathesis"
        options = ["--url", server, "--tls-verify", str(authority), "-H", f"Authorization: Bearer {token}", "--exclude-path-regex", LEFT_OUT,
                   "--checks", "not_a_server_error,response_schema_conformance,content_type_conformance", "--phases", "fuzzing",
                   "--max-examples", "4", "--max-time", "25", "--generation-deterministic", "--request-timeout", "10",
                   "--suppress-health-check", "all", "--no-color", "--warnings", "off"]
        run = subprocess.run([program, "run", str(document), *options], capture_output=True, text=True, cwd=here,
                             env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(here)})
        print("        " + [line for line in run.stdout.splitlines() if "generated" in line or "No test cases" in line][0].strip())
        assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


paths = get("/openapi/v3")["paths"]
for path in ["api/v1", "apis/conductor.dev/v1", "apis/rbac.authorization.k8s.io/v1", "apis/batch/v1", "apis/coordination.k8s.io/v1"]:
    assert path in paths, paths
    check(path)
finish()
