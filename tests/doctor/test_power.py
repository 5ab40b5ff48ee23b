"""What a run can show, told of a calibration."""

import json
from dataclasses import replace

import pytest

from greenbench.cli.main import main
from greenbench.doctor import power
from greenbench.machine.detect import Machine
from greenbench.records import calibrations
from greenbench.schema.calibration import Calibration, NoiseFloor
from greenbench.schema.enums import Design, Tier
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.spec import ProtocolSpec
from greenbench.stats.power import Blocks, chance, spread_of

NAME = "Example CPU @ 2.00GHz"


def half(value, provenance):
    return Quantity(
        value=value, unit="ratio", provenance=provenance, n=5, reason="a half-width itself"
    )


def calibration(**changes):
    noise = {
        "tokens_per_s": half(0.02, "measured:clock"),
        "energy_per_token": half(0.04, "measured:counter:rapl"),
        "record": "0123456789abcdef",
        "measured_at": "2025-01-02T03:04:05+00:00",
        "window_s": 2.0,
        "blocks": 5,
    }
    return Calibration(
        device_name=NAME,
        date="2025-01-02T03:04:05+00:00",
        versions={},
        meters=[],
        refused={},
        sampler=missing("CPU s/s", "no GPU here"),
        noise=NoiseFloor(**noise | changes),
    )


DEV = ProtocolSpec(
    tier=Tier.dev, window_s=10, min_iterations=3, blocks=5, max_blocks=15, target_half_width=0.03,
    idle_s=9, warmup_s=0, warmup_limit_s=0, design=Design.auto, time_limit_s=3600,
)  # fmt: skip
SMOKE = replace(DEV, tier=Tier.smoke, window_s=2, blocks=2, max_blocks=2)
PROTOCOLS = {"smoke": SMOKE, "dev": DEV}


@pytest.fixture(scope="module")
def found():
    return power.of_calibration(calibration(), PROTOCOLS)


def test_each_protocol_is_told_its_chances_by_the_spread_of_the_a_a_blocks(found):
    energy = found["metrics"]["energy_per_token"]
    dev, spread = energy["protocols"]["dev"], spread_of(0.04, 5)
    assert energy["spread"]["value"] == spread
    expected = [chance(1 - effect, spread, Blocks(5, 15, 0.03)) for effect in (0.03, 0.05, 0.10)]
    assert [each["value"] for each in dev["runs"]["1"]["chance"]] == [e.shown for e in expected]
    assert dev["windows_s"] == pytest.approx(expected[0].blocks * 4 * 10)
    for known in dev["runs"]["1"]["chance"]:
        assert known["high"] <= known["value"] <= known["low"]  # more spread shows less
    alone, swept = (dev["runs"][family]["chance"][0]["value"] for family in ("1", "10"))
    assert swept < alone
    assert min(dev["runs"]["1"]["needed"]) >= 5  # dev claims nothing of fewer


def test_what_claims_nothing_says_so(found):
    for metric in found["metrics"].values():
        assert "tier smoke makes no claims" in metric["protocols"]["smoke"]["reason"]


def test_joules_that_are_estimated_have_no_power():
    floor = missing("ratio", "joules are estimated here")
    told = power.of_calibration(calibration(energy_per_token=floor), {"dev": DEV})
    assert told["metrics"]["energy_per_token"] == {"reason": "joules are estimated here"}
    assert "energy_per_token: not known: joules are estimated here" in power.as_text(told)


def test_it_is_told_within_a_terminal_s_width(found):
    lines = power.as_text(found).splitlines()
    assert max(map(len, lines)) <= 110
    assert any(line.startswith("dev ") for line in lines)


@pytest.fixture
def here(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(power, "detect", lambda device: Machine("cpu", NAME, 1 << 30))
    monkeypatch.setattr(power, "protocols", lambda: PROTOCOLS)


def test_the_command_says_it_and_without_a_floor_how_to_get_one(here, capsys):
    assert main(["doctor", "--power"]) != 0
    assert "run `greenbench doctor --calibrate` first" in capsys.readouterr().err
    calibrations.write(calibration())
    assert main(["doctor", "--power", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"] == calibration().id


def test_protocols_are_those_that_can_be_asked_for():
    found = power.protocols()
    assert found["dev"].tier.value == "dev"
    assert next(iter(found)) == "smoke"
    assert {"smoke", "quick", "dev", "publish"} <= set(found)
