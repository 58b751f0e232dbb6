"""`toolkit run` on a real terminal, against the echo engine: answers, commands, Ctrl-C, history."""

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.echo import EchoTriton, echo_requests
from tests.support.gateway import Gateway
from tests.support.processes import ROOT, wait_for
from tests.support.terminal import Terminal, on_terminal

READY = "Ctrl-D ends the chat"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"TRITON_TOOLKIT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def chat(gateway: Gateway, environment: dict[str, str], tmp_path: Path) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "toolkit", "run", "echo", "--url", gateway.url]
    with on_terminal(command, environment, tmp_path) as terminal:
        terminal.expect(READY)
        terminal.expect(">>>")
        yield terminal


def asked(echo_triton: EchoTriton) -> dict[str, object]:
    """What reached the engine last."""
    return echo_requests(echo_triton)[-1]


def test_it_answers_remembers_and_ends(
    chat: Terminal, echo_triton: EchoTriton, tmp_path: Path
) -> None:
    chat.send("good morning", "\ngood morning\n")
    chat.send(json.dumps({"text": "second", "reasoning": "I think so"}), "second\n")
    assert "Thinking …" in chat.text
    assert "I think so" in chat.text
    chat.send("/show messages", "assistant: second")
    chat.send("/clear", "the conversation is empty")
    chat.send("/bye", "")
    assert chat.process.wait(30) == 0
    history = tmp_path / "home" / "chat" / "history"
    assert "good morning" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_several_lines_and_earlier_questions(chat: Terminal) -> None:
    chat.send('"""one', "...")
    chat.send('two"""', "one\ntwo\n")
    chat.send("/clear", "is empty")
    chat.expect_prompt()
    chat.type("\x1b[A\x1b[A\r")  # up twice: the line before `/clear`
    chat.expect('\ntwo"""\n')
    chat.expect_prompt()
    chat.type("\x04")
    assert chat.process.wait(30) == 0


def test_ctrl_c_stops_the_answer_only(chat: Terminal, echo_triton: EchoTriton) -> None:
    chat.send(json.dumps({"text": "endless words", "never_finish": True}), "\nendless words")
    chat.type("\x03")
    chat.expect(">>>")
    wait_for(lambda: asked(echo_triton)["cancelled_s"], what="the cancellation")
    chat.send("still there", "\nstill there\n")
    chat.expect_prompt()
    chat.type("half a question\x03")
    chat.expect("/bye ends the chat")
    chat.expect_prompt()
    chat.type("\x04")
    assert chat.process.wait(30) == 0


def test_parameters_system_and_format_reach_the_engine(
    chat: Terminal, echo_triton: EchoTriton
) -> None:
    chat.send("/set temperature 0.25", "temperature: 0.25")
    chat.send('/set stop "###" END', "stop: ['###', 'END']")
    chat.send("/set seed 7", "seed: 7")
    chat.send("/set top_p 0.5", "top_p: 0.5")
    chat.send("/set top_p default", "top_p: the model's default")
    chat.send("/set format json", "format: {'type': 'json_object'}")
    chat.send("/set noformat", "format: the model's default")
    chat.send('/system "Be brief."', "system: Be brief.")
    chat.send("/set verbose", "rates are printed")
    chat.send(json.dumps({"echo": True}), "generation:")
    shown = chat.text
    assert '"temperature": 0.25' in shown.replace('":0', '": 0')
    assert "Be brief." in shown
    for line, error in (
        ("/set temperature 9", "'9' is not a valid temperature"),
        ("/set temperatur 1", "there is no parameter 'temperatur'"),
        ("/set num_ctx 5", "the context is set when the model is built"),
        ("/sett", "there is no command '/sett'"),
        ("/image gone.png", "gone.png cannot be read"),
        ("/load gone.json", "gone.json cannot be loaded"),
    ):
        chat.send(line, error)
    chat.send("/show parameters", "seed")


def test_errors_are_one_sentence_and_the_chat_goes_on(chat: Terminal) -> None:
    failing = {"fail_after": 0, "error": {"message": "too warm", "code": "bad", "status": 400}}
    chat.send(json.dumps(failing), "error: ")
    chat.send("/show messages", ">>>")
    assert "user: {" not in chat.text.partition("/show messages")[2]
    chat.send("next", "\nnext\n")


def test_files_that_cannot_be_used_do_not_end_the_chat(chat: Terminal) -> None:
    for line, error in (
        ("/image don't.png", "No closing quotation"),
        ("/image ~nobody-here/a.png", "this user does not exist"),
        ("/save gone/chat.json", "gone/chat.json: No such file or directory"),
        ("/save .", "Is a directory"),
        ("/load ~nobody-here/chat.json", "this user does not exist"),
        ("/tools .", "cannot be read"),
        (f"/{'x' * 300}", "there is no command"),
    ):
        chat.send(line, error)
        chat.expect(">>>")
    chat.send(f"look at {'x' * 300}.png", ">>>")


def test_images_are_attached_by_their_path(
    chat: Terminal, echo_triton: EchoTriton, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a photo.png")
    chat.send("what is this? './a photo.png'", "attached a photo.png")
    chat.expect("what is this?")
    chat.expect(">>>")
    assert len(asked(echo_triton)["images"]) == 1  # type: ignore[arg-type]


def test_tools_are_shown_and_get_results(chat: Terminal, tmp_path: Path) -> None:
    tools = [{"name": "weather", "parameters": {"type": "object", "properties": {}}}]
    (tmp_path / "tools.json").write_text(json.dumps(tools))
    chat.send("/tools tools.json", "tools: weather")
    call = {"name": "weather", "arguments": '{"city": "Rome"}'}
    chat.send(json.dumps({"tool_calls": [call]}), '→ weather({"city": "Rome"})')
    chat.expect("result of weather:")
    chat.send("22 degrees", "22 degrees\n")
    chat.expect(">>>")
    chat.send("/tools none", "tools: (none)")


def test_a_conversation_is_saved_and_loaded(chat: Terminal, tmp_path: Path) -> None:
    chat.send("remember me", "\nremember me\n")
    chat.send("/save chat.json", "saved in chat.json")
    assert stat.S_IMODE((tmp_path / "chat.json").stat().st_mode) == 0o600
    chat.send("/clear", "is empty")
    chat.send("/load chat.json", "2 messages")
    chat.send("/help", "/bye")


def test_tab_completes_commands_models_and_files(chat: Terminal, tmp_path: Path) -> None:
    (tmp_path / "notes-of-today.json").write_text("{}")
    for start, added, said in (
        ("/cle", "ar", "the conversation is empty"),
        ("/load notes", "-of-today.json", "error: notes-of-today.json"),
        ("/model ech", "o", "model: echo\n"),
    ):
        chat.expect_prompt()
        chat.type(start)
        chat.expect_end(start)
        chat.type("\t")
        chat.expect_end(added)
        chat.type("\r")
        chat.expect(said)
    chat.send("/model moon", "error: 'moon' is not served")
    chat.send("/model echo-embedding", "cannot chat")
    chat.send("still here", "\nstill here\n")


def test_an_image_model_makes_a_file_for_each_prompt(
    gateway: Gateway, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "toolkit", "run", "echo-diffusion", "--url", gateway.url]
    with on_terminal([*command, "--set", "seed=7"], environment, tmp_path) as session:
        session.send("A red heart", "a-red-heart.png\n")
        session.send("/set size 32x16", "size: 32x16\n")
        session.send("/set steps 2", "steps: 2\n")
        session.send("/show", "steps            2\n")
        session.send("A red heart", "a-red-heart-2.png\n")
        session.send("/set size large", "error: 'large' is not a valid size")
        session.send("/set sise", "hint: did you mean `size`?")
        session.send("/st", "hint: did you mean `/set`?")
        session.send("/set size default", "size: the model's default\n")
        session.send("/set", "negative_prompt")
        session.send("/?", "/bye")
        session.expect_prompt()
        session.type("\x03")
        session.expect("ends the session")
        session.expect_prompt()
        session.type("\x04")
        assert session.process.wait(30) == 0
    with Image.open(tmp_path / "a-red-heart-2.png") as second:
        assert second.size == (32, 16)
    with Image.open(tmp_path / "a-red-heart.png") as first:
        assert first.size != (32, 16)
