"""The push, and the files from which Grafana provisions itself. Grafana's side of the API is a recording server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from keng_dashboards.cli import cli
from keng_dashboards.influxql import DATASOURCE_UID
from keng_dashboards.push import FOLDER_UID, Influx
from tests.support.influx import Answer, Call, Front
from tests.support.processes import free_port
from tests.support.registry import SAMPLE

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "dashboards" / "provisioning"


class GrafanaApi:
    """As much of Grafana's HTTP API as the push uses, by its reference documentation."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def __call__(self, call: Call) -> Answer:
        if call.headers.get("authorization") != "Bearer glsa_let_me_in":
            return self._say(401, {"message": "Invalid API key"})
        if call.method == "GET":
            return self._say(200, self.kept[call.path]) if call.path in self.kept else self._say(404, {"message": "no"})
        sent = json.loads(call.body)
        if call.path == "/api/dashboards/db":
            uid = sent["dashboard"]["uid"]
            self.kept[f"/api/dashboards/uid/{uid}"] = sent
            return self._say(200, {"uid": uid, "status": "success", "url": f"/d/{uid}/flood"})
        self.kept[f"/api/{'datasources/uid' if 'datasources' in call.path else 'folders'}/{sent['uid']}"] = sent
        return self._say(200, sent)

    def _say(self, status: int, content: Any) -> Answer:
        return Answer(status, json.dumps(content), {"Content-Type": "application/json"})


@pytest.fixture
def server() -> Iterator[Front]:
    with Front() as standing:
        standing.rule = GrafanaApi()
        yield standing


@pytest.fixture
def token(tmp_path: Path) -> Path:
    (tmp_path / "grafana.token").write_text("glsa_let_me_in\n")
    return tmp_path / "grafana.token"


def push(url: str, token: Path, *more: str) -> Result:
    arguments = ["push", "--registry", str(SAMPLE), "--on", "2025-11-16", "--url", url, "--token-file", str(token)]
    return CliRunner().invoke(cli, [*arguments, *more])


def test_a_push_sets_the_data_source_and_puts_the_dashboard_into_its_folder(server: Front, token: Path) -> None:
    token.with_name("influx").write_text("secret")
    told = push(
        server.url, token, "--influx-url", "http://influxdb:8086", "--influx-token-file", str(token.with_name("influx"))
    )
    assert told.exit_code == 0, told.output
    assert told.output == f"{server.url}/d/keng-flood-quang-tho/flood\n"
    assert [(call.method, call.path) for call in server.calls] == [
        ("GET", f"/api/datasources/uid/{DATASOURCE_UID}"),
        ("POST", "/api/datasources"),
        ("GET", f"/api/datasources/uid/{DATASOURCE_UID}"),
        ("GET", f"/api/folders/{FOLDER_UID}"),
        ("POST", "/api/folders"),
        ("POST", "/api/dashboards/db"),
    ]
    sent = json.loads(server.calls[-1].body)
    assert sent["dashboard"] == json.loads((ROOT / "dashboards" / "flood.json").read_bytes())
    assert (sent["overwrite"], sent["folderUid"]) == (True, FOLDER_UID)
    source = json.loads(server.calls[1].body)
    assert source["secureJsonData"] == {"httpHeaderValue1": "Token secret"}


def test_a_second_push_replaces_and_makes_nothing_anew(server: Front, token: Path) -> None:
    for _ in range(2):
        server.calls.clear()
        assert push(server.url, token, "--influx-url", "http://influxdb:8086").exit_code == 0
    assert [(call.method, call.path) for call in server.calls if call.method != "GET"] == [
        ("PUT", f"/api/datasources/uid/{DATASOURCE_UID}"),
        ("POST", "/api/dashboards/db"),
    ]


def test_a_grafana_behind_a_path_is_reached(server: Front, token: Path) -> None:
    api = GrafanaApi()
    server.rule = lambda call: api(call._replace(path=call.path.removeprefix("/grafana")))
    told = push(f"{server.url}/grafana", token, "--influx-url", "http://influxdb:8086")
    assert told.output == f"{server.url}/grafana/d/keng-flood-quang-tho/flood\n"
    assert {call.path.split("/")[1] for call in server.calls} == {"grafana"}


def test_without_the_data_source_nothing_is_pushed(server: Front, token: Path) -> None:
    told = push(server.url, token)
    assert told.exit_code == 2
    assert "no data source" in told.output and "--influx-url" in told.output
    assert all(call.method == "GET" for call in server.calls)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (Answer(401, '{"message":"Invalid API key"}'), "check the token"),
        (Answer(403, '{"message":"Access denied"}'), "role Editor"),
        (Answer(412, '{"message":"Cannot save provisioned dashboard"}'), "provisioned from a file"),
        (Answer(500, "oops"), "Grafana refuses"),
        (Answer(200, "<html>hotel</html>"), "no Grafana answers there"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(server: Front, token: Path, answer: Answer, word: str) -> None:
    server.rule = lambda _: answer
    told = push(server.url, token)
    assert told.exit_code == 2 and word in told.output and told.output.count("\n") == 1


def test_a_grafana_that_is_not_there_and_a_missing_token_are_told(token: Path) -> None:
    told = push(f"http://127.0.0.1:{free_port()}", token)
    assert told.exit_code == 2 and "no Grafana answers there" in told.output
    told = push("http://127.0.0.1:1", token.with_name("absent"))
    assert told.exit_code == 2 and "make it with: install -m 600" in told.output


def test_the_provisioned_data_source_is_the_one_that_the_dashboards_ask() -> None:
    text = (PROVISIONING / "datasources" / "keng.yaml").read_text(encoding="utf-8")
    assert f"uid: {DATASOURCE_UID}\n" in text
    pushed = Influx("http://x", "keng", "token").datasource()
    for key, value in {**pushed["jsonData"], "type": pushed["type"], "access": pushed["access"]}.items():
        if key != "dbName":
            assert f"{key}: {value}\n" in text, f"pushed and provisioned differ in {key}"


def test_provisioning_has_no_secret_and_the_compose_file_sets_its_variables() -> None:
    settings = (PROVISIONING / "datasources" / "keng.yaml").read_text(encoding="utf-8").partition("apiVersion")[2]
    names = set(re.findall(r"\$\{(\w+)\}", settings))
    assert names == {"KENG_INFLUXDB_URL", "KENG_INFLUXDB_DATABASE", "KENG_INFLUXDB_TOKEN"}
    assert "httpHeaderValue1: Token ${KENG_INFLUXDB_TOKEN}\n" in settings
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert all(f"{name}:" in compose for name in names)
    path = re.search(r"path: (\S+)", (PROVISIONING / "dashboards" / "keng.yaml").read_text(encoding="utf-8"))
    assert path is not None and f"./dashboards/flood.json:{path[1]}/flood.json:ro" in compose
