"""An identity check, alone and in batches: goflow run examples/kyc.py --flow kyc --data alice

One file, four flows; `kyc-serial` and `kyc-parallel` lead up to `kyc`, which `kyc-batch` does for a list
of people. Profiles and photos are made up (data/kyc.json): a face is a list of numbers, and two faces
that point in about the same direction are the same person's. alice passes, bob and carol do not.
"""

import hashlib
import hmac
import json
import math
from pathlib import Path
from typing import TypedDict

import goflow

DATA = json.loads((Path(__file__).parent / "data" / "kyc.json").read_text())
KEY = b"a real one would come from the environment"
ALIKE = 0.95  # the cosine of the angle between two faces


class Profile(TypedDict):
    id: str
    face: list[float]
    photo: str


class Case(Profile):
    url: str


class Check(TypedDict):
    id: str
    passed: bool
    reason: str


def load_profile(id: str) -> Profile:
    if id not in DATA["profiles"]:
        raise LookupError(f"no profile {id!r}; there are {', '.join(DATA['profiles'])}")
    known = DATA["profiles"][id]
    return {"id": id, "face": known["face"], "photo": known["photo"]}


def generate_image_url(profile: Profile) -> Case:
    return {**profile, "url": f"photos:{profile['photo']}#{signature(profile['photo'])}"}


def signature(photo: str) -> str:
    return hmac.new(KEY, photo.encode(), hashlib.sha256).hexdigest()[:16]


def verify_url(case: Case) -> Case:
    photo, _, signed = case["url"].removeprefix("photos:").partition("#")
    if not hmac.compare_digest(signed, signature(photo)):
        raise PermissionError(f"the signature of {case['url']} is not ours")
    return case


def detect_face(case: Case) -> Check:
    count = len(DATA["photos"][case["photo"]])
    return {"id": case["id"], "passed": count == 1, "reason": f"faces found: {count}"}


def match_face(case: Case) -> Check:
    alike = max(cosine(case["face"], face) for face in DATA["photos"][case["photo"]])
    return {"id": case["id"], "passed": alike >= ALIKE, "reason": f"{alike:.0%} alike"}


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.hypot(*a) / math.hypot(*b)


def all_passed(checks: dict[str, Check]) -> Check:
    detected, matched = checks["face-detect"], checks["face-match"]
    passed = detected["passed"] and matched["passed"]
    reason = f"{detected['reason']}, {matched['reason']}"
    return {"id": detected["id"], "passed": passed, "reason": reason}


def mark_profile(check: Check) -> str:
    return f"{check['id']} {'verified' if check['passed'] else 'rejected'}: {check['reason']}"


def open_ticket(check: Check, context: goflow.Context) -> str:
    """The key is the same if this node is attempted again, so there never are two tickets."""
    return f"{check['id']} to review (ticket {context.idempotency_key[:8]}): {check['reason']}"


@goflow.flow("kyc-serial")
def serial(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    image = dag.node("get-kyc-image", load_profile)
    dag.node("get-kyc-image", generate_image_url)  # the same name: one node, two functions in turn
    image >> dag.node("face-detect", detect_face) >> dag.node("mark-profile", mark_profile)


@goflow.flow("kyc-parallel")
def parallel(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    image = dag.node("get-kyc-image", load_profile)
    dag.node("get-kyc-image", generate_image_url)
    checks = [dag.node("face-detect", detect_face), dag.node("face-match", match_face)]
    image >> checks >> dag.node("mark-profile", mark_profile, aggregator=all_passed)


def verify_image() -> goflow.Dag:
    """What every flow that looks at a photo has in common."""
    dag = goflow.Dag()
    checks = [dag.node("face-detect", detect_face), dag.node("face-match", match_face)]
    result = dag.node("generate-result", aggregator=all_passed)
    dag.node("verify-url", verify_url) >> checks >> result
    return dag


def check_person() -> goflow.Dag:
    dag = goflow.Dag()
    profile = dag.node("load-profile", load_profile)
    url = dag.node("generate-image-url", generate_image_url)
    profile >> url >> dag.sub_dag("verify-image", verify_image) >> "verdict"
    verdict = dag.conditional_branch("verdict", ["pass", "fail"], pass_or_fail)
    verdict["pass"].node("mark-profile", mark_profile)
    verdict["fail"].node("open-ticket", open_ticket)
    return dag


def pass_or_fail(check: Check) -> str:
    return "pass" if check["passed"] else "fail"


@goflow.flow("kyc")
def kyc(workflow: goflow.Workflow, context: goflow.Context) -> None:
    workflow.dag = check_person()


@goflow.flow("kyc-batch")
def batch(workflow: goflow.Workflow, context: goflow.Context) -> None:
    each = workflow.dag.foreach_branch("each", people, aggregator=in_lines)
    each.append(check_person())


def people(ids: str) -> dict[str, str]:
    return {id: id for id in ids.split()}


def in_lines(results: dict[str, str]) -> str:
    return "\n".join(results.values())
