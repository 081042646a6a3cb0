"""A mistake in a settings file is told with its line."""

import doctest
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from keng_contracts.errors import Problem
from keng_edge.settings import EdgeSettings
from keng_runtime import toml_lines
from keng_runtime.settings import explain, load
from keng_runtime.toml_lines import line_of

SAMPLE = Path(__file__).parents[2] / "edge" / "sample.toml"


def test_the_example_in_the_docstring_is_true() -> None:
    assert doctest.testmod(toml_lines).failed == 0


def test_every_setting_of_the_sample_is_found_on_its_own_line() -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    lines = text.splitlines()

    def check(value: object, place: tuple[str | int, ...]) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                check(inner, (*place, key))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, inner in enumerate(value):
                check(inner, (*place, index))
        else:
            line = line_of(text, place)
            assert line is not None
            assert str(place[-1]) in lines[line - 1], place

    check(tomllib.loads(text), ())


def test_a_wrong_setting_of_a_sensor_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(
        'commune = "quang-tho"\n\n[[buses]]\nid = "song"\nport = "/dev/ttyUSB0"\n\n'
        '[[buses.slaves]]\nid = "a"\nprofile = "qdy30a"\naddress = 1\nstation = "phu-oc"\n\n'
        '[[buses.slaves]]\nid = "b"\nprofile = "xm9505"\naddress = 2\nstation = "phu-oc"\ninterval_s = -1\n',
        encoding="utf-8",
    )
    with pytest.raises(Problem, match=r"line 18, buses\.0\.slaves\.1\.interval_s: .*greater"):
        load(EdgeSettings, file)


class Inner(BaseModel):
    port: int


class Outer(BaseModel):
    inner: Inner


def test_what_is_missing_is_told_with_the_line_of_its_table() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {}})
    assert explain(caught.value, "# comment\n[inner]\n") == "line 2, inner.port: Field required"
    assert explain(caught.value) == "inner.port: Field required"
