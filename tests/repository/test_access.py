"""Access with real git: no secret on a command line, no prompt, no git process that outlives its tick."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from deepspeech_wer import cli
from deepspeech_wer.configuration import environment, settings
from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.machine import processes
from deepspeech_wer.repository import git, mirror
from deepspeech_wer.repository.access import access_to
from tests.conftest import Repository
from tests.end_to_end.sshd import Sshd, generate_key, running_sshd
from tests.test_automation import TICK
from tests.test_automation import tracked as tracked  # the fixture
from tests.waiting import until

PASSWORD = "pa:ss@w/o %r'd\"$(id)"
LOGIN = f"ada:{quote(PASSWORD, safe='')}"


class Server(http.server.ThreadingHTTPServer):
    """A web server that checks a password, or redirects, and records the command lines of all processes."""

    authorizations: list[str]
    command_lines: list[str]
    elsewhere: str | None = None
    wanted = f"ada:{PASSWORD}"


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.command_lines += [
            processes._read(str(place)).replace(b"\0", b" ").decode(errors="replace") for place in command_lines()
        ]
        given = self.headers.get("Authorization", "")
        self.server.authorizations.append(base64.b64decode(given.removeprefix("Basic ")).decode())
        if self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere + self.path)
            self.end_headers()
        elif self.server.authorizations[-1] != self.server.wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


def command_lines() -> list[Path]:
    return [place for place in Path("/proc").glob("[0-9]*/cmdline") if place.exists()]


@pytest.fixture
def server(repository: Repository) -> Iterator[Server]:
    with serving(repository) as running:
        yield running


class serving:  # noqa: N801 - reads as a verb
    """Serves a repository over git's dumb http protocol."""

    def __init__(self, repository: Repository) -> None:
        repository.commit("root")
        repository.git("update-server-info")
        handler = functools.partial(Handler, directory=str(repository.path / ".git"))
        self.server = Server(("127.0.0.1", 0), handler)
        self.server.authorizations, self.server.command_lines = [], []

    def __enter__(self) -> Server:
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_a_password_appears_on_no_command_line_and_in_no_file(
    server: Server, repository: Repository, tmp_path: Path
) -> None:
    bare = tmp_path / "cache" / "repository.git"
    url = f"http://{LOGIN}@127.0.0.1:{server.server_port}"
    assert mirror.update(bare, url, None) == repository.git("rev-parse", "HEAD")
    assert mirror.ask(tmp_path, url, "main") == repository.git("rev-parse", "HEAD")
    assert f"ada:{PASSWORD}" in server.authorizations
    helpers = [line for line in server.command_lines if f"http://127.0.0.1:{server.server_port}" in line]
    assert any("git-remote-http" in line for line in helpers)  # so they were recorded while git was running
    for secret in (PASSWORD, LOGIN):
        assert not [line for line in server.command_lines if secret in line]
        assert not [path for path in bare.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_token_without_password_is_sent_as_the_user(server: Server, repository: Repository, tmp_path: Path) -> None:
    server.wanted = "t0ken:"
    url = f"http://t0ken@127.0.0.1:{server.server_port}"
    assert mirror.update(tmp_path / "repository.git", url, None) == repository.git("rev-parse", "HEAD")
    assert not [line for line in server.command_lines if "t0ken" in line]


def test_a_wrong_password_is_reported_in_one_line_without_a_prompt(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="Authentication failed") as caught:
        mirror.update(tmp_path / "repository.git", f"http://ada:wr0ng@127.0.0.1:{server.server_port}", None)
    assert "wr0ng" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_goes_to_no_other_host(server: Server, tmp_path: Path) -> None:
    with serving(Repository(tmp_path / "other")) as other:
        server.elsewhere = f"http://127.0.0.1:{other.server_port}"
        with pytest.raises(Trouble):
            mirror.update(tmp_path / "repository.git", f"http://{LOGIN}@127.0.0.1:{server.server_port}", None)
        assert other.authorizations
        assert set(other.authorizations) == {""}


def test_a_password_that_git_cannot_take_is_reported_in_one_line() -> None:
    with pytest.raises(Trouble, match=r"https://x/y: expected a user and password of printable") as caught:
        access_to("https://ada:s3cret%0ahost=evil@x/y")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ssh://ada:s3cret@x/y", "git://ada:s3cret@x/y", "git+ssh://ada:s3cret@x/y"])
def test_a_password_is_sent_to_no_other_scheme(url: str) -> None:
    with pytest.raises(UsageTrouble, match="ssh takes a key") as caught:
        settings.load({"ds_repo_url": url})
    assert "s3cret" not in str(caught.value)


RAW = ("pa/ss", "pa ss/x", "p@ss", "@", "100%", "%zz", "a:b:c", "a#b", "a?b/c", "päß/ü", "x'y\"z", "$(id)", "[x]", "!h")
UNCLEAR = ("12/34", "p@s/s", "a/b@c", "7?8", "0#1@2")


@pytest.mark.parametrize("password", RAW)
def test_a_password_may_stand_in_the_url_as_it_is(
    server: Server,
    repository: Repository,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    password: str,
) -> None:
    server.wanted = f"ada:{password}"
    url = f"HTTP://ada:{password}@127.0.0.1:{server.server_port}"
    monkeypatch.setenv("ds_repo_url", url)
    loaded = settings.load().repository
    assert mirror.update(tmp_path / "repository.git", loaded.url, None) == repository.git("rev-parse", "HEAD")
    cli.main(["check"])
    cli.main(["settings"])
    told = capsys.readouterr()
    assert server.wanted not in told.out + told.err + "\n".join(server.command_lines)
    assert len(password) < 3 or password not in told.out + told.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and server.wanted.encode() in path.read_bytes()]


@pytest.mark.parametrize("login", [*(f"ada:{password}" for password in UNCLEAR), "t0/k3n", "t0.k3n?x", "a#b"])
@pytest.mark.parametrize("scheme", ["https", "HTTP", "ssh", "git"])
def test_a_url_that_can_be_read_in_two_ways_is_refused_and_not_quoted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, scheme: str, login: str
) -> None:
    url = f"{scheme}://{login}@example.com/x.git"
    monkeypatch.setenv("ds_repo_url", url)
    for command in ("check", "settings", "run"):
        cli.main([command])
    assert cli.main([]) == 2
    told = capsys.readouterr()
    assert login not in told.out + told.err
    assert "are written as %2F %3F %23 %40" in told.out
    with pytest.raises(Trouble) as caught:
        access_to(url if scheme.lower().startswith("http") else f"http://{login}@example.com/x.git")
    assert login not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ada:s3cr/et@example.com/x",  # no scheme
        "ada:s3 cret@example.com:x",
        "ada@corp:s3cret@example.com/x",
        "http//ada:s3cret@example.com/x",
        "https:/ada:s3cret@example.com/x",
        "https:ada:s3cret@example.com/x",
        " https://ada:s3cret@example.com/x",
        "<https://ada:s3cret@example.com/x>",
        "ssh://ada:s3/cret@example.com/x",
        "git+ssh://ada:s3 cret@example.com/x",
        "https://ada:s3cret@example.com@/x",
        "https://ada:s3cret",
        "https://ada:s3cret/x",
        "http://example.com:s3cret/x",
        "https://example.com/x?private_token=s3cret",
        "https://example.com/x#access_token=s3cret",
        "https://ada@example.com/x.git?a=b&access_token=s3cret&c=d",
        "ssh://git@example.com/x?key=s3cret",
        "https://example.com/x?sv=2022&sig=s3cret",
        "https://example.com/x.git?jwt=s3cret",
        "https://example.com/x.git?auth=s3cret",
        "https://example.com/x.git?X-Amz-Signature=s3cret",
        "ssh://git@example.com/x#access_token=s3cret",
    ],
)
def test_a_url_that_is_misspelt_is_not_quoted_with_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ds_repo_url", url)
    assert cli.main(["check"]) == 1
    assert cli.main([]) == 2
    cli.main(["settings"])
    told = capsys.readouterr()
    assert "fault  settings" in told.out
    assert not re.search("s3 ?/?cr/?et|s3", told.out + told.err)


@pytest.mark.parametrize(
    "url",
    [
        "git@host:a/b.git",
        "ssh://git@host:22/a",
        "file:///a@b/c",
        "/a:b@c",
        "https://[::1]:8/x",
        "https://bücher.example/x",
        "https://example.com:/x?p=a.git",
        "https://example.com:8443/monkey=1/x",
    ],
)
def test_urls_without_a_secret_stay_as_they_are(url: str) -> None:
    assert settings.load({"ds_repo_url": url}).repository.url == url
    assert access_to(url).url == url


def test_a_secret_that_a_remote_repeats_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "git"
    said = "echo 'remote: no login for hush hush, nor hush%20hush' >&2; exit 128"
    script.write_text(f'#!/bin/sh\ncase "$*" in *fetch*) {said};; esac\nexec {shutil.which("git")} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(Trouble, match=r"remote: no login for \*+, nor \*+;") as caught:
        mirror.ask(tmp_path, "https://ada:hush hush@example.com/x", "main")
    assert "hush" not in str(caught.value)


# -- who answers for the user

BASIC = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
HEADER = {"KEY": "http.extraHeader", "VALUE": f"Authorization: Basic {BASIC}"}
WAYS: dict[str, tuple[str, dict[str, str], str]] = {  # the login in the URL, variables, ~/.gitconfig
    "GIT_ASKPASS": ("", {"GIT_ASKPASS": "{ask}"}, ""),
    "GIT_ASKPASS for a user": ("ada@", {"GIT_ASKPASS": "{ask}"}, ""),
    "core.askPass for a user": ("ada@", {}, "[core]\n\taskPass = {ask}\n"),
    "SSH_ASKPASS": ("", {"SSH_ASKPASS": "{ask}"}, ""),
    "SSH_ASKPASS for a user": ("ada@", {"SSH_ASKPASS": "{ask}", "SSH_ASKPASS_REQUIRE": "never"}, ""),
    "a helper": ("", {}, "[credential]\n\thelper = store --file={store}\n"),
    "a helper for a user": ("ada@", {}, "[credential]\n\thelper = store --file={store}\n"),
    "a helper for this host": ("", {}, '[credential "http://127.0.0.1:{port}"]\n\thelper = store --file={store}\n'),
    "a cookie or header": ("", {}, f"[http]\n\textraHeader = {HEADER['VALUE']}\n"),
    "a header among others": (
        "",
        {
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "user.name",
            "GIT_CONFIG_VALUE_0": "Ada",
            "GIT_CONFIG_KEY_1": HEADER["KEY"],
            "GIT_CONFIG_VALUE_1": HEADER["VALUE"],
        },
        "",
    ),
    "GIT_CONFIG_PARAMETERS": ("", {"GIT_CONFIG_PARAMETERS": f"'{HEADER['KEY']}={HEADER['VALUE']}'"}, ""),
    "GIT_CONFIG_GLOBAL": ("", {"GIT_CONFIG_GLOBAL": "{home}/other"}, ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_whom_the_user_told_git_to_ask_is_asked(
    server: Server,
    repository: Repository,
    tmp_path: Path,
    sealed: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    login, variables, config = WAYS[way]
    known = {"ask": str(tmp_path / "ask"), "store": str(tmp_path / "store"), "port": str(server.server_port)}
    known["home"] = str(sealed)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "ask").write_text(f'#!/bin/sh\ncase "$1" in User*) echo ada;; *) cat {tmp_path}/password;; esac\n')
    (tmp_path / "ask").chmod(0o755)
    (tmp_path / "store").write_text(
        f"http://someone:else@127.0.0.1:1\nhttp://{LOGIN}@127.0.0.1%3a{server.server_port}\n"
    )
    (sealed / ".gitconfig").write_text(config.format(**known))
    (sealed / "other").write_text(f"[core]\n\taskPass = {known['ask']}\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(**known))
    url = f"http://{login}127.0.0.1:{server.server_port}"
    environment.forget_git_variables()
    assert mirror.update(tmp_path / "repository.git", url, None) == repository.git("rev-parse", "HEAD")
    assert mirror.ask(tmp_path, url, "main") == repository.git("rev-parse", "HEAD")
    monkeypatch.setenv("ds_repo_url", url)
    cli.main(["check"])
    told = capsys.readouterr().out
    assert "ok     repository" in told
    assert PASSWORD not in told
    assert not [line for line in server.command_lines if PASSWORD in line]


def test_with_nobody_to_ask_the_cure_is_told_and_nothing_asked(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="terminal prompts disabled; put user and password into ds_repo_url, or tell git"):
        mirror.ask(tmp_path, f"http://127.0.0.1:{server.server_port}", None)


def test_who_never_answers_is_given_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = tmp_path / "ask"
    seconds = 10**6 + os.getpid()  # no other test waits for so long
    ask.write_text(f"#!/bin/sh\nexec sleep {seconds}\n")
    ask.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(ask))
    monkeypatch.setattr(mirror, "FETCH_TIMEOUT_S", 2.0)
    with pytest.raises(Trouble, match="not done after 2 s"):
        mirror.update(tmp_path / "repository.git", f"http://127.0.0.1:{server.server_port}", None)
    assert not [line for line in map(processes._read, map(str, command_lines())) if b"sleep\x00%d" % seconds in line]


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "{key}", "GIT_CONFIG_VALUE_0": "{value}"},
        {"GIT_CONFIG_PARAMETERS": "'{key}'='{value}'"},
    ],
    ids=["GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"],
)
def test_safe_settings_win_over_those_of_the_user(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    repository.commit("root")
    hooks, touched = tmp_path / "hooks", tmp_path / "touched"
    hooks.mkdir()
    (hooks / "reference-transaction").write_text(f"#!/bin/sh\ntouch {touched}\n")
    (hooks / "reference-transaction").chmod(0o755)
    for key, value in (("core.hooksPath", str(hooks)), ("protocol.ext.allow", "always")):
        for name, text in variables.items():
            monkeypatch.setenv(name, text.format(key=key, value=value))
        mirror.update(tmp_path / "repository.git", str(repository.path), None)
        with pytest.raises(Trouble, match="transport 'ext' not allowed"):
            mirror.ask(tmp_path, f"ext::sh -c touch% {touched}", None)
    assert not touched.exists()


def test_a_slip_in_git_config_count_is_told(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("root")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "one")
    with pytest.raises(Trouble, match=r"bogus count in GIT_CONFIG_COUNT.*; correct that setting of git's"):
        mirror.ask(tmp_path, str(repository.path), None)


def test_a_variable_of_git_that_forbids_the_transport_is_named(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("root")
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "https:ssh")
    with pytest.raises(Trouble, match="transport 'file' not allowed; correct GIT_ALLOW_PROTOCOL in the environment; "):
        mirror.ask(tmp_path, str(repository.path), None)
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "https:file")
    assert mirror.ask(tmp_path, str(repository.path), None)
    monkeypatch.delenv("GIT_ALLOW_PROTOCOL")
    subprocess.run(["git", "config", "--global", "protocol.file.allow", "never"], check=True)
    with pytest.raises(Trouble, match="transport 'file' not allowed") as trouble:
        mirror.ask(tmp_path, str(repository.path), None)
    assert "GIT_ALLOW_PROTOCOL" not in str(trouble.value)


@pytest.mark.parametrize(
    ("given", "called", "required"),
    [
        ({"SSH_ASKPASS": "/x"}, "ssh -o NumberOfPasswordPrompts=1 -o StrictHostKeyChecking=yes", "/x force"),
        ({"SSH_ASKPASS": "/x", "SSH_ASKPASS_REQUIRE": "prefer"}, "ssh -o NumberOfPasswordPrompts=1", "/x prefer"),
        ({"SSH_ASKPASS": "/x", "SSH_ASKPASS_REQUIRE": "never"}, "ssh -o BatchMode=yes", "/x never"),
        ({"SSH_ASKPASS_REQUIRE": "force"}, "ssh -o BatchMode=yes", " never"),
        ({"SSH_ASKPASS": "/x", "GIT_SSH_COMMAND": "ssh -F y"}, "ssh -F y -o NumberOfPasswordPrompts=1", "/x force"),
    ],
)
def test_ssh_asks_the_program_of_the_user_or_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], called: str, required: str
) -> None:
    program, said = tmp_path / "bin" / "ssh", tmp_path / "said"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "ssh $*" >{said}\necho "$SSH_ASKPASS $SSH_ASKPASS_REQUIRE" >>{said}\nexit 255\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Trouble):
        mirror.ask(tmp_path, "git@host:x", "main")
    command, variables = said.read_text().splitlines()
    assert command.startswith(called)
    assert variables == required


@pytest.fixture
def said_to_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install fake ssh programs. Returns the file in which they record their arguments."""
    file = tmp_path / "arguments"
    for name in ("bin/ssh", "bin/wrapper"):
        program = tmp_path / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {file}\nexit 255\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return file


@pytest.mark.parametrize("url", ["git@host:x", "ssh://git@host/x", "host:x"])
@pytest.mark.parametrize(
    ("given", "configured", "called"),
    [
        ({}, "", "bin/ssh -o BatchMode=yes "),
        ({"GIT_SSH_COMMAND": "ssh -i k"}, "ssh -i other", "bin/ssh -i k -o BatchMode=yes "),
        ({"GIT_SSH": "ssh"}, "ssh -i k", "bin/ssh -i k -o BatchMode=yes "),
        ({"GIT_SSH": "ssh"}, "", "bin/ssh -o BatchMode=yes "),
        ({"GIT_SSH_COMMAND": "wrapper -i k"}, "", "bin/wrapper -i k "),
        ({"GIT_SSH": "wrapper"}, "", "bin/wrapper "),
    ],
)
def test_ssh_is_called_as_configured_but_never_prompts(
    said_to_ssh: Path,
    sealed: Path,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    given: dict[str, str],
    configured: str,
    called: str,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if configured:
        (sealed / ".gitconfig").write_text(f"[core]\n\tsshCommand = {configured}\n")
    with pytest.raises(Trouble):
        mirror.ask(sealed, url, None)
    last = said_to_ssh.read_text().splitlines()[-1]
    assert last.startswith(called)
    assert ("BatchMode" in last) == ("BatchMode" in called)


@pytest.mark.parametrize("name", ["GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND"])
def test_a_program_for_the_connection_that_is_not_there_is_no_matter_of_processes(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "/opt/gone")
    with pytest.raises(Trouble, match=r"/opt/gone.*; install it, or name its directory in the crontab's PATH") as told:
        mirror.ask(sealed, "git://127.0.0.1/a" if "PROXY" in name else "someone@127.0.0.1:a", None)
    assert "fork" not in str(told.value)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.mark.parametrize(
    ("known", "config", "told"),
    [
        ("", "", "Host key verification failed.; log in there once by hand with ssh, as this user"),
        ("another", "", r"ssh-keygen .* -R .*; Host key for .* has changed .*; if whoever runs that server confirms"),
        ("its", "IdentityFile {open}", "Permissions 0644 for '.*/open' are too open.; .*; chmod 600 that key"),
        ("its", "IdentityFile {other}", r"Permission denied \(publickey\).; name a key in ~/.ssh/config that is known"),
        ("its", "Idenity {key}", r"config: line 4: Bad configuration option: idenity; .*; correct that file of ssh's"),
        ("its", "-i {key}-gone", r"^cannot fetch .*: Warning: Identity file .*/id-gone not accessible: No such file"),
    ],
)
def test_what_ssh_complains_of_is_told_with_its_cure(
    sshd: Sshd, sealed: Path, monkeypatch: pytest.MonkeyPatch, known: str, config: str, told: str
) -> None:
    other = generate_key(sealed / "other", "ed25519")
    shutil.copy(sshd.key, sealed / "open")
    (sealed / "open").chmod(0o644)
    option = config.format(key=sshd.key, open=sealed / "open", other=other)
    hosts = {"its": sshd.known_hosts.read_text(), "": ""}
    name, kind, _ = hosts["its"].split()[:3]
    hosts["another"] = f"{name} {kind} {Path(f'{other}.pub').read_text().split()[1]}\n"
    (sealed / "hosts").write_text(hosts[known])
    lines = f"UserKnownHostsFile {sealed}/hosts\nIdentitiesOnly yes\nIdentityAgent none\n"
    given, setting = (option, "") if option.startswith("-i") else ("", option)
    (sealed / "config").write_text(f"{lines}{setting}\n")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F {sealed}/config {given}")
    with pytest.raises(Trouble, match=told) as trouble:
        mirror.ask(sealed, f"ssh://{sshd.user}@{sshd.host}:{sshd.port}/nowhere", None)
    assert "\n" not in str(trouble.value)


@pytest.mark.parametrize("url", ["/a/b", "https://x:1/y", "git://x/y", "file:///a:b", "http://a@b/c:d"])
def test_ssh_is_configured_only_for_ssh_urls(url: str) -> None:
    assert "GIT_SSH_COMMAND" not in mirror._access(url).environment


# -- a tick that is killed while git is running


def started(tracked: Repository, url: str, **variables: str) -> subprocess.Popen[bytes]:
    """A tick that tracks another URL, to which the repository is said to have moved."""
    assert tracked.path.exists()
    places = settings.load().places
    for directory in (places.cache, places.data):
        (directory / "tracker.json").unlink(missing_ok=True)
    environment = {**os.environ, "ds_repo_url": url, **variables}
    return subprocess.Popen(TICK, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fetching(pids: list[int]) -> list[int]:
    """Return the pids of git itself, which alone holds locks in the mirror."""
    return [pid for pid in pids if processes._read(f"/proc/{pid}/cmdline").startswith(b"git\0")]


def of_git(tick: subprocess.Popen[bytes], started_at: str | None) -> list[int]:
    return processes.with_environment(f"ds_wer_git_of={tick.pid}@{started_at}")


@pytest.mark.parametrize("scheme", ["git", "http"])
def test_the_git_of_a_killed_tick_is_found_and_ended(tracked: Repository, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tick = started(tracked, f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x")
        silent.settimeout(60)
        connection, _ = silent.accept()
        started_at = processes.start_time(tick.pid)
        assert fetching(of_git(tick, started_at))
        tick.kill()
        tick.wait()
        git.end_leftovers()
        until(lambda: of_git(tick, started_at) == [])  # a tick of another test, which follows a kill, may be quicker
        connection.close()


def test_the_next_tick_ends_what_git_leaves(tracked: Repository, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    deaf.write_text(f"#!/bin/sh\ntrap '' TERM PIPE HUP\ntouch {tmp_path}/called\nwhile :; do sleep 1; done\n")
    deaf.chmod(0o755)
    assert subprocess.run(TICK, check=False).returncode == 0
    bare = settings.load().places.cache / "repository.git"
    tick = started(tracked, "host:x", GIT_SSH_COMMAND=str(deaf))
    until((tmp_path / "called").exists)
    started_at = processes.start_time(tick.pid)
    tick.kill()
    tick.wait()
    left = of_git(tick, started_at)
    assert left
    (bare / "shallow.lock").touch()
    (bare / "objects" / "pack").mkdir(exist_ok=True)
    (bare / "objects" / "pack" / "tmp_pack_x").write_bytes(bytes(1000))
    inode = bare.stat().st_ino
    done = subprocess.run(TICK, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    # A tick of another test, which follows a kill, too, may have been quicker: it ends those of every killed tick.
    assert re.fullmatch("(.* WARNING ended git processes of a killed tick: [0-9, ]+\n)?", done.stderr)
    until(lambda: of_git(tick, started_at) == [])
    assert not list(bare.rglob("*.lock"))
    assert not list(bare.rglob("tmp_*"))
    assert bare.stat().st_ino == inode  # the mirror was not fetched again for that
    again = subprocess.run(TICK, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, "")


def test_processes_of_others_are_not_ended() -> None:
    living = subprocess.Popen(["sleep", "1000"], env={"ds_wer_git_of": processes.own_identity()})
    dead = subprocess.Popen(["sleep", "1000"], env={"ds_wer_git_of": "4194304@x:1"})
    unlike = subprocess.Popen(["sleep", "1000"], env={"ds_wer_git_of": "x"})
    try:
        wait_for_exec(living, dead, unlike)
        assert git.end_leftovers() in ([dead.pid], [])  # a tick of another test, which follows a kill, may be quicker
        assert (dead.wait(10), living.poll(), unlike.poll()) == (-15, None, None)
    finally:
        for process in (living, dead, unlike):
            process.kill()
            process.wait()


def wait_for_exec(*started: subprocess.Popen[bytes]) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    for process in started:
        until(functools.partial(Path(f"/proc/{process.pid}/exe").samefile, sleep))


def test_the_environment_of_git_holds_no_secret_of_ours() -> None:
    given = {
        "PATH": "/bin",
        "SSH_AUTH_SOCK": "/x",
        "GIT_DIR": "/y",
        "GIT_INDEX_FILE": "/y",
        "GIT_TRACE_CURL": "1",
        "GIT_SSH_COMMAND": "ssh",
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_SSL_CERT": "/z",
        "ds_github_token": "s3cret",
        "ds_website_privkey_passphrase": "s3cret",
        "ds_repo_url": "https://a:s3cret@x/y",
    }
    assert environment.git_environment(given) == {
        "PATH": "/bin",
        "SSH_AUTH_SOCK": "/x",
        "GIT_SSH_COMMAND": "ssh",
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_SSL_CERT": "/z",
        "ds_repo_url": "https://x/y",
    }
