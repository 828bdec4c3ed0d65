"""Nodes in a row, each fed by the one before: goflow run examples/serial.py --data 'The Joy of Tea'

A node gets what its annotation says: here text first, then the list that travels as JSON.
"""

import re

import goflow

FILLERS = {"a", "an", "and", "of", "the"}


def split(title: str) -> list[str]:
    return re.findall(r"\w+", title.lower())


def shorten(words: list[str]) -> list[str]:
    return [word for word in words if word not in FILLERS]


def join(words: list[str]) -> str:
    return "-".join(words)


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    dag.node("split", split) >> dag.node("shorten", shorten) >> dag.node("join", join)
