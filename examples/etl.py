"""From CSV into SQLite, with rejected rows and ordering edges: goflow run examples/etl.py

Reads examples/data/orders.csv (or `--data FILE`) and writes orders.db, and rejected.csv where there are
rows to reject, into examples/out/etl (or `--query out=FOLDER`). The result is the sales by country.
"""

import csv
import sqlite3
from contextlib import closing
from dataclasses import astuple, dataclass
from datetime import date
from pathlib import Path
from typing import TypedDict

import goflow

HERE = Path(__file__).parent
Options = dict[str, list[str]]
Row = dict[str, str]


@dataclass
class Order:
    id: int
    day: str
    country: str
    quantity: int
    cents: int


class Checked(TypedDict):
    accepted: list[Order]
    rejected: list[Row]


def out(options: Options) -> Path:
    return Path(options.get("out", [str(HERE / "out" / "etl")])[0])


def extract(file: str) -> list[Row]:
    with Path(file or HERE / "data" / "orders.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def check(rows: list[Row]) -> Checked:
    checked: Checked = {"accepted": [], "rejected": []}
    for row in rows:
        try:
            checked["accepted"].append(order(row))
        except ValueError as error:
            checked["rejected"].append({**row, "reason": str(error)})
    return checked


def order(row: Row) -> Order:
    date.fromisoformat(row["day"])
    quantity, cents = int(row["quantity"]), round(float(row["price"]) * 100)
    if quantity < 1:
        raise ValueError(f"quantity must be 1 or more: {quantity}")
    if len(row["country"]) != 2:
        raise ValueError(f"not a country code: {row['country']!r}")
    return Order(int(row["id"]), row["day"], row["country"], quantity, cents)


def accepted(checked: Checked) -> list[Order]:
    return checked["accepted"]


def rejected(checked: Checked) -> list[Row]:
    return checked["rejected"]


def prepare(data: bytes, options: Options) -> None:
    """An empty table and no rejected.csv of the last time."""
    out(options).mkdir(parents=True, exist_ok=True)
    (out(options) / "rejected.csv").unlink(missing_ok=True)
    with closing(sqlite3.connect(out(options) / "orders.db")) as db, db:
        db.execute("DROP TABLE IF EXISTS orders")
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, day, country, quantity, cents)")


def load(orders: list[Order], options: Options) -> int:
    """OR REPLACE: a node may be attempted again, and must then leave the same rows behind."""
    with closing(sqlite3.connect(out(options) / "orders.db")) as db, db:
        rows = map(astuple, orders)
        return db.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?)", rows).rowcount


def any_rejected(rows: list[Row]) -> list[str]:
    return ["some"] if rows else []


def write_rejected(rows: list[Row], options: Options) -> None:
    with (out(options) / "rejected.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def sales(loaded: int, options: Options) -> dict[str, float]:
    query = (
        "SELECT country, SUM(quantity * cents) / 100.0 FROM orders GROUP BY country ORDER BY 2 DESC"
    )
    with closing(sqlite3.connect(out(options) / "orders.db")) as db:
        return dict(db.execute(query).fetchall())


def define_workflow(workflow: goflow.Workflow, context: goflow.Context) -> None:
    dag = workflow.dag
    dag.node("prepare", prepare)
    dag.node("extract", extract) >> dag.node("check", check)
    dag.node("load", load) >> dag.node("sales", sales)
    rejects = dag.conditional_branch("rejects", ["some"], any_rejected)
    rejects["some"].node("write", write_rejected)
    dag.edge("check", "load", forwarder=accepted)
    dag.edge("check", "rejects", forwarder=rejected)
    dag.edge("prepare", "load", execution_only=True)
    dag.edge("prepare", "rejects", execution_only=True)
    dag.edge("rejects", "sales", execution_only=True)
