"""A runner that serves: the same outputs as here, times and steps; and what it says when something is wrong."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Call
from emulation import board, emulator

from tilewright.errors import UserError
from tilewright.runtime import load
from tilewright.runtime.remote import Address, RemoteModel

Find = Callable[[str], Path]
KEY = "a key for tests"


@pytest.fixture
def here(runner: Find) -> Iterator[str]:
    with board(runner("x86_64-linux-gnu"), [], KEY) as address:
        yield address


def an_input(model: RemoteModel) -> dict[str, np.ndarray]:
    (spec,) = model.inputs
    return {spec.name: np.random.default_rng(1).standard_normal(spec.shape).astype(np.float32)}


def test_outputs_times_and_steps_come_back(here: str, digits: Find) -> None:
    with RemoteModel(digits("x86-64-v2"), Address.of(here, KEY), threads=1) as model, load(digits("x86-64-v2")) as own:
        inputs = an_input(model)
        outputs, seconds = model.run(inputs, repeat=3)
        np.testing.assert_array_equal(outputs[0], own(inputs)[0])
        assert len(seconds) == 3
        assert all(each > 0 for each in seconds)
        steps = model.profile(inputs, repeat=2)
        assert [(step.name, step.flops) for step in steps] == [(step.name, step.flops) for step in own.steps]
        assert sum(step.seconds for step in steps) > 0


def test_a_foreign_board_answers(runner: Find, digits: Find) -> None:
    emulated = emulator("aarch64-linux-gnu", "cortex-a72")
    with (
        board(runner("aarch64-linux-gnu"), emulated, KEY) as address,
        RemoteModel(digits("cortex-a72"), Address.of(address, KEY), threads=2) as model,
        load(digits("x86-64-v2")) as own,
    ):
        inputs = an_input(model)
        np.testing.assert_allclose(model(inputs)[0], own(inputs)[0], rtol=1e-5, atol=1e-5)


def test_the_commands_take_a_remote_board(here: str, digits: Find, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    library = str(digits("x86-64-v2"))
    ran = call("run", library, "--remote", here, "--key", KEY, "--repeat", "2")
    assert ran.code == 0, ran.err
    assert "2 run(s), median" in ran.out
    monkeypatch.setenv("TILEWRIGHT_KEY", KEY)
    measured = call("bench", library, "--remote", here, "--repeat", "5", "--json")
    assert json.loads(measured.out)["standings"][0]["latency"]["runs"] == 5
    profiled = call("profile", library, "--remote", here, "--repeat", "2", "--json")
    assert {step["kernel"] for step in json.loads(profiled.out)} > set()


def test_a_wrong_key_is_refused(here: str, digits: Find) -> None:
    with pytest.raises(UserError, match="says: the key is wrong"):
        RemoteModel(digits("x86-64-v2"), Address.of(here, "another key"))


def test_no_runner_there(digits: Find) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no runner answers at {address}.*start 'tilewright-runner serve' there"):
            RemoteModel(digits("x86-64-v2"), Address.of(address, KEY))


def test_a_library_for_another_architecture_is_refused(here: str, digits: Find) -> None:
    emulator("riscv64-linux-gnu", "rv64")
    with pytest.raises(UserError, match="the system cannot load the library"):
        RemoteModel(digits("rv64gc"), Address.of(here, KEY))


def test_a_message_over_the_limit_is_refused(runner: Find, digits: Find) -> None:
    with (
        board(runner("x86_64-linux-gnu"), [], KEY, "-l", "0") as address,
        pytest.raises(UserError, match="exceeds the limit of 0: start the runner with a larger -l"),
    ):
        RemoteModel(digits("x86-64-v2"), Address.of(address, KEY))


@pytest.mark.parametrize(
    "message",
    [
        struct.pack("<IiQ", 3, 0, 0),
        struct.pack("<IiQ", 1, 0, 1 << 40),
        struct.pack("<IiQ", 1, 0, len(KEY)) + KEY.encode() + struct.pack("<IiQ", 2, 0, 2) + b"xx",
        struct.pack("<IiQ", 1, 0, len(KEY)) + KEY.encode() + struct.pack("<IiQ", 3, 0, 8) + b"\0" * 8,
        struct.pack("<IiQ", 1, 0, len(KEY)) + KEY.encode() + struct.pack("<IiQ", 99, 0, 0),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_the_runner_outlives_nonsense(here: str, digits: Find, message: bytes) -> None:
    host, port = here.split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(message)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(4096):
            pass
    with RemoteModel(digits("x86-64-v2"), Address.of(here, KEY)) as model:
        assert len(model(an_input(model))[0]) > 0


def test_inputs_are_checked_on_both_sides(here: str, digits: Find) -> None:
    with RemoteModel(digits("x86-64-v2"), Address.of(here, KEY)) as model:
        (spec,) = model.inputs
        with pytest.raises(UserError, match="no array is given for input"):
            model({})
        with pytest.raises(UserError, match="not float64"):
            model({spec.name: np.zeros(spec.shape)})


@pytest.mark.parametrize(
    ("text", "key", "complaint"),
    [
        ("board:port", KEY, "'board:port' is no address of a runner: give host or host:port"),
        ("", KEY, "is no address"),
        ("board", None, "the runner at 'board' wants a key: give --key, or set TILEWRIGHT_KEY"),
    ],
)
def test_bad_addresses(text: str, key: str | None, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILEWRIGHT_KEY", raising=False)
    with pytest.raises(UserError, match=complaint):
        Address.of(text, key)


def test_addresses() -> None:
    assert (Address.of("board", KEY).host, Address.of("board", KEY).port) == ("board", 9180)
    assert (Address.of("[::1]:7", KEY).host, Address.of("[::1]:7", KEY).port) == ("::1", 7)
