"""Settings: where they come from, what is refused and in which words."""

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import app
from cluster.config import PREFIX, Settings, is_loopback, load, unknown
from cluster.data_folder import CannotStart
from coscribe.ot.build import ENGINE

LONG = "a secret that is long enough, I think"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"port": 0}, "The setting port (COSCRIBE_PORT) does not fit: input should be greater than or equal to 1"),
        ({"port": "http"}, "The setting port (COSCRIBE_PORT) does not fit: input should be a valid integer"),
        ({"hosts": 0}, "The setting hosts (COSCRIBE_HOSTS)"),
        ({"durability": "best"}, "'memory', 'process', 'fsync' or 'replica' (it is 'best')"),
        ({"durability": "replica"}, "durability replica needs a Redis with replicas"),
        ({"bind": "0.0.0.0", "guests": True}, "guests are only let in on loopback, and bind is 0.0.0.0"),
        ({"balance_factor": 0.5}, "balance_factor is more than 1, or 0 for never"),
        ({"drain_s": 500}, "The setting drain_s (COSCRIBE_DRAIN_S) does not fit"),
        ({"token_secret": "short"}, "token_secret is too short: it needs 32 characters or more"),
        ({"log_level": "loud"}, "The setting log_level (COSCRIBE_LOG_LEVEL)"),
    ],
)
def test_what_does_not_fit_is_said_in_one_plain_sentence(given: dict[str, object], words: str) -> None:
    with pytest.raises(CannotStart) as refused:
        load(**given)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_refusal_never_shows_a_secret() -> None:
    with pytest.raises(CannotStart) as refused:
        load(token_secret="hunter2")
    assert "hunter2" not in str(refused.value)


def test_what_is_given_goes_before_the_environment_and_none_means_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSCRIBE_PORT", "9001")
    monkeypatch.setenv("COSCRIBE_HOSTS", "3")
    assert (load(port=9002, hosts=None).port, load().port, load(hosts=None).hosts) == (9002, 9001, 3)


def test_the_environment_carries_resolved_settings_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = load(data=tmp_path, port=9001, origins="https://a.example, https://b.example", lease_ttl_s=1.5).resolved()
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    assert load() == given
    assert given.origins == ("https://a.example", "https://b.example")


def test_secrets_are_made_once_and_kept_for_the_owner_only(tmp_path: Path) -> None:
    first, second = load(data=tmp_path).resolved(), load(data=tmp_path).resolved()
    assert first == second
    assert first.token_secret
    assert first.cluster_secret not in (None, first.token_secret)
    for file in (tmp_path / "secrets").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    load(data=tmp_path).resolved()
    (tmp_path / "secrets" / "token_secret").write_text("")
    with pytest.raises(CannotStart, match="is empty"):
        load(data=tmp_path).resolved()


@pytest.mark.parametrize(
    ("bind", "guests"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)]
)
def test_guests_are_let_in_by_default_on_loopback_only(tmp_path: Path, bind: str, guests: bool) -> None:
    assert load(data=tmp_path, bind=bind).resolved().guests is guests


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "", "127.0.0.1.example.org"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_misspelt_variable_is_pointed_out() -> None:
    found = unknown(
        {"COSCRIBE_PROT": "1", "COSCRIBE_PORT": "1", "COSCRIBE_REQUIRE": "node", "COSCRIBE_ENGINE": "pure", "PATH": ""}
    )
    assert found == ["COSCRIBE_PROT is not a setting: did you mean COSCRIBE_PORT?"]


def test_config_command_hides_secrets(tmp_path: Path) -> None:
    secrets = {"COSCRIBE_TOKEN_SECRET": LONG, "COSCRIBE_POSTGRES_URL": "postgresql://me:hunter2@db/x"}
    for arguments in ([], ["--json"]):
        said = CliRunner().invoke(app, ["config", "--data", str(tmp_path), *arguments], env=secrets)
        assert said.exit_code == 0
        assert LONG not in said.output
        assert "hunter2" not in said.output
    assert json.loads(said.output)["token_secret"] == "(hidden)"


def test_a_bad_setting_ends_a_command_without_a_traceback() -> None:
    said = CliRunner().invoke(app, ["up"], env={"COSCRIBE_PORT": "http"})
    assert said.exit_code == 1
    assert "Traceback" not in said.output
    assert "COSCRIBE_PORT" in said.output


@pytest.mark.parametrize("command", [[], ["up"], ["config"], ["status"], ["version"], ["docs"], ["docs", "verify"]])
def test_help_fits_eighty_columns(command: list[str]) -> None:
    said = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80"})
    assert said.exit_code == 0
    assert max(len(line) for line in said.output.splitlines()) <= 80


def test_version_says_which_engine_runs() -> None:
    [version, engine] = CliRunner().invoke(app, ["version"]).output.splitlines()
    said = json.loads(CliRunner().invoke(app, ["version", "--json"]).output)
    assert said == {"version": version, "engine": ENGINE}
    assert engine == {"compiled": "engine: compiled", "pure": "engine: pure Python"}[ENGINE]


def test_status_of_a_folder_where_nothing_runs(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["status", "--json", "--data", str(tmp_path)])
    assert (said.exit_code, json.loads(said.output)) == (3, {"running": False, "parts": {}})
