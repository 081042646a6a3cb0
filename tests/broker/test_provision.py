"""Identities: complete folders, keys that stay where they were made, certificates that hold."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.oid import NameOID

from keng_broker.cli import provision as provision_command
from keng_broker.provision import RENEW_BEFORE, VALID, first_end, provision
from keng_contracts.errors import Problem
from keng_runtime.credentials import Credentials
from keng_runtime.signing import NotTrusted

NODES = ["tram-phu-oc", "loa-phuoc-yen"]
NOW = datetime(2026, 1, 15, tzinfo=UTC)
SAMPLE = Path(__file__).parents[2] / "console/keng_console/sample/commune.toml"


def make(
    folder: Path, now: datetime = NOW, nodes: list[str] = NODES, commune: str = "quang-tho", **more: object
) -> list[str]:
    return provision(folder, commune=commune, nodes=nodes, now=now, **more)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_every_identity_gets_a_folder_that_is_complete(tmp_path: Path) -> None:
    made = make(tmp_path, replicas=2, secrets=["influxdb-token"])
    assert sorted(made) == sorted(files(tmp_path))
    everyone = ["ca.crt", "node.crt", "node.key", "trust.json"]
    layout = {
        folder.name: sorted(file.name for file in folder.iterdir()) for folder in tmp_path.iterdir() if folder.is_dir()
    }
    assert layout == {
        "ca": ["ca.crt", "ca.key"],
        "broker": ["ca.crt", "server.crt", "server.key"],
        "ingest": everyone,
        "ingest-2": everyone,
        "alerts": sorted([*everyone, "signing.jwk"]),
        "notify": everyone,
        "root": sorted([*everyone, "signing.jwk"]),
        "console": sorted([*everyone, "signing.jwk", "cap.crt", "cap.key"]),
        "tram-phu-oc": everyone,
        "loa-phuoc-yen": everyone,
    }
    assert len((tmp_path / "influxdb-token").read_text()) >= 32


def test_folders_are_their_owners_alone_and_so_is_what_is_private(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out)
    for path in [out, *out.rglob("*")]:
        mode = path.stat().st_mode & 0o777
        if path.is_dir():
            assert mode == 0o700, path
        elif path.suffix in {".key", ".jwk"}:
            assert mode == 0o600, path


def test_no_private_key_is_in_two_folders(tmp_path: Path) -> None:
    make(tmp_path)
    holders: dict[bytes, list[str]] = {}
    for name, content in files(tmp_path).items():
        if name.endswith((".key", ".jwk")):
            holders.setdefault(content, []).append(name)
    assert all(len(names) == 1 for names in holders.values())
    secrets = [
        json.loads((tmp_path / issuer / "signing.jwk").read_bytes())["jwk"]["d"] for issuer in ("alerts", "console")
    ]
    for name, content in files(tmp_path).items():
        if not name.endswith((".key", ".jwk")):
            assert b"PRIVATE" not in content, name
            assert not any(secret.encode() in content for secret in secrets), name


def test_openssl_verifies_each_certificate_strictly_and_for_its_own_side_only(tmp_path: Path) -> None:
    make(tmp_path, now=datetime.now(UTC))

    def verifies(file: str, purpose: str) -> bool:
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(tmp_path / "ca/ca.crt")]
        return subprocess.run([*command, str(tmp_path / file)], capture_output=True, check=False).returncode == 0

    assert verifies("broker/server.crt", "sslserver")
    assert not verifies("broker/server.crt", "sslclient")
    for identity in ("ingest", "alerts", "console", *NODES):
        assert verifies(f"{identity}/node.crt", "sslclient")
        assert not verifies(f"{identity}/node.crt", "sslserver")


def test_what_signs_documents_is_nobody_to_the_broker(tmp_path: Path) -> None:
    make(tmp_path, now=datetime.now(UTC))
    signer = certificate(tmp_path / "console/cap.crt")
    usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [use.dotted_string for use in usage] == ["1.3.6.1.5.5.7.3.36"]
    assert signer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "CAP"
    for purpose in ("sslclient", "sslserver"):
        command = ["openssl", "verify", "-purpose", purpose, "-CAfile", str(tmp_path / "ca/ca.crt")]
        done = subprocess.run([*command, str(tmp_path / "console/cap.crt")], capture_output=True, check=False)
        assert done.returncode != 0


def test_a_certificate_names_its_identity_and_counts_from_before_a_clock_that_was_never_set(tmp_path: Path) -> None:
    make(tmp_path)
    for identity in ("ingest", *NODES):
        one = certificate(tmp_path / identity / "node.crt")
        assert one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == identity
        assert one.not_valid_before_utc < datetime(2020, 1, 2, tzinfo=UTC)
        assert one.not_valid_after_utc == NOW + VALID
    assert first_end(tmp_path) == NOW + VALID


def test_the_server_certificate_has_the_names_and_addresses_by_which_it_is_reached(tmp_path: Path) -> None:
    make(tmp_path, server_names=["broker.quang-tho.lan", "192.168.1.10", "fd00::10"])
    names = certificate(tmp_path / "broker/server.crt").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["broker.quang-tho.lan"]
    assert [str(a) for a in names.value.get_values_for_type(x509.IPAddress)] == ["192.168.1.10", "fd00::10"]


def test_running_it_again_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path, server_names=["broker.lan"], secrets=["grafana-password"])
    before = files(tmp_path)
    assert make(tmp_path, now=NOW + timedelta(days=30), secrets=["grafana-password"]) == []
    assert files(tmp_path) == before


def test_running_it_again_adds_who_is_new_and_touches_nobody_else(tmp_path: Path) -> None:
    make(tmp_path)
    before = files(tmp_path)
    made = make(tmp_path, nodes=[*NODES, "loa-niem-pho"], replicas=2)
    assert {name.split("/")[0] for name in made} == {"loa-niem-pho", "ingest-2"}
    assert {name: content for name, content in files(tmp_path).items() if name in before} == before


def test_a_certificate_that_ends_soon_is_renewed_and_its_key_kept(tmp_path: Path) -> None:
    make(tmp_path)
    before = files(tmp_path)
    assert make(tmp_path, now=NOW + VALID - RENEW_BEFORE - timedelta(days=1)) == []
    made = make(tmp_path, now=NOW + VALID - RENEW_BEFORE + timedelta(days=1))
    assert sorted(made) == sorted(name for name in before if name.endswith(("node.crt", "server.crt", "cap.crt")))
    after = files(tmp_path)
    assert all(after[name] == before[name] for name in before if name not in made)


def test_new_server_names_make_a_new_server_certificate_alone(tmp_path: Path) -> None:
    make(tmp_path)
    assert make(tmp_path, server_names=["localhost", "127.0.0.1"]) == []
    assert make(tmp_path, server_names=["localhost"]) == ["broker/server.crt"]


def test_a_renewed_authority_and_the_old_one_vouch_for_each_others_certificates(tmp_path: Path) -> None:
    make(tmp_path)
    old_authority, old_node = certificate(tmp_path / "ca/ca.crt"), certificate(tmp_path / "ingest/node.crt")
    made = make(tmp_path, now=NOW + timedelta(days=3650 - 700))
    new_authority, new_node = certificate(tmp_path / "ca/ca.crt"), certificate(tmp_path / "ingest/node.crt")
    assert "ca/ca.crt" in made and "ca/ca.key" not in made and "tram-phu-oc/ca.crt" in made
    assert new_authority.not_valid_after_utc > old_authority.not_valid_after_utc
    for node in (old_node, new_node):
        for authority in (old_authority, new_authority):
            node.verify_directly_issued_by(authority)
    assert new_node.not_valid_after_utc <= new_authority.not_valid_after_utc


def test_nodes_obey_the_keys_of_alerts_and_console_within_what_each_may(tmp_path: Path) -> None:
    make(tmp_path)
    alerts, console = Credentials.open(tmp_path / "alerts"), Credentials.open(tmp_path / "console")
    for identity in ("ingest", "alerts", "console", *NODES):
        trust = Credentials.open(tmp_path / identity).trust()
        assert sorted(trust.verify(alerts.signing_key().sign(b"x"))[1].may) == ["play", "stop"]
        to_edges = {"edge-identify", "edge-interval", "edge-reload", "edge-restart"}
        orders = ("confirm", "decline", "acknowledge", "silence", "stop", "correct", "drill")
        to_alerts = {f"alert-{order}" for order in orders}
        may = trust.verify(console.signing_key().sign(b"x"))[1].may
        assert may == {"play", "prepare", "programme", "registry", "stop"} | to_edges | to_alerts


def test_communes_do_not_trust_each_other(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two", commune="phong-dien")
    order = Credentials.open(tmp_path / "one/alerts").signing_key().sign(b"sound")
    with pytest.raises(NotTrusted):
        Credentials.open(tmp_path / "two/loa-phuoc-yen").trust().verify(order)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"nodes": ["Trạm Phú Ốc"]}, "'Trạm Phú Ốc' can't be the name of a node; use a-z"),
        ({"nodes": ["tram/+"]}, "can't be the name of a node"),
        ({"nodes": ["ingest"]}, "a node can't be called 'ingest': that is a service's name; rename the node"),
        ({"nodes": ["ingest-7"]}, "can't be called 'ingest-7'"),
        ({"nodes": ["console"]}, "can't be called 'console'"),
        ({"nodes": ["ca"]}, "can't be called 'ca'"),
        ({"nodes": ["uy-ban", "tram-phu-oc", "uy-ban"]}, "'uy-ban' is there twice, and the broker gives each name one"),
        ({"secrets": ["broker"]}, "a secret can't be called 'broker'"),
        ({"secrets": ["tram-phu-oc"]}, "a secret can't be called 'tram-phu-oc': that is a node's name"),
        ({"secrets": ["../x"]}, "can't be the name of a secret"),
        ({"commune": "Quảng Thọ"}, "'Quảng Thọ' is not a commune's id"),
        ({"server_names": ["bro ker"]}, "'bro ker' is neither a host name nor an address; mend --server-name"),
        ({"replicas": 5}, "5 replicas of ingest can't be had; choose 1 to 4"),
        ({"replicas": 0}, "0 replicas"),
    ],
)
def test_a_name_that_can_not_be_is_told_and_nothing_is_made(
    wrong: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(Problem) as problem:
        make(tmp_path / "out", **wrong)  # type: ignore[arg-type]
    assert says in str(problem.value)
    assert not (tmp_path / "out").exists()


def test_names_may_be_as_long_as_a_slug(tmp_path: Path) -> None:
    make(tmp_path, commune="x" * 63, nodes=["n" * 63])
    assert Credentials.open(tmp_path / ("n" * 63)).identity == "n" * 63


def test_the_folder_of_another_commune_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path)
    before = files(tmp_path)
    with pytest.raises(Problem, match="belongs to the commune 'quang-tho'; choose another folder"):
        make(tmp_path, commune="phong-dien")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("missing", "says"),
    [("ca.key", "the authority's private key is not here"), ("ca.crt", "bring back the whole folder ca/")],
)
def test_half_an_authority_is_not_replaced_by_a_new_one(missing: str, says: str, tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "ca" / missing).unlink()
    with pytest.raises(Problem, match=says):
        make(tmp_path)


@pytest.mark.parametrize(
    "name", ["ca/ca.crt", "ca/ca.key", "ingest/node.key", "broker/server.crt", "alerts/signing.jwk"]
)
def test_a_broken_file_is_named(name: str, tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / name).write_text("-----BEGIN NOTHING-----")
    with pytest.raises(Problem, match=name):
        make(tmp_path)


def test_a_run_that_was_interrupted_is_finished_by_the_next(tmp_path: Path) -> None:
    made = make(tmp_path)
    for name in ("ingest/node.crt", "alerts/trust.json", "broker/ca.crt", "console/signing.jwk"):
        (tmp_path / name).unlink()
    again = make(tmp_path)
    assert {"ingest/node.crt", "alerts/trust.json", "broker/ca.crt", "console/signing.jwk"} <= set(again)
    assert sorted(files(tmp_path)) == sorted(made)


def test_the_command_reads_the_registry_and_says_what_goes_where(tmp_path: Path) -> None:
    command = ["--registry", str(SAMPLE), "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(provision_command, command)
    assert first.exit_code == 0, first.output
    assert "Identities of Xã Quảng Thọ (quang-tho)" in first.output
    lines = [line.split(maxsplit=2) for line in first.output.splitlines() if line.startswith("  ")]
    assert lines == [
        ["ca", "new", "stays off line: who has ca.key can be anyone"],
        ["broker", "new", "the broker's machine"],
        ["root", "new", "stays off line: it says which signing keys loudspeakers obey"],
        ["ingest", "new", "the machine of ingest"],
        ["alerts", "new", "the machine of alerts"],
        ["notify", "new", "the machine of notify"],
        ["console", "new", "the machine of console"],
        ["tram-phu-oc", "new", "that edge node"],
        ["loa-phuoc-yen", "new", "that loudspeaker"],
        ["loa-niem-pho", "new", "that loudspeaker"],
    ]
    again = CliRunner().invoke(provision_command, [*command, "--server-name", "192.168.1.10"])
    states = {
        words[0]: words[1] for line in again.output.splitlines() if line.startswith("  ") and (words := line.split())
    }
    assert states.pop("broker") == "renewed"
    assert set(states.values()) == {"kept"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"version = ", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"version = 1", "commune: Field required"),
        (b'schema = "keng.registry/1"\nversion = 1\ncommune = { id = "Hue", name = "x" }', "commune.id: "),
    ],
)
def test_a_registry_that_can_not_be_read_is_told(text: bytes, says: str, tmp_path: Path) -> None:
    registry = tmp_path / "commune.toml"
    registry.write_bytes(text)
    with pytest.raises(Problem) as problem:
        CliRunner().invoke(
            provision_command, ["--registry", str(registry), "--out", str(tmp_path / "out")], catch_exceptions=False
        )
    assert str(problem.value).startswith(f"{registry}: ")
    assert says in str(problem.value)


def test_a_radio_node_s_key_is_made_once_and_is_the_same_at_every_edge_that_hears_it(tmp_path: Path) -> None:
    make(tmp_path, radio_nodes=[("tram-phu-oc", 17)])
    key = (tmp_path / "tram-phu-oc/radio/17.key").read_text()
    assert len(bytes.fromhex(key)) == 16
    made = make(tmp_path, radio_nodes=[("tram-phu-oc", 17), ("loa-phuoc-yen", 17), ("tram-phu-oc", 18)])
    assert made == ["loa-phuoc-yen/radio/17.key", "tram-phu-oc/radio/18.key"]
    assert (tmp_path / "loa-phuoc-yen/radio/17.key").read_text() == key
    assert (tmp_path / "tram-phu-oc/radio/18.key").read_text() != key
    assert (tmp_path / "tram-phu-oc/radio/17.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("node", [("nobody", 17), ("tram-phu-oc", 0)])
def test_a_radio_node_that_can_not_be_is_said(tmp_path: Path, node: tuple[str, int]) -> None:
    with pytest.raises(Problem, match="radio node"):
        make(tmp_path, radio_nodes=[node])
