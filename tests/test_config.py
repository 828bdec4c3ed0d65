"""goflow.toml, the environment and options: what holds, and what is told when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goflow import config as config_module
from goflow.config import KEYS, Config, Serve, find, load_config, state_folder
from goflow.errors import ConfigError
from goflow.setting import duration, size
from goflow.toml_text import lines

ALL_KEYS = """\
flows = ["flow.py", "flows/*.py"]
backend = "redis://example.com:6379/1"
[local]
path = "store"
sync = "full"
[redis]
url = "rediss://:pass@example.com:6379/0"
namespace = "mine"
[worker]
concurrency = 7
lease = 2.5
grace = "1m"
[serve]
host = "0.0.0.0"
port = 9090
secret = "shh"
allowed_hosts = ["flows.example.com"]
max_body = "1MiB"
max_wait = 10
max_queued = 3
[payload]
max_size = "1GB"
inline_limit = 1024
blobs = "s3://bucket/prefix"
[logs]
max_per_attempt = "2KB"
format = "json"
[telemetry]
traces = "otlp"
endpoint = "http://localhost:4318"
[retention]
finished_runs = "1h30m"
dead = "2w"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(
    text: str | bytes | None = None,
    environ: Mapping[str, str] | None = None,
    **overrides: object,
) -> Config:
    """The configuration of the current folder; options with __ for the dot."""
    if text is not None:
        Path("goflow.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    options = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_config(overrides=options, environ=environ or {})


def problems(text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the one error that this configuration is answered with."""
    with pytest.raises(ConfigError) as caught:
        load(text, environ)
    told = str(caught.value).splitlines()
    if len(told) > 1 and told[0].endswith(f"{len(told) - 1} problems:"):
        return [line.removeprefix("  - ") for line in told[1:]]
    return told


def test_without_a_file_every_default_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    config = load()
    assert config == msgspec.structs.replace(Config(), base=str(folder))
    assert config.local.path == str(folder / "state" / "goflow")
    assert config.file is None
    assert config.worker.concurrency == 5
    assert config.retention.finished_runs == 7 * 24 * 3600


def test_every_key_of_the_file_is_read(folder: Path) -> None:
    config = load(ALL_KEYS)
    told = msgspec.to_builtins(config)
    assert told.pop("file") == str(folder / "goflow.toml")
    assert told.pop("base") == str(folder)
    assert told == {
        "flows": ("flow.py", "flows/*.py"),
        "backend": "redis://example.com:6379/1",
        "local": {"path": str(folder / "store"), "sync": "full"},
        "redis": {"url": "rediss://:pass@example.com:6379/0", "namespace": "mine"},
        "worker": {"concurrency": 7, "lease": 2.5, "grace": 60.0},
        "serve": {
            "host": "0.0.0.0",
            "port": 9090,
            "secret": "shh",
            "secret_file": "",
            "allowed_hosts": ("flows.example.com",),
            "max_body": 2**20,
            "max_wait": 10.0,
            "max_queued": 3,
        },
        "payload": {"max_size": 10**9, "inline_limit": 1024, "blobs": "s3://bucket/prefix"},
        "logs": {"max_per_attempt": 2000, "format": "json"},
        "telemetry": {"traces": "otlp", "endpoint": "http://localhost:4318"},
        "retention": {"finished_runs": 5400.0, "dead": 14 * 86400.0},
    }


def test_an_empty_file_changes_only_where_the_store_rests(folder: Path) -> None:
    config = load("")
    assert config.local.path == str(folder / ".goflow")
    assert config.worker == Config().worker


def test_keys_and_structs_agree() -> None:
    sections = {name: type(getattr(Config(), name)) for name in KEYS if name}
    for name, struct in sections.items():
        assert tuple(KEYS[name]) == struct.__struct_fields__
    assert {*sections, *KEYS[""]} == {*Config.__struct_fields__} - {"file", "base"}


def test_every_default_is_a_value_the_file_may_hold(folder: Path) -> None:
    told = msgspec.to_builtins(Config())
    for section, keys in KEYS.items():
        for key, kind in keys.items():
            value = (told[section] if section else told)[key]
            assert kind.read(value, "/") == value


def test_the_file_is_found_from_the_flow_s_folder_upwards(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "goflow.toml").write_text("worker.concurrency = 2")
    (folder / "a" / "b" / "flow.py").touch()
    assert find("a/b/flow.py") == str(folder / "goflow.toml")
    assert load_config("a/b/flow.py", environ={}).worker.concurrency == 2
    (folder / "a" / "goflow.toml").write_text("worker.concurrency = 3")
    assert find(folder / "a" / "b") == str(folder / "a" / "goflow.toml")


def test_a_folder_called_goflow_toml_is_none(folder: Path) -> None:
    (folder / "inner" / "goflow.toml").mkdir(parents=True)
    (folder / "goflow.toml").touch()
    assert find("inner") == str(folder / "goflow.toml")


def test_paths_of_the_file_start_from_its_folder(folder: Path) -> None:
    (folder / "deep").mkdir()
    os.chdir("deep")
    (folder / "goflow.toml").write_text(
        'flows = ["*.py"]\nlocal.path = "../store"\nserve.secret_file = "s"\npayload.blobs = "b"'
    )
    config = load()
    assert config.base == str(folder)
    assert config.flows == ("*.py",)
    assert config.local.path == str(folder.parent / "store")
    assert config.serve.secret_file == str(folder / "s")
    assert config.payload.blobs == str(folder / "b")


def test_paths_of_environment_and_options_start_from_the_current_folder(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "goflow.toml").write_text('flows = ["*.py"]')
    os.chdir("deep")
    config = load(
        environ={"GOFLOW_LOCAL_PATH": "store", "GOFLOW_FLOWS": "x.py"}, payload__blobs="b"
    )
    assert config.local.path == str(folder / "deep" / "store")
    assert config.payload.blobs == str(folder / "deep" / "b")
    assert (config.flows, config.base) == (("x.py",), str(folder / "deep"))


def test_a_tilde_is_the_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert load('local.path = "~/runs"').local.path == str(folder / "runs")


def test_a_relative_state_home_is_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(folder))
    assert state_folder() == str(folder / ".local" / "state" / "goflow")


def test_the_environment_beats_the_file_and_options_beat_both(folder: Path) -> None:
    text = 'backend = "local"\n[worker]\nconcurrency = 1\nlease = 11\ngrace = 1\n'
    environ = {
        "GOFLOW_WORKER_CONCURRENCY": "2",
        "GOFLOW_WORKER_LEASE": "22",
        "GOFLOW_BACKEND": "redis",
        "GOFLOW_SERVE_MAX_BODY": "3kb",
    }
    config = load(text, environ, worker__concurrency=3, worker__lease=None)
    assert (config.worker.concurrency, config.worker.lease, config.worker.grace) == (3, 22.0, 1.0)
    assert config.backend == "redis"
    assert config.serve.max_body == 3000


def test_lists_of_the_environment(folder: Path) -> None:
    environ = {
        "GOFLOW_FLOWS": f"a.py, b.py{os.pathsep}c/*.py,",
        "GOFLOW_SERVE_ALLOWED_HOSTS": "a.example.com:8080,[::1]",
    }
    config = load(environ=environ)
    assert config.flows == ("a.py", "b.py", "c/*.py")
    assert config.serve.allowed_hosts == ("a.example.com:8080", "[::1]")


def test_an_empty_variable_is_none(folder: Path) -> None:
    text = '[serve]\nsecret = "shh"\n'
    assert load(text, {"GOFLOW_SERVE_SECRET": "", "GOFLOW_FLOWS": " "}).serve.secret == "shh"


def test_what_kubernetes_sets_for_services_of_ours_is_no_setting(folder: Path) -> None:
    environ = {
        "GOFLOW_REDIS_SERVICE_HOST": "10.0.0.1",
        "GOFLOW_REDIS_SERVICE_PORT_HTTP": "80",
        "GOFLOW_REDIS_PORT": "tcp://10.0.0.1:6379",
        "GOFLOW_REDIS_PORT_6379_TCP_ADDR": "10.0.0.1",
        "GOFLOW_SERVE_PORT": "tcp://10.0.0.1:80",
        "GOFLOW_PORT": "tcp://10.0.0.1:80",
        "GOFLOW_EDITOR": "nobody's business",
    }
    assert load(environ=environ).serve.port == 8080


def test_every_problem_is_told_at_once_with_file_and_line(folder: Path) -> None:
    text = """\
flows = [
  "a.py",
  3,
]
bakend = "local"
concurrency = 3
worker.lease = 1

[local]
pathe = "x"
sync = "ful"
backend = "local"

[serve]
port = 65536
max_body = "10 parsecs"
secret = 1

[retentoin]
dead = "1d"
[telemetry]
traces = true
[redis]
namespace = ""
url = "http://:pass@example.com"
"""
    environ = {"GOFLOW_WORKER_LEES": "3", "GOFLOW_WORKER_CONCURRENCY": "0"}
    told = problems(text, environ)
    assert told == [
        'goflow.toml:1: flows = ["a.py", 3]: expected a list of files, such as'
        ' ["flow.py", "flows/*.py"]; 3 is not one',
        "goflow.toml:5: unknown key 'bakend', did you mean 'backend'?",
        "goflow.toml:6: unknown key 'concurrency': it belongs into [worker]",
        'goflow.toml:7: [worker] lease = 1: expected a time in seconds, such as 30, "30s",'
        ' "1h30m" or "7d", 2 s at least',
        "goflow.toml:10: unknown key 'pathe' in [local], did you mean 'path'?",
        'goflow.toml:11: [local] sync = "ful": expected "normal" or "full", did you mean \'full\'?',
        "goflow.toml:12: unknown key 'backend' in [local]: it belongs above the first [section]",
        "goflow.toml:15: [serve] port = 65536: expected a whole number, 0 to 65535",
        'goflow.toml:16: [serve] max_body = "10 parsecs": expected a size in bytes, such as'
        ' 1048576, "64MB" or "256KiB", 1 at least',
        "goflow.toml:17: [serve] secret: expected text",
        "goflow.toml:19: unknown section 'retentoin', did you mean 'retention'?",
        'goflow.toml:22: [telemetry] traces = true: expected "off", "console" or "otlp"',
        "goflow.toml:24: [redis] namespace = \"\": expected letters, digits, '.', '_', ':' and '-',"
        " at most 64",
        'goflow.toml:25: [redis] url: expected a URL such as "redis://localhost:6379/0" (or'
        ' rediss://, unix://, redis+sentinel://, redis+cluster://), or "host:port"',
        "GOFLOW_WORKER_LEES: unknown environment variable, did you mean 'GOFLOW_WORKER_LEASE'?",
        "GOFLOW_WORKER_CONCURRENCY = 0: expected a whole number, 1 at least",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("worker = 5", "worker = 5: expected a section [worker]"),
        ("[[worker]]\nlease = 3", "worker = [a table]: expected a section [worker]"),
        ("[worker.lease]\nx = 1", "[worker] lease = a table: expected a time in seconds"),
        ('worker.concurrency = "5"', '[worker] concurrency = "5": expected a whole number'),
        ("worker.concurrency = true", "[worker] concurrency = true: expected a whole number"),
        ("worker.concurrency = 1.5", "[worker] concurrency = 1.5: expected a whole number"),
        ("worker.lease = inf", "[worker] lease = inf: expected a time"),
        ("worker.lease = nan", "[worker] lease = nan: expected a time"),
        ("worker.lease = 1e12", "[worker] lease = 1000000000000.0: expected a time in seconds"),
        ("worker.lease = 2020-01-01", "[worker] lease = 2020-01-01: expected a time"),
        ("worker.lease = '1s'", '[worker] lease = "1s": expected a time in seconds'),
        ("payload.max_size = 1.5", "[payload] max_size = 1.5: expected a size in bytes"),
        ("payload.max_size = 0", "[payload] max_size = 0: expected a size in bytes"),
        (f"payload.max_size = 1{'0' * 500}", "[payload] max_size = 1000"),
        (
            "payload.blobs = 'gs://x'",
            '[payload] blobs = "gs://x": expected a folder or an s3:// URL',
        ),
        ("flows = 'flow.py'", 'flows = "flow.py": expected a list of files'),
        ("flows = ['']", 'flows = [""]: expected a list of files'),
        ('flows = ["a\\u0000b"]', 'flows = ["a\\u0000b"]: expected a list of files'),
        ("backend = ''", 'backend = "": expected "local", "redis"'),
        ("telemetry.endpoint = 'localhost'", '[telemetry] endpoint = "localhost": expected a URL'),
        ("serve.host = 'http://x'", '[serve] host = "http://x": expected a host name or address'),
        ('local.path = "a\\u0000b"', '[local] path = "a\\u0000b": expected a folder'),
        ("'' = 1", "unknown key ''"),
        ("retention.dead = 0", "[retention] dead = 0: expected a time in seconds"),
    ],
)
def test_a_wrong_value_is_told_with_its_line(folder: Path, line: str, told: str) -> None:
    (found,) = problems(f"# first\n\n{line}\n")
    assert found.startswith(f"goflow.toml:3: {told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[worker\nlease = 3", "goflow.toml:1:8: not TOML: expected ']' at the end of a table"),
        ("a = 1\na = 2", "goflow.toml:2:6: not TOML: cannot overwrite a value"),
        ("[payload]\nmax_size = 64MB", "goflow.toml:2:14: not TOML: expected newline"),
        ("backend = local", "goflow.toml:1:11: not TOML: invalid value (text stands in quotes)"),
        ("# x\nflows = [", "goflow.toml:2:10: not TOML: invalid value"),
        ('backend = "local', "goflow.toml:1:17: not TOML: unterminated string"),
        (b"backend = 'x'\n# caf\xe9\n", "goflow.toml:2: expected UTF-8 text, got"),
        ("flows = " + "[" * 5000, "goflow.toml: not usable: maximum recursion"),
        ("a = " + "1" * 5000, "goflow.toml: not usable: Exceeds the limit"),
    ],
)
def test_what_is_no_toml_is_told_with_line_and_column(
    folder: Path, text: str | bytes, told: str
) -> None:
    assert problems(text)[0].startswith(told)


def test_a_syntax_error_shows_the_line_and_hides_no_other_problem(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load("[payload]\nmax_size = 64MB\n", {"GOFLOW_WORKER_LEASE": "never"})
    assert "    max_size = 64MB\n" in str(caught.value)
    assert 'GOFLOW_WORKER_LEASE = "never": expected a time' in str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(folder: Path) -> None:
    text = "\ufeff[worker]\r\nconcurrency = 2\r\nlease = 1\r\n"
    (told,) = problems(text)
    assert told.startswith("goflow.toml:3: [worker] lease = 1")


def test_a_file_that_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "goflow.toml").symlink_to("/proc/self/mem")
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    with pytest.raises(ConfigError, match=r"cannot read goflow\.toml: "):
        load()


def test_options_are_checked_like_the_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"worker\.concurrency = 0: expected a whole number"):
        load(worker__concurrency=0)
    with pytest.raises(ConfigError, match=r"worker\.lees: unknown option.*'worker.lease'"):
        load(worker__lees=3)


def test_secret_and_secret_file_exclude_each_other(folder: Path) -> None:
    (told,) = problems('[serve]\nsecret = "a"\nsecret_file = "b"\n')
    assert told == (
        "goflow.toml:3: [serve] secret_file: expected either secret or secret_file, got both"
    )
    assert load('[serve]\nsecret = ""\nsecret_file = "b"\n').serve.secret_file == str(folder / "b")


def test_a_nearer_secret_takes_the_place_of_a_farther_secret_file(folder: Path) -> None:
    serve = load('[serve]\nsecret_file = "b"\n', {"GOFLOW_SERVE_SECRET": "env"}).serve
    assert (serve.secret, serve.secret_file) == ("env", "")
    serve = load('[serve]\nsecret = "b"\n', {"GOFLOW_SERVE_SECRET_FILE": "env"}).serve
    assert (serve.secret, serve.secret_file) == ("", str(folder / "env"))


def test_the_secret_is_read_from_its_file(folder: Path) -> None:
    Path("s").write_text("  shh\n")
    assert load('serve.secret_file = "s"').serve.read_secret() == "shh"
    assert Serve(secret="direct").read_secret() == "direct"
    assert Serve().read_secret() == ""


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"", "is empty"), (b"\xff", "not UTF-8 text")],
)
def test_a_secret_file_of_no_use_is_told(folder: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        Path("s").write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        load('serve.secret_file = "s"').serve.read_secret()


def test_no_secret_is_ever_shown(folder: Path) -> None:
    text = '[serve]\nsecret = "hush"\n[redis]\nurl = "redis://:hush@example.com:6379/0"\n'
    assert "hush" not in repr(load(text))
    told = problems('[serve]\nsecret = ["hush"]\n[redis]\nurl = "redis:/:hush@example.com"\n')
    assert len(told) == 2
    assert "hush" not in "".join(told)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30", 30), ("30s", 30), ("1.5h", 5400), ("1h 30m", 5400), ("7 d", 604800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration().read(text, "") == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1),
        ("1B", 1),
        ("1.5kb", 1500),
        ("64MB", 64 * 10**6),
        ("256 KiB", 2**18),
        ("1TiB", 2**40),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert size().read(text, "") == count


@pytest.mark.parametrize(
    "text", ["", " ", "MB", "1 2", "1h30", "-1", "1e3", "1xb", "\u0661s", "0x10", "1kb1kb"]
)
def test_what_is_neither_size_nor_duration(text: str) -> None:
    for kind in (size(), duration()):
        with pytest.raises(ValueError, match="such as"):
            kind.read(text, "")


def test_lines_are_those_of_the_keys_as_the_parser_sees_them() -> None:
    text = '''# [worker]
text = """
[worker]
lease = 1
"""
list = [ # one
  "[serve]",
]
"quoted" = 1
dotted . key = 2

[ worker ] # a comment
lease = 1
[serve]
inline = { a = 1, b = 2 }
[[many]]
a = 1
[[many]]
b = 1
'''
    found = lines(text)
    assert {".".join(path): line for path, line in found.items()} == {
        "text": 2,
        "list": 6,
        "quoted": 9,
        "dotted": 10,
        "dotted.key": 10,
        "worker": 12,
        "worker.lease": 13,
        "serve": 14,
        "serve.inline": 15,
        "many": 16,
        "many.a": 17,
        "many.b": 19,
    }


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_configuration_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "goflow.toml").write_bytes(data)
    try:
        told = load_config(folder, environ={}).file
    except ConfigError as error:
        told = str(error)
    assert told is not None
    assert "goflow.toml" in told


def test_without_a_file_nothing_of_toml_and_no_pathlib_is_imported(folder: Path) -> None:
    code = (
        "import sys; from goflow.config import load_config; load_config();"
        "print([m for m in ('toml', 'tomllib', 'pathlib', 'difflib', 'dataclasses') if m in sys.modules])"
    )
    # -S: an editable install's own start-up code may import anything
    paths = os.pathsep.join([str(Path(config_module.__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": paths, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "hint"),
    [("redus", "'redis'"), ("locl", "'local'"), ("rediss", "'redis'"), ("x://y", "")],
)
def test_a_backend_that_nobody_provides_is_told_with_its_line(
    tmp_path: Path, text: str, hint: str
) -> None:
    (tmp_path / "goflow.toml").write_text(f'flows = []\nbackend = "{text}"\n')
    with pytest.raises(
        ConfigError, match=r'goflow\.toml:2: backend = .*expected "local", "redis"'
    ) as e:
        load_config(tmp_path, environ={})
    assert hint in str(e.value)


@pytest.mark.parametrize("text", ["local", "redis", "localhost:6379", "rediss://h", "file:///x"])
def test_a_backend_that_is_there_may_be_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "goflow.toml").write_text(f'backend = "{text}"\n')
    assert load_config(tmp_path, environ={}).backend == text
