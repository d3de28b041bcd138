"""What schemathesis has to know beside the document of the admin API: values that no JSON Schema can describe.

Names are bounded by bytes, not by characters. dev/test-api names this file in $SCHEMATHESIS_HOOKS, and real rooms, users,
clients and nodes in $CONDUIT_NAMES, so that not only unknown ones are asked for."""

import json
import os
import time

import schemathesis
from hypothesis import strategies as st

real = json.loads(os.environ.get("CONDUIT_NAMES", "{}"))


def some(kind, others):
    return st.one_of(st.sampled_from(real[kind]), others) if real.get(kind) else others


def fits(text):
    return 1 <= len(text.encode()) <= 255


plain = st.characters(exclude_categories=["Cs", "Cc"])
names = st.text(plain, min_size=1, max_size=255).filter(fits)
schemathesis.openapi.format("conduit-name", some("names", names))
schemathesis.openapi.format("conduit-client", some("clients", st.from_regex(r"\A[A-Za-z0-9._-]{1,64}\.[0-9a-z]{1,64}\Z")))
schemathesis.openapi.format("conduit-node", some("nodes", st.from_regex(r"\A[A-Za-z0-9._-]{1,64}\Z")))
schemathesis.openapi.format("conduit-cursor", st.tuples(st.integers(0, 999_999_999), names).map(lambda it: f"{it[0]}:{it[1]}"))
schemathesis.openapi.format("conduit-type", st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255).filter(fits))


@schemathesis.hook
def filter_case(context, case):
    """Not what is only called wrong: schemathesis takes every string for a breach of a format that it doesn't know."""
    mutations = getattr(case.meta.phase.data, "mutations", ()) if case.meta else ()
    return not any("format" in mutation.keywords for mutation in mutations)


@schemathesis.hook
def before_call(context, case, kwargs):
    """What depends on the clock or on a node's configuration: a time to come, and rooms that keep a log."""
    if not case.meta or case.meta.generation.mode != schemathesis.GenerationMode.POSITIVE:
        return
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("expires_at"), (int, float)):
        body["expires_at"] = int(time.time()) + 60
    elif isinstance(body, dict) and isinstance(body.get("expires_at"), str):
        body["expires_at"] = "2999-01-02T03:04:05.678Z"
    if case.operation.path.endswith("/history") and not case.path_parameters["room"].startswith("log%3A"):
        case.path_parameters["room"] = "log%3A" + case.path_parameters["room"][:200].rstrip("%0123456789ABCDEF")
